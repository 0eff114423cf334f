"""What training, prediction and evaluation need of a supervised task; nothing above asks which task it is.

    file -> read -> Examples -> encode -> Rows -> encoder, head -> evidence per row -> decode -> predictions

A task is made from its settings and training examples (`build`) or from a model's schema (`restore`). One
example may need several rows (windows of a long text): `Row.owner` is its number, in order.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from unmask.data.batch import Batch, Row
from unmask.data.columns import Columns, TagColumns
from unmask.data.memory import Source
from unmask.data.records import FormatOrAuto
from unmask.data.schemes import SchemeName
from unmask.data.tables import Example, Unknown
from unmask.data.textfiles import OnError
from unmask.learner import Learner
from unmask.metrics import Interval
from unmask.model.attention import Spans
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.tasks.hiding import Hiding
from unmask.text.tokenizer import Tokenizer

P = TypeVar("P")  # what is predicted for one example
Evidence = npt.NDArray[np.float32]  # what a head says of one row

TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "precision": "precision",
    "recall": "recall",
    "entity_f1": "F1",
}
"""What people call the figures of an evaluation."""


@dataclass(frozen=True)
class Reading:
    """How to read a file of examples: its kind, its columns, how tags are written, its encoding (None: found out),
    what to do with what cannot be read, and with test labels that the model does not know (None: as on_error says).
    """

    columns: Columns = field(default_factory=Columns)
    tags: TagColumns = field(default_factory=TagColumns)
    scheme: SchemeName | Literal["auto"] = "auto"
    on_error: OnError = "stop"
    encoding: str | None = None
    unknown_labels: Unknown | None = None
    format: FormatOrAuto = "auto"

    @property
    def unknown(self) -> Unknown:
        return self.unknown_labels or self.on_error


@dataclass(frozen=True)
class Shown:
    """A table for people: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


class Evaluation(Protocol):
    """Predictions against what is true."""

    @property
    def rows(self) -> int: ...

    @property
    def figures(self) -> Mapping[str, Interval]:
        """Figures over everything with their 95 % bootstrap intervals, the telling one first."""

    def tables(self) -> list[Shown]: ...

    def told(self) -> dict[str, Any]:
        """All of it for programs, as plain values."""


class Head(nn.Module, ABC):
    """hidden (tokens, width) of a packed batch -> what the task's `evidence` and learner read.

    asks: the places whose hidden states it reads, where those are few; it is then given no others.
    """

    def asks(self, spans: Spans) -> Spans | None:
        return None

    @abstractmethod
    def published(self) -> dict[str, nn.Module]:
        """What the bundle keeps, by the prefix of its parameter names."""


class TaskLearner(Learner):
    """An encoder with the head of a task. hiding: what is hidden of the texts while it learns, if anything."""

    head: Head
    hiding: Hiding | None = None

    def outputs(self, batch: Batch) -> Any:
        """What the head says of a batch."""
        return outputs_of(self.encoder, self.head, batch)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        return batch if self.hiding is None else self.hiding(batch, seed)

    def published(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, **self.head.published()}


def outputs_of(encoder: Encoder, head: Head, batch: Batch) -> Any:
    """What the head says of a batch, where nothing is computed that it does not read."""
    batch = dataclasses.replace(batch, asked=head.asks(batch.spans))
    return head(encoder(batch.ids, batch.spans, batch.segments, batch.asked), batch)


