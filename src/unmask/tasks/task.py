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
import torch
from torch import Tensor, nn

from unmask.data.batch import Batch, EncodedRow
from unmask.data.batches import RowSequences, SequenceSource
from unmask.data.rows.columns import Columns, TagColumns
from unmask.data.rows.memory import Source
from unmask.data.rows.records import FormatOrAuto
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.squad import AnswerStarts
from unmask.data.rows.tables import Example, UnknownLabels
from unmask.data.textfiles import OnError
from unmask.learner import Learner, Loss
from unmask.metrics import LOWER, PLAIN, Interval
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks.hiding import TokenMasking
from unmask.tasks.regularise import Regulariser, symmetric_kl
from unmask.text.tokenizer import Tokenizer

TargetKind = Literal["label", "labels", "number", "tags", "answers", "vectors"]

P = TypeVar("P")  # what is predicted for one example
Logits = npt.NDArray[np.float32]  # what a head says of one row

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "matthews": "MCC",
    "auc": "AUC",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mae": "MAE",
    "rmse": "RMSE",
    "precision": "precision",
    "recall": "recall",
    "entity_f1": "F1",
    "answer_f1": "F1",
    "exact_match": "exact match",
    "mrr": "MRR",
    "ndcg_10": "nDCG@10",
    "recall_1": "recall@1",
    "recall_10": "recall@10",
}
"""What people call the figures of an evaluation."""


