"""Use of a trained model: no torch is needed here. A `Backend` runs the network, a `Predictor` the task."""
