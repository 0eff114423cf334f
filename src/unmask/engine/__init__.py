"""Backends that run the network of a model folder: torch's. The interface and ENGINES are in runtime/backend.py."""
