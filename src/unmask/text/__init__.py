"""Tokenizers: WordPiece and its training, those of public checkpoints (`public`), words of Chinese text."""
