"""The network: encoder, attention, positions, vocabulary head, presets, names. Imports torch and `unmask.config` only."""
