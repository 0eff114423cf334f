"""Engines: what runs the network of a model folder."""