def format_score(metric: str, value: float) -> str:
    """A figure as people read it: a share in per cent, all else as it is."""
    return f"{value:.3f}" if metric.rpartition(".")[2] in PLAIN else f"{value:.1%}"


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file of examples: its kind, its columns, how tags are written, its encoding (None: found out),
    what to do with what cannot be read, and with test labels that the model does not know (None: as on_error says);
    where answers stand that occur several times.
    """

    columns: Columns = field(default_factory=Columns)
    tags: TagColumns = field(default_factory=TagColumns)
    scheme: SchemeName | Literal["auto"] = "auto"
    on_error: OnError = "stop"
    encoding: str | None = None
    unknown_labels: UnknownLabels | None = None
    answer_starts: AnswerStarts = "given"
    format: FormatOrAuto = "auto"

    @property
    def resolved_unknown_labels(self) -> UnknownLabels:
        return self.unknown_labels or self.on_error


@dataclass(frozen=True)
class ScoreTable:
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

    def tables(self) -> list[ScoreTable]: ...

    def to_dict(self) -> dict[str, Any]:
        """All of it for programs, as plain values."""


class Head(nn.Module, ABC):
    """hidden (tokens, width) of a packed batch -> what the task's `evidence` and learner read.

    asks: the places whose hidden states it reads, where those are few; it is then given no others.
    pretrained: the prefixes of what it publishes that pretraining trains as well.
    """

    pretrained_prefixes: Sequence[str] = ()

    def query_positions(self, layout: SequenceLayout) -> SequenceLayout | None:
        return None

    @abstractmethod
    def saved_modules(self) -> dict[str, nn.Module]:
        """What the bundle keeps, by the prefix of its parameter names."""

    def load_from(self, modules: Mapping[str, nn.Module]) -> None:
        """Go on from published modules, which hold weights of a model now; nothing to do where they are the own."""
        return


class TaskLearner(Learner):
    """An encoder with the head of a task. hiding: what is hidden of the texts while it learns, if anything;
    regulariser: what comes to the loss of the task, if anything."""

    head: Head
    token_masking: TokenMasking | None = None
    regulariser: Regulariser | None = None

    @property
    def backward_passes(self) -> int:
        return 1 if self.regulariser is None else self.regulariser.passes

    def outputs(self, batch: Batch) -> Any:
        """What the head says of a batch."""
        return head_outputs(self.encoder, self.head, batch)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        batch = batch if self.token_masking is None else self.token_masking(batch, seed)
        return batch if self.regulariser is None else self.regulariser.prepare(batch)

    def forward(self, batch: Batch) -> Loss:
        if self.regulariser is None or not self.training:
            return self.loss(self.outputs(batch), batch)
        with self.regulariser.adversarial(self.encoder.embeddings.token, batch):
            outputs = self.outputs(batch)
        loss = self.loss(outputs, batch)
        return self.regulariser.add_terms(loss, outputs, batch, self.rows_per_sequence(batch), self.divergence)

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Loss:
        """What is learnt from what the head said of a batch: one term. In evaluation the plain loss, which is
        comparable whatever the settings."""

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        """(sequences,) int64, on the CPU: how many rows of the outputs belong to each."""
        return torch.ones(batch.num_sequences, dtype=torch.int64)

    def divergence(self, first: Tensor, second: Tensor) -> Tensor:
        """How far apart two outputs for the same rows are, summed over the rows."""
        return symmetric_kl(first, second)

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, **self.head.saved_modules()}


def head_outputs(encoder: Encoder, head: Head, batch: Batch) -> Any:
    """What the head says of a batch."""
    return head(*head_inputs(encoder, head, batch))


def head_inputs(encoder: Encoder, head: Head, batch: Batch) -> tuple[Tensor, Batch]:
    """The hidden states that the head reads, and no others, and the batch that says which these are."""
    batch = dataclasses.replace(batch, query_positions=head.query_positions(batch.layout))
    return encoder(batch.input_ids, batch.layout, batch.token_type_ids, batch.query_positions), batch


class Task(ABC, Generic[P]):
    """One supervised task with its labels. `truncated`: texts cut short in the last call of `encode`."""

    metric: str  # the name of the figure to choose a checkpoint by, and to compare models by
    kind: ClassVar[TargetKind]  # what is true of an example, in the form of `reference`
    ranks: ClassVar[bool] = False  # whether a prediction is a ranking of labels or answers
    needs_calibration: bool = False  # whether something is found on the dev rows when training is over
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "table")  # that predictions can be written in
    baseline: ClassVar[Literal["majority", "mean", "frequent", "overlap", "words"]]  # what takes no network

    def __init__(self, settings: Any, tokenizer: Tokenizer, labels: Sequence[str]) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.labels = list(labels)
        self.truncated = 0

    @property
    def name(self) -> str:
        return str(self.settings.name)

    @property
    def head_settings(self) -> dict[str, Any]:
        """In what another task of this name and these labels must agree, beside the shapes of its head, for the
        weights of that head to mean the same here."""
        return {}

    @property
    def metric_key(self) -> str:
        """The name of the metric among the figures of `judge`."""
        return f"{self.name}.{self.metric}"

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric not in LOWER

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
    def public_architecture(self) -> tuple[str | None, list[str]]:
        """Under which name other libraries compute the same from the head, if any; and what its outputs are."""

    @classmethod
    @abstractmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples with their labels. Raises UserError naming file and line."""

    @abstractmethod
    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples to predict: labels, where there are any, are not needed."""

    @abstractmethod
    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples to evaluate on: with labels, tagged as the training data are."""

    @classmethod
    @abstractmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """The examples whose labels are among these, those of `of`. Raises UserError for the first other one, or
        does as `unknown` says."""

    def check_own_labels(
        self, examples: Sequence[Example], owner: str = "the training data", unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """The same for the labels of the task."""
        return self.check_labels(examples, self.labels, owner, unknown)

    @classmethod
    def max_length_setting(cls, settings: Any) -> tuple[str, int]:
        """The setting that says at how many tokens a text is cut short, and this number."""
        return "task.max_length", settings.max_length

    @abstractmethod
    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """One or more rows per example, in order; with targets where the example has labels."""

    def set_metric(self, dev: Sequence[Example]) -> None:
        """Hear of the dev examples before training begins, where the metric hangs on what they hold."""
        return

    def examples(self, rows: Sequence[EncodedRow]) -> SequenceSource:
        """What a step takes of the rows of training examples: each by itself, or those of an owner together."""
        return RowSequences(rows)

    @abstractmethod
    def head(self, encoder: EncoderConfig) -> Head:
        """A new head."""

    @abstractmethod
    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> TaskLearner:
        """The encoder with a new head, to be trained on these examples, which were encoded as these rows."""

    @abstractmethod
    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """What the head said of a batch, sequence by sequence."""

    def metric_for(self, examples: Sequence[Example]) -> str:
        """By which metric predictions for these examples are compared."""
        return self.metric

    def calibrate(self, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]) -> None:
        """Find on dev examples, after training, what decoding hangs on and no gradient tells, such as thresholds; for
        tasks that calibrate."""

    @abstractmethod
    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        """Loss (nats) and metric on labelled examples while training: quick, without intervals."""

    @abstractmethod
    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[P]:
        """A prediction for each example. top_k: how many labels or answers it holds, where the task `ranks` them."""

    @abstractmethod
    def top_prediction(self, prediction: P) -> Any:
        """What one wants to see of a prediction first."""

    @abstractmethod
    def score(self, examples: Sequence[Example], predictions: Sequence[P], seed: int = 0) -> Evaluation:
        """Predictions against the labels of the examples."""

    @abstractmethod
    def reference(self, examples: Sequence[Example]) -> list[Any]:
        """What is true of each example, in the form that models are compared in: a label, tags or spans."""

    def probabilities(self, predictions: Sequence[P]) -> list[list[float]] | None:
        """Of each label in the order of `labels`, where models are compared by these."""
        return None

    @abstractmethod
    def comparable(self, examples: Sequence[Example], predictions: Sequence[P]) -> list[Any]:
        """Predictions in the same form."""

    def is_correct(self, examples: Sequence[Example], predictions: Sequence[P]) -> list[bool]:
        """Whether all of each prediction is right."""
        reference, compared = self.reference(examples), self.comparable(examples, predictions)
        return [truth == said for truth, said in zip(reference, compared, strict=True)]

    def overlap_baseline(self, examples: Sequence[Example]) -> tuple[str, list[Any]] | None:
        """What takes no network and reads the texts: what to call it, and what it says in the form of `compared`.
        None: there is no such thing."""
        return None

    def constant_baseline(self, train: Sequence[Example]) -> Any:
        """What is best said of every text by who sees none, in the form of `reference`; where `baseline` is not
        frequent."""
        raise NotImplementedError

    def tagged_words(self, examples: Sequence[Example]) -> list[tuple[list[str], list[str]]]:
        """The words and the tags of each example, for the most frequent tag of a word (`baseline` frequent)."""
        raise NotImplementedError

    def from_word_tags(self, examples: Sequence[Example], tags: Sequence[Sequence[str]]) -> list[Any]:
        """Tags of these words in the form of `reference`."""
        raise NotImplementedError

    def samples(
        self, places: Sequence[int], examples: Sequence[Example], predictions: Sequence[P]
    ) -> list[dict[str, Any]]:
        """Those of some of these examples, by their places."""
        return [self.sample(examples[place], predictions[place]) for place in places]

    @abstractmethod
    def sample(self, example: Example, prediction: P) -> dict[str, Any]:
        """A labelled example with its prediction, as the report shows it."""

    @abstractmethod
    def to_record(self, example: Example, prediction: P, all_scores: bool) -> dict[str, Any]:
        """A prediction as one JSON object; `every`: with all that was possible."""

    @abstractmethod
    def columns(self, all_scores: bool) -> list[str]:
        """The columns of predictions as a table."""

    @abstractmethod
    def to_rows(self, example: Example, prediction: P, all_scores: bool) -> list[list[object]]:
        """A prediction as rows of that table."""

    def format_of(self, out: Path) -> str:
        """The format in which predictions are written into a file of this name."""
        suffix = out.suffix.removeprefix(".")
        return suffix if suffix in self.formats and suffix != "table" else "jsonl"

    def conll(self, example: Example, prediction: P) -> str:
        """A prediction as a sentence of a CoNLL file, for tasks that have "conll" among their formats."""
        raise NotImplementedError
