"""Base of the tasks on whole texts: a text or a pair of texts becomes one sequence, or windows of a long text."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow
from unmask.data.rows.check import check_targets
from unmask.data.rows.example import Example
from unmask.tasks.task import Arrays, Collected, Examples, Notes, Rows, Task, WindowSettings
from unmask.tasks.windows import long_text_inputs
from unmask.text.tokenizer import Encoding, Tokenizer

P = TypeVar("P")


@config
class TextSettings(WindowSettings):
    """Settings that the tasks on whole texts share."""

    max_length: int = setting(
        default=128, ge=8, description="maximum length in tokens; longer texts are handled as `long_texts` sets"
    )
    long_texts: Literal["truncate", "windows"] = setting(
        default="truncate",
        description="a text longer than max_length: truncated and reported, or read in overlapping windows",
    )
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
        pairs = [example.pair for example in examples]
        encoded = self.tokenizer.encode_batch(
            [example.text for example in examples],
            pairs if any(pair is not None for pair in pairs) else None,
            max_length=settings.max_length if settings.long_texts == "truncate" else None,
        )
        truncated = sum(one.truncated for one in encoded)
        rows: list[EncodedRow] = []
        for owner, (example, one) in enumerate(zip(examples, encoded, strict=True)):
            targets = {} if example.target is None else {self.name: self.target_of(example)}
            parts = [(np.array(one.input_ids), np.array(one.token_type_ids), special_flags(one))]
            if len(one.input_ids) > settings.max_length:
                windows, cut = long_text_inputs(self.tokenizer, one, settings.max_length, settings.window_stride)
                parts = [window.parts for window in windows]
                truncated += cut
            rows += [EncodedRow(*part, owner, owner=owner, targets=targets) for part in parts]
        return rows, Notes(truncated)

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits of each row."""
        return list(outputs["logits"])


def special_flags(encoded: Encoding) -> npt.NDArray[np.uint8]:
    """(tokens,): SPECIAL_TOKEN at the tokens that encoding added."""
    return np.array(encoded.special_tokens_mask, dtype=np.uint8) * np.uint8(SPECIAL_TOKEN)


def mean_of_windows(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Average the values of the windows of a text."""
    return values[0] if len(values) == 1 else np.asarray(np.mean(values, axis=0))
