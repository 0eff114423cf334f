"""Settings of regression."""

from typing import Literal

from unmask.config import config, setting
from unmask.tasks.text import TextSettings


@config
class Regress(TextSettings):
    """Settings of regression: a number for each text."""

    name: Literal["regress"] = "regress"
    metric: Literal["pearson", "spearman", "mae", "rmse"] = setting(
        default="pearson", description="the figure that chooses the best step and compares models"
    )
