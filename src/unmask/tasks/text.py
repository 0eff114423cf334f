"""Base of the tasks on whole texts: a text or a pair of texts becomes one sequence, or windows of a long text."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example
from unmask.tasks.task import Arrays, Collected, Examples, Floats, Notes, Rows, Task
from unmask.tasks.windows import long_text_inputs
from unmask.text.tokenizer import Encoding, Tokenizer

P = TypeVar("P")


@config
class TextSettings:
    """Settings that the tasks on whole texts share."""

    name: str = ""
    max_length: int = setting(
        default=128, ge=8, description="longest input in tokens; `long_texts` says what becomes of longer texts"
    )
    long_texts: Literal["truncate", "windows"] = setting(
        default="truncate",
        description="a text longer than max_length: truncated and reported, or read in overlapping windows",
    )
    stride: int | None = setting(
        default=None,
        ge=1,
        description="tokens from one window to the next; half of max_length if not given",
    )
    pooling: Literal["cls", "mean", "max", "attention"] = setting(
        default="cls",
        description="one vector per text: the [CLS] state, or the mean, the maximum or the attention-weighted mean "
        "over tokens",
    )
    classifier_dropout: float = setting(default=0.1, ge=0, lt=1, description="before the last layer")

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.max_length - 2:
            raise ValueError(f"stride {self.stride} skips tokens: at most max_length - 2 = {self.max_length - 2}")

    @property
    def max_length_setting(self) -> tuple[str, int]:
        """The setting that limits a text, and the number of tokens."""
        return "task.max_length", self.max_length


@dataclass(frozen=True)
class Label:
    """A predicted label with its probability."""

    label: str
    score: float

    def __repr__(self) -> str:
        return f"Label(label={self.label!r}, score={self.score:.2f})"


class Ranking(Sequence[Label]):
    """The `top_k` labels of a task, or all, with their probabilities, the most probable first; each `Label` is made
    when it is accessed, because there may be thousands for each of thousands of texts.

    probabilities, thresholds: (labels,), in the order of `labels`; thresholds: from which probability on a label is
    predicted, where a text may have several.
    """

    def __init__(
        self,
        labels: Sequence[str],
        probabilities: npt.NDArray[np.float32],
        thresholds: npt.NDArray[np.float64] | None = None,
        top_k: int | None = None,
    ) -> None:
        self.labels, self.probabilities, self.thresholds = labels, probabilities, thresholds
        self.top_k = top_k

    def __len__(self) -> int:
        return len(self.labels) if self.top_k is None else min(self.top_k, len(self.labels))

    @overload
    def __getitem__(self, place: int) -> Label: ...
    @overload
    def __getitem__(self, place: slice) -> list[Label]: ...
    def __getitem__(self, place: int | slice) -> Label | list[Label]:
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
            return self[:1]
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
        if self.labels:
            labelled = [one for one in examples if one.target is not None]
            check_targets(labelled, self.reads, self.labels, "the training data")
        pairs = [example.pair for example in examples]
        encoded = self.tokenizer.encode_batch(
            [example.text for example in examples],
            pairs if any(pair is not None for pair in pairs) else None,
            max_length=self.settings.max_length if self.settings.long_texts == "truncate" else None,
        )
        truncated = sum(one.truncated for one in encoded)
        rows: list[EncodedRow] = []
        for owner, (example, one) in enumerate(zip(examples, encoded, strict=True)):
            targets = {} if example.target is None else {self.name: self.target_of(example)}
            parts = [(np.array(one.input_ids), np.array(one.token_type_ids), special_flags(one))]
            if len(one.input_ids) > self.settings.max_length:
                stride = self.settings.stride or max(1, (self.settings.max_length - 2) // 2)
                frames, cut = long_text_inputs(self.tokenizer, one, self.settings.max_length, stride)
                parts = [(frame.input_ids, frame.token_type_ids, frame.flags) for frame in frames]
                truncated += cut
            rows += [EncodedRow(*part, owner, owner=owner, targets=targets) for part in parts]
        return rows, Notes(truncated)

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits of each row."""
        return list(outputs["logits"])

    def reference(self, examples: Examples) -> list[Any]:
        return [example.target for example in examples]


def special_flags(encoded: Encoding) -> npt.NDArray[np.uint8]:
    """(tokens,): SPECIAL_TOKEN at the tokens that encoding added."""
    return np.array(encoded.special_tokens_mask, dtype=np.uint8) * np.uint8(SPECIAL_TOKEN)


def mean_of_windows(rows: Rows, values: Sequence[npt.NDArray[Any]]) -> list[tuple[npt.NDArray[Any], int]]:
    """Average the values of the windows of each text: (mean, windows) of each, in order."""
    parts: dict[int, list[npt.NDArray[Any]]] = {}
    for row, value in zip(rows, values, strict=True):
        parts.setdefault(row.owner, []).append(value)
    return [
        (parts[owner][0] if len(parts[owner]) == 1 else np.mean(parts[owner], axis=0), len(parts[owner]))
        for owner in sorted(parts)
    ]


def renormalized(mean: Floats, windows: int) -> Floats:
    """Make log-probabilities of the mean of those of several windows, as softmax of the mean logits would be: each
    window is evidence as independent of the others as it can be."""
    return mean if windows == 1 else mean - np.logaddexp.reduce(mean)
