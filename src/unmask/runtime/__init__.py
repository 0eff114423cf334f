"""Prediction with a trained model, without torch: the `Predictor`, the `Backend` that it calls, output formats.

To add an output format of `unmask predict`: formats.py. What runs a network
with torch is in `engine`.
"""
