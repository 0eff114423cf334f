"""Metrics of predictions, their bootstrap intervals and titles. Pure functions of numpy arrays.

To add a metric: its function in OF_COUNTS (label_metrics.py), OF_NUMBERS (number_metrics.py), `retrieval_scores`
(retrieval.py) or `answer_scores` (answers.py); its title in FIGURES (figures.py), its name in KINDS (compare.py); to
choose models by it, the setting `metric` in tasks/TASK.py.
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