class Task(ABC, Generic[P]):
    """One supervised task with its labels. `truncated`: texts cut short in the last call of `encode`."""

    metric: (
        str  # the name of the figure to choose a checkpoint by, and to compare models by; higher is better
    )
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "table")  # that predictions can be written in
    baseline: ClassVar[Literal["majority", "frequent"]]  # what the most frequent tag of a word amounts to

    def __init__(self, settings: Any, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.labels = list(labels)
        self.truncated = 0

    @property
    def name(self) -> str:
        return str(self.settings.name)

    @property
    def watch(self) -> str:
        """The name of the metric among the figures of `judge`."""
        return f"{self.name}.{self.metric}"

    @classmethod
    @abstractmethod
    def build(cls, settings: Any, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        """From training examples: their labels are the labels. Raises UserError where nothing can be learnt."""

    @classmethod
    @abstractmethod
    def restore(cls, settings: Any, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        """From what `schema` gave."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """What a bundle needs to make this task again: the settings, `labels`, and other facts."""

    @property
    @abstractmethod
    def public(self) -> tuple[str | None, list[str]]:
        """Under which name other libraries compute the same from the head, if any; and what its outputs are."""

    @classmethod
    @abstractmethod
    def read(cls, path: Source, reading: Reading) -> list[Example]:
        """Examples with their labels. Raises UserError naming file and line."""

    @abstractmethod
    def read_new(self, path: Source, reading: Reading) -> list[Example]:
        """Examples to predict: labels, where there are any, are not needed."""

    @abstractmethod
    def read_test(self, path: Source, reading: Reading) -> list[Example]:
        """Examples to evaluate on: with labels, tagged as the training data are."""

    @classmethod
    @abstractmethod
    def known(
        cls, examples: Sequence[Example], labels: Iterable[str], of: str, unknown: Unknown = "stop"
    ) -> list[Example]:
        """The examples whose labels are among these, those of `of`. Raises UserError for the first other one, or
        does as `unknown` says."""

    def check(
        self, examples: Sequence[Example], of: str = "the training data", unknown: Unknown = "stop"
    ) -> list[Example]:
        """The same for the labels of the task."""
        return self.known(examples, self.labels, of, unknown)

    @abstractmethod
    def encode(self, examples: Sequence[Example]) -> list[Row]:
        """One or more rows per example, in order; with targets where the example has labels."""

    @abstractmethod
    def head(self, encoder: EncoderConfig) -> Head:
        """A new head."""

    @abstractmethod
    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[Row]) -> TaskLearner:
        """The encoder with a new head, to be trained on these examples, which were encoded as these rows."""

    @abstractmethod
    def evidence(self, outputs: Tensor, batch: Batch) -> list[Evidence]:
        """What the head said of a batch, sequence by sequence."""

    def measured(self, examples: Sequence[Example]) -> str:
        """By which metric predictions for these examples are compared."""
        return self.metric

    @abstractmethod
    def judge(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> dict[str, float]:
        """Loss (nats) and metric on labelled examples while training: quick, without intervals."""

    @abstractmethod
    def decode(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> list[P]:
        """A prediction for each example."""

    @abstractmethod
    def best(self, prediction: P) -> Any:
        """What one wants to see of a prediction first."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[P], seed: int = 0) -> Evaluation:
        """Predictions against the labels of the examples."""

    @abstractmethod
    def reference(self, examples: Sequence[Example]) -> list[Any]:
        """What is true of each example, in the form that models are compared in: a label, tags or spans."""

    @abstractmethod
    def compared(self, examples: Sequence[Example], predictions: Sequence[P]) -> list[Any]:
        """Predictions in the same form."""

    @abstractmethod
    def words(self, examples: Sequence[Example]) -> list[tuple[list[str], list[str]]]:
        """The words and the tags of each example, for what takes no network: the most frequent tag of a word."""

    @abstractmethod
    def from_words(self, examples: Sequence[Example], tags: Sequence[Sequence[str]]) -> list[Any]:
        """Tags of these words in the form of `reference`."""

    @abstractmethod
    def sample(self, example: Example, prediction: P) -> dict[str, Any]:
        """A labelled example with its prediction, as the report shows it."""

    @abstractmethod
    def record(self, example: Example, prediction: P, every: bool) -> dict[str, Any]:
        """A prediction as one JSON object; `every`: with all that was possible."""

    @abstractmethod
    def columns(self, every: bool) -> list[str]:
        """The columns of predictions as a table."""

    @abstractmethod
    def lines(self, example: Example, prediction: P, every: bool) -> list[list[object]]:
        """A prediction as rows of that table."""

    def format_of(self, out: Path) -> str:
        """The format in which predictions are written into a file of this name."""
        suffix = out.suffix.removeprefix(".")
        return suffix if suffix in self.formats and suffix != "table" else "jsonl"

    def conll(self, example: Example, prediction: P) -> str:
        """A prediction as a sentence of a CoNLL file, for tasks that have "conll" among their formats."""
        raise NotImplementedError

    def likelihood(self, prediction: P) -> float | None:
        """The probability of what `best` gives, where it is one."""
        return None
