"""Labelled rows: files of every kind to examples."""
