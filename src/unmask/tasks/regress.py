"""Regression: a number for a text or a pair of texts, such as how alike two sentences are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.rows.example import Example
from unmask.tasks.task import Arrays, Examples, Outputs, nothing_to_learn, sigmoid
from unmask.tasks.text import TextSettings, TextTask, mean_of_windows
from unmask.text.tokenizer import Tokenizer


@config
class Regress(TextSettings):
    """Settings of regression: a number for each text."""

    name: Literal["regress"] = "regress"
    metric: Literal["pearson", "spearman", "mae", "rmse"] = setting(
        default="pearson", description="metric that selects the best step and compares models"
    )


@dataclass(frozen=True)
class NumberStatistics:
    """The numbers of the training rows: mean and standard deviation, which standardise them, and their range."""

    mean: float = 0.0
    std: float = 1.0
    min: float | None = None
    max: float | None = None


class RegressTask(TextTask[float]):
    """A number for each text, in the unit of the training rows. It may lie outside their range: a prediction is what
    any other library computes from the published weights. activation: what is applied to it, in a cross-encoder of
    sentence-transformers.
    """

    settings: Regress
    kind = "number"
    reads = "number"

    def __init__(
        self,
        settings: Regress,
        tokenizer: Tokenizer,
        numbers: NumberStatistics,
        activation: Literal["sigmoid"] | None = None,
    ) -> None:
        super().__init__(settings, tokenizer)
        self.statistics, self.activation = numbers, activation

    @classmethod
    def build(cls, settings: Regress, tokenizer: Tokenizer, train: Examples) -> Self:
        values = np.array([example.number for example in train], dtype=np.float64)
        if values.min() == values.max():
            raise nothing_to_learn(train, f"{len(train):,} rows, all with the number {values[0]:g}")
        facts = (values.mean(), values.std(), values.min(), values.max())
        return cls(settings, tokenizer, NumberStatistics(*map(float, facts)))

    @classmethod
    def restore(cls, settings: Regress, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, NumberStatistics(**schema.get("numbers", {})), schema.get("activation"))

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "numbers": asdict(self.statistics), "activation": self.activation}

    def target_of(self, example: Example) -> npt.NDArray[np.float32]:
        return np.array([example.number], dtype=np.float32)

    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[float]:
        numbers = [mean_of_windows(text.values) for text in texts]
        return [float((sigmoid(number) if self.activation else number).item()) for number in numbers]

    def comparable(self, examples: Examples, predictions: Sequence[float]) -> list[Any]:
        return list(predictions)
