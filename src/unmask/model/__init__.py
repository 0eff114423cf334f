"""The network: encoder, attention, positions, vocabulary head, presets, names. Knows torch and settings only."""
