"""Task: what a supervised task makes of rows, and of the outputs of a network. Numpy only.

    Examples -> encode -> rows -> (network) -> outputs -> collect -> decode -> predictions

A task is made from its settings and training examples (`build`) or from a model's schema (`restore`). One example
may need several rows (windows of a long text): `EncodedRow.owner` is its index among the examples, in order.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from unmask import metrics
from unmask.advice import advise, option
from unmask.config import config, dump, setting
from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import Example, RowKind
from unmask.errors import UserError
from unmask.messages import Message
from unmask.metrics import Contestant, Scores
from unmask.text.tokenizer import Tokenizer

TargetKind = Literal["label", "labels", "number", "tags", "answers", "vectors"]

P = TypeVar("P")  # the prediction for one example
Examples = Sequence[Example]
Rows = Sequence[EncodedRow]
Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]
Collected = npt.NDArray[np.float32]  # of one row
Values = Sequence[Collected]


@config
class TaskSettings:
    """Settings that all tasks share."""

    name: str = ""
    max_length: int = setting(
        default=128, ge=8, description="maximum length in tokens; longer texts are truncated and reported"
    )

    @property
    def truncates_to(self) -> int:
        """The number of tokens of a text that is truncated."""
        return self.max_length


@config
class WindowSettings(TaskSettings):
    """Settings of the tasks that read long texts in overlapping windows."""

    max_length: int = setting(
        default=128, ge=8, description="maximum length in tokens; longer texts are read in windows"
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; default: half of max_length"
    )

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.max_length - 2:
            raise ValueError(f"stride {self.stride} skips tokens: at most max_length - 2 = {self.max_length - 2}")

    @property
    def window_stride(self) -> int:
        """The number of tokens from one window to the next."""
        return self.stride or max(1, (self.max_length - 2) // 2)


@dataclass(frozen=True)
class Notes:
    """What encoding changed: how many texts were truncated, and remarks on what cannot be learnt or predicted."""

    truncated: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outputs:
    """An example, its rows, and what was collected of each."""

    example: Example
    rows: list[Any]
    values: list[Collected]


def outputs_of(examples: Examples, rows: Rows, collected: Values) -> list[Outputs]:
    """Group rows, and what was collected of each, by the example that owns them."""
    texts = [Outputs(example, [], []) for example in examples]
    for row, value in zip(rows, collected, strict=True):
        texts[row.owner].rows.append(row)
        texts[row.owner].values.append(value)
    return texts


class Task(ABC, Generic[P]):
    """One supervised task with its labels. Nothing is kept in it between calls, so that threads may share it.

    reads: of which kind its rows are; kind: the form in which targets and predictions are compared; metric: the name of
    the figure that chooses a checkpoint and compares models.
    calibrates: when `calibrate` finds parameters on the dev rows: never, after training, or at each evaluation.
    """

    reads: ClassVar[RowKind]
    kind: ClassVar[TargetKind]
    supports_rdrop: ClassVar[bool] = False  # whether two outputs for a row can be compared by their divergence
    ranks: ClassVar[bool] = False  # whether a prediction is a ranking of labels or answers
    metric: str
    calibrates: Literal["never", "after training", "at each evaluation"] = "never"

    def __init__(self, settings: Any, tokenizer: Tokenizer, labels: Sequence[str] = ()) -> None:
        self.settings, self.tokenizer = settings, tokenizer
        self.labels = list(labels)
        self.label_ids = {label: number for number, label in enumerate(self.labels)}

    @property
    def name(self) -> str:
        return str(self.settings.name)

    @classmethod
    @abstractmethod
    def build(cls, settings: Any, tokenizer: Tokenizer, train: Examples) -> Self:
        """Make the task from training examples, whose labels are its labels.

        Raises UserError where nothing can be learnt."""

    @classmethod
    def restore(cls, settings: Any, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        """Make the task again from what `schema` returned."""
        return cls(settings, tokenizer, schema["labels"])

    def schema(self) -> dict[str, Any]:
        """Return what a bundle needs to make this task again: the settings, `labels`, and other facts."""
        return {**dump(self.settings), "labels": self.labels}

    @abstractmethod
    def encode(self, examples: Examples) -> tuple[list[EncodedRow], Notes]:
        """Encode each example as one or more rows, in order; with targets where the example has any."""

    @abstractmethod
    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """Reduce the outputs of a network for a batch of these rows, in order, to what decoding needs of each row."""

    @abstractmethod
    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[P]:
        """Predict for each example. parameters: arrays that the model stores (transitions, thresholds); top_k: how many
        labels or answers a prediction holds, where the task `ranks` them."""

    def calibrate(self, texts: Sequence[Outputs]) -> dict[str, npt.NDArray[Any]]:
        """Find on dev examples the parameters of decoding that no gradient learns, such as thresholds."""
        return {}

    def top_prediction(self, prediction: P) -> Any:
        """Return the part of a prediction that answers the question: a label, spans, an answer."""
        return prediction

    def reference(self, examples: Examples) -> list[Any]:
        """Return the targets of examples as plain values, in the form that models are compared in."""
        return [example.target for example in examples]

    @abstractmethod
    def comparable(self, examples: Examples, predictions: Sequence[P]) -> list[Any]:
        """Return predictions in the form of `reference`."""

    def metric_for(self, examples: Examples) -> str:
        """Return the metric by which predictions for these examples are compared."""
        return self.metric


def nothing_to_learn(train: Examples, given: str, hint: Message | None = None) -> UserError:
    """Make the error of training examples whose targets are all alike or missing. given: what they have."""
    hint = hint or advise("check the label column ({option})", option("label_column"))
    return UserError("{source}: nothing to learn", train[0].source, given=given, hint=hint)


def score_predictions(task: Task[Any], examples: Examples, predictions: Sequence[Any]) -> Scores:
    """Score predictions against the targets of examples, with intervals; `largest_errors` name lines of the file."""
    metric = task.metric_for(examples)
    model = Contestant("", "", task.comparable(examples, predictions), probabilities_of(metric, predictions))
    scores = metrics.compare(task.kind, task.reference(examples), [model], task.labels, metric).scores
    if "largest_errors" not in scores.details:
        return scores
    errors = [{"line": examples[error.pop("row")].line, **error} for error in scores.details["largest_errors"]]
    return replace(scores, details={**scores.details, "largest_errors": errors})


def probabilities_of(metric: str, predictions: Sequence[Any]) -> Floats | None:
    """The probability of each label (rows, labels) of rankings of all labels, where the metric is about these."""
    if metric != "auc":
        return None
    return np.stack([prediction.probabilities for prediction in predictions]).astype(np.float64)


def split_rows(values: npt.NDArray[Any], sizes: Sequence[int]) -> list[npt.NDArray[Any]]:
    """Split outputs (total, ...) of rows one after another into those of each row, (size, ...)."""
    return np.split(values, np.cumsum(sizes)[:-1].tolist())


def log_softmax(logits: npt.NDArray[Any]) -> Floats:
    """Compute log(softmax(logits)) over the last axis, in float64."""
    values = logits.astype(np.float64)
    values -= values.max(-1, keepdims=True)
    values -= np.log(np.exp(values).sum(-1, keepdims=True))
    return values


def sigmoid(logits: npt.NDArray[Any]) -> Floats:
    """Compute 1 / (1 + exp(-logits)) in float64, without overflow."""
    values = logits.astype(np.float64)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1.0, small) / (1 + small))


def top_places(values: npt.NDArray[Any], count: int) -> npt.NDArray[np.intp]:
    """Return the places of the `count` greatest values (n,), and of those equal to the last of them, the greatest
    first, of equal ones the first."""
    places = np.arange(len(values))
    if count < len(values):
        places = np.flatnonzero(values >= np.partition(values, len(values) - count)[len(values) - count])
    return places[np.argsort(-values[places], kind="stable")]
