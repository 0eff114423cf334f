"""Tokenizers of public checkpoints."""
