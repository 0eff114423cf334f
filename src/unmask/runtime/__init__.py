"""Prediction with a trained model, without torch: the `Predictor`, the `Backend` that it calls, output formats.

To add an output format of `unmask predict`: formats.py. What runs the network is in `engine`.
"""

import sys

# importing OpenVINO sends a message to Google Analytics where it finds this package; nothing here opens a connection
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
