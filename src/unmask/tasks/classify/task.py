"""ClassifyTask: one label for each text."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unmask.data.rows.example import Example
from unmask.errors import UserError
from unmask.tasks.classify.settings import Classify
from unmask.tasks.task import Arrays, Examples, Rows, Values, log_softmax
from unmask.tasks.text import Label, Ranking, TextTask, mean_of_windows, renormalized
from unmask.text.tokenizer import Tokenizer


class ClassifyTask(TextTask[Ranking]):
    """One label for each text. A prediction is every label, the most probable first.

    Labels are sorted by name; under the head `adaptive` by how frequent they are in training, which it builds on.
    """

    settings: Classify
    kind = "label"
    reads = "label"
    ranks = True

    @classmethod
    def build(cls, settings: Classify, tokenizer: Tokenizer, train: Examples) -> Self:
        counts = Counter(example.label for example in train if example.label is not None)
        labels = sorted(counts)
        if len(labels) < 2:
            raise UserError(
                f"{train[0].source}: classification needs at least two labels",
                given=f"{len(train)} rows, all labelled {labels[0]!r}" if labels else "no labels",
                hint="check the label column (--label-column)",
            )
        if settings.head == "adaptive":
            labels.sort(key=lambda label: -counts[label])
        task = cls(settings, tokenizer, labels)
        task.cutoffs()
        return task

    def cutoffs(self) -> list[int]:
        """Return after how many labels the clusters of the head `adaptive` end, but for the last.

        Raises UserError for cutoffs that do not rise or do not fit the number of labels.
        """
        if self.settings.head != "adaptive":
            return []
        count, given = len(self.labels), self.settings.cutoffs
        cutoffs = sorted({max(1, count // 20), max(1, count // 4)}) if given is None else given
        if not cutoffs or cutoffs[0] < 1 or cutoffs[-1] >= count or cutoffs != sorted(set(cutoffs)):
            raise UserError(
                "task.cutoffs cannot be used",
                given=", ".join(map(str, cutoffs)),
                allowed=f"numbers from 1 to {count - 1}, each larger than the one before it: there are {count} labels",
            )
        return cutoffs

    def target_of(self, example: Example) -> npt.NDArray[np.int64]:
        assert example.label is not None
        return np.array([self.label_ids[example.label]])

    def decode(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays, top_k: int | None = None
    ) -> list[Ranking]:
        logs = mean_of_windows(rows, [log_softmax(logits) for logits in collected])
        return [Ranking(self.labels, np.exp(renormalized(*log)).astype(np.float32), top_k=top_k) for log in logs]

    def top_prediction(self, prediction: Ranking) -> Label:
        return prediction[0]

    def comparable(self, examples: Examples, predictions: Sequence[Ranking]) -> list[Any]:
        return [prediction[0].label for prediction in predictions]
