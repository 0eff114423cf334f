"""Measurements: ours beside a peer, in turn, under the same conditions. `python -m benchmarks` lists them."""
