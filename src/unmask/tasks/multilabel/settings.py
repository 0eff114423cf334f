"""Settings of multi-label classification."""

from typing import Literal

from unmask.config import config, setting
from unmask.tasks.text import TextSettings


@config
class Multilabel(TextSettings):
    """Settings of multi-label classification: any number of labels for each text."""

    name: Literal["multilabel"] = "multilabel"
    metric: Literal["micro_f1", "macro_f1", "subset_accuracy", "auc"] = setting(
        default="micro_f1", description="the figure that chooses the best step and compares models"
    )
    tune_thresholds: bool = setting(
        default=False,
        description="find for each label the probability from which it is predicted, by its F1 on the dev rows; 0.5 "
        "otherwise",
    )
