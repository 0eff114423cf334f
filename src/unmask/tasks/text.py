"""Base of the tasks on whole texts: a text or a pair of texts becomes one sequence, or windows of a long text."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.encoded import EncodedRow
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example
from unmask.tasks.task import Arrays, Collected, Examples, Notes, Rows, Task, WindowSettings
from unmask.tasks.windows import encode_windows
from unmask.text.public.specials import TokenArrays
from unmask.text.tokenizer import Tokenizer

P = TypeVar("P")


@config
class LongTextSettings(WindowSettings):
    """Settings of the tasks that truncate long texts, or read them in windows."""

    max_length: int = setting(
        default=128, ge=8, description="maximum length in tokens; longer texts are handled as `long_texts` sets"
    )
    long_texts: Literal["truncate", "windows"] = setting(
        default="truncate",
        description="a text longer than max_length: truncated and reported, or read in overlapping windows",
    )


@config
class TextSettings(LongTextSettings):
    """Settings that the tasks on whole texts share."""

    pooling: Literal["cls", "mean", "max", "attention"] = setting(
        default="cls",
        description="one vector per text: the [CLS] state, or the mean, the maximum or the attention-weighted mean "
        "over tokens",
    )
    classifier_dropout: float = setting(default=0.1, ge=0, lt=1, description="dropout before the last layer")


@dataclass(frozen=True)
class Label:
    """A predicted label with its probability."""

    label: str
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Ranking(Sequence[Label]):
    """The `top_k` labels of a task, or all, with their probabilities, the most probable first; each `Label` is made
    when it is accessed, because there may be thousands for each of thousands of texts.

    probabilities, thresholds: (labels,), in the order of `labels`; thresholds: from which probability on a label is
    predicted, where a text may have several.
    """

    labels: Sequence[str]
    probabilities: npt.NDArray[np.float32]
    thresholds: npt.NDArray[np.float64] | None = None
    top_k: int | None = None

    def __len__(self) -> int:
        return len(self.labels) if self.top_k is None else min(self.top_k, len(self.labels))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._label(number) for number in self.order[place]]
        return self._label(self.probabilities.argmax() if place == 0 else self.order[place])

    def __iter__(self) -> Iterator[Label]:
        return (self._label(number) for number in self.order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self[:8])[:-1] + (", ...]" if len(self) > 8 else "]")

    @property
    def order(self) -> npt.NDArray[np.intp]:
        return np.argsort(-self.probabilities, kind="stable")[: self.top_k]

    @property
    def chosen(self) -> list[Label]:
        """The labels at or above their threshold, the most probable first; without thresholds the first one."""
        if self.thresholds is None:
            return [self[0]]
        above = self.probabilities >= self.thresholds
        return [self._label(number) for number in self.order if above[number]]

    def _label(self, number: Any) -> Label:
        return Label(self.labels[number], float(self.probabilities[number]))


class TextTask(Task[P]):
    """A text or a pair of texts as one sequence with one target, or as windows that share it."""

    settings: TextSettings
    supports_rdrop = True

    def __init__(self, settings: Any, tokenizer: Tokenizer, labels: Sequence[str] = ()) -> None:
        super().__init__(settings, tokenizer, labels)
        self.metric = settings.metric

    @abstractmethod
    def target_of(self, example: Example) -> npt.NDArray[np.generic]:
        """Return the target of an example that has one."""

    def encode(self, examples: Examples) -> tuple[list[EncodedRow], Notes]:
        """Raises UserError for a label that is not the task's."""
        settings = self.settings
        if self.labels:
            labelled = [one for one in examples if one.target is not None]
            check_targets(labelled, self.reads, self.labels, "the training data")
        texts = [example.text for example in examples]
        pairs = [example.pair for example in examples]
        rows: list[EncodedRow] = []
        parts, truncated = encode_long_texts(self.tokenizer, texts, pairs, settings)
        for owner, (example, own) in enumerate(zip(examples, parts, strict=True)):
            targets = {} if example.target is None else {self.name: self.target_of(example)}
            rows += [EncodedRow(*part, owner, owner=owner, targets=targets) for part in own]
        return rows, Notes(truncated)

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits of each row."""
        return list(outputs["logits"])


def encode_long_texts(
    tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str | None] | None, settings: LongTextSettings
) -> tuple[list[list[TokenArrays]], int]:
    """Encode each text, or pair, as one sequence, or as its windows; and count those that were truncated."""
    if settings.long_texts == "truncate":
        arrays, truncated = tokenizer.encode_arrays(texts, pairs, settings.max_length)
        return [[one] for one in arrays], truncated
    return encode_windows(tokenizer, texts, pairs, settings.max_length, settings.window_stride)


def mean_of_windows(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Average the values of the windows of a text."""
    return values[0] if len(values) == 1 else np.asarray(np.mean(values, axis=0))
