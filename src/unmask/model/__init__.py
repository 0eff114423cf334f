"""The network: configuration, encoder, attention, positions, heads for masks, families of public checkpoints."""
