"""What classification and regression of texts share: reading rows, encoding a text or a pair, labels as predicted."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt

from unmask.config import dump
from unmask.data.batch import SPECIAL_TOKEN, EncodedRow
from unmask.data.rows.labels import LabelKind
from unmask.data.rows.memory import Source
from unmask.data.rows.tables import Example, UnknownLabels, check_labels, read_examples
from unmask.tasks.task import Logits, ReadOptions, Task
from unmask.tasks.windows import Ids, long_text_inputs, mean_per_owner
from unmask.text.tokenizer import Encoding, Tokenizer

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify

MAX_TEXT_SHOWN = 300  # characters of a text in a report
TARGET = "classify"  # the name of what a row's sequence is to be given

P = TypeVar("P")


@dataclass(frozen=True)
class Label:
    """A predicted label with its probability."""

    label: str
    score: float

    def __repr__(self) -> str:
        return f"Label(name={self.label!r}, score={self.score:.2f})"


class Ranking(Sequence[Label]):
    """The `top_k` labels of a task, or all, with their probabilities, the most probable first; each is made when it is
    looked at, because there may be thousands for each of thousands of texts.

    probabilities: (labels,), in the order of `names`.
    """

    def __init__(self, labels: Sequence[str], probabilities: npt.NDArray[np.float32], top_k: int | None = None) -> None:
        self.labels, self.probabilities, self.top_k = labels, probabilities, top_k

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

    def _label(self, number: Any) -> Label:
        return Label(self.labels[number], float(self.probabilities[number]))


class TextTask(Task[P]):
    """A text or a pair of texts becomes one sequence; what is true of it is the `truth` of its Example.

    kind: what the column of the label holds; metrics: the figures that it can be judged by, the usual one first.
    """

    settings: "Classify"
    kind: ClassVar[LabelKind]
    metrics: ClassVar[tuple[str, ...]]

    def __init__(self, settings: "Classify", tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        super().__init__(settings, tokenizer, labels)
        self.label_ids = {label: number for number, label in enumerate(self.labels)}
        self.metric = settings.metric or self.metrics[0]

    @classmethod
    def restore(cls, settings: "Classify", tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["labels"])

    def schema(self) -> dict[str, Any]:
        return {**dump(self.settings), "labels": self.labels}

    @property
    def head_settings(self) -> dict[str, Any]:
        settings = self.settings
        return {name: getattr(settings, name) for name in ("target", "pooling", "head")}

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        # BERT's own head reads the last [CLS] and is linear: under its name another library would predict otherwise
        settings = self.settings
        known = settings.pooling == "cls" and settings.head == "linear"
        return "BertForSequenceClassification" if known else None, self.labels

    @classmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        return read_examples(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            require_labels=True,
            encoding=read_options.encoding,
            kind=cls.kind,
            format=read_options.format,
        )

    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        return read_examples(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            encoding=read_options.encoding,
            kind=None,
            format=read_options.format,
        )

    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        return self.read(path, read_options)

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        return check_labels(examples, labels, owner, unknown)

    @abstractmethod
    def target_of(self, example: Example) -> npt.NDArray[np.generic]:
        """What the head is to say of an example of which that is known."""

    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """One sequence per example, or its windows, with its target where it is known.

        Raises UserError for a new label.
        """
        check_labels([replace(one, spans=None) for one in examples if one.target is not None], self.labels)
        pairs = [example.pair for example in examples]
        encoded = self.tokenizer.encode_batch(
            [example.text for example in examples],
            pairs if any(pair is not None for pair in pairs) else None,
            max_length=self.settings.max_length if self.settings.long_texts == "truncate" else None,
        )
        self.truncated = sum(one.truncated for one in encoded)
        rows: list[EncodedRow] = []
        for number, (example, one) in enumerate(zip(examples, encoded, strict=True)):
            targets = {} if example.target is None else {TARGET: self.target_of(example)}
            flags = np.array(one.special_tokens_mask, dtype=np.uint8) * np.uint8(SPECIAL_TOKEN)
            parts = [(np.array(one.input_ids), np.array(one.token_type_ids), flags)]
            if len(one.input_ids) > self.settings.max_length:
                parts = self._windows(one)
            rows += [EncodedRow(*part, number, owner=number, targets=targets) for part in parts]
        return rows

    def _windows(self, encoded: Encoding) -> list[tuple[Ids, Ids, npt.NDArray[np.uint8]]]:
        length = self.settings.max_length
        stride = self.settings.stride or max(1, (length - 2) // 2)
        found, cut = long_text_inputs(self.tokenizer, encoded, length, stride)
        self.truncated += cut
        return [(one.input_ids, one.token_type_ids, one.flags) for one in found]

    def merge_windows(
        self, rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> tuple[Sequence[EncodedRow], Sequence[Logits]]:
        """A row for each text, with what is said of its windows put together."""
        first, means = mean_per_owner(rows, logits)
        if len(first) == len(rows):
            return rows, logits
        return first, [self.window_logits(mean) for mean in means]

    def window_logits(self, mean: Logits) -> Logits:
        """What is said of a text, from the mean of what is said of its windows."""
        return mean

    def reference(self, examples: Sequence[Example]) -> list[Any]:
        return [example.target for example in examples]

    def scores(self, prediction: Sequence[Label]) -> list[object]:
        """The probability of each label in the order of `labels`, "" of one that the prediction does not hold."""
        scores = {label.label: round(label.score, 6) for label in prediction}
        return [scores.get(label, "") for label in self.labels]

    def sample(self, example: Example, prediction: P) -> dict[str, Any]:
        (said,) = self.comparable([example], [prediction])
        return {"text": example.text[:MAX_TEXT_SHOWN], "label": example.target, "predicted": said}


def labelled_logits(rows: Sequence[EncodedRow], logits: Sequence[Any]) -> tuple[Any, Any]:
    """What the head said, (known, ...), and what it should have said, of the rows of which that is known."""
    known = [number for number, row in enumerate(rows) if TARGET in row.targets]
    return np.stack([logits[number] for number in known]), np.stack([rows[number].targets[TARGET] for number in known])
