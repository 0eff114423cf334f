"""Figures: how good predictions are, how sure that is, and how they are called. Pure functions of numpy arrays.

To add a figure: its function in OF_COUNTS, OF_NUMBERS, `retrieval_scores` or `answer_scores`, its title in FIGURES, its
name in KINDS; to choose models by it, `metric` in the settings of the task (tasks/TASK/settings.py).
"""

from unmask.metrics.compare import Comparison, Contestant, Scores, compare, correct, metrics_of, values
from unmask.metrics.figures import FIGURES, Interval, figure_of, format_score

__all__ = [
    "FIGURES",
    "Comparison",
    "Contestant",
    "Interval",
    "Scores",
    "compare",
    "correct",
    "figure_of",
    "format_score",
    "metrics_of",
    "values",
]
