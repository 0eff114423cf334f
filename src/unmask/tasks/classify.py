"""Classification of a text or of a pair of texts: one label each; and the settings of all that is said of texts."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask import metrics, rowmetrics
from unmask.config import config, setting
from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.labels import LabelKind
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.metrics import Interval
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.pooler import Pooling
from unmask.tasks.classifyhead import (
    ADAPTIVE_DIV_VALUE,
    AdaptiveHead,
    AdaptiveLearner,
    ClassifyHead,
    ClassifyLearner,
    PooledHead,
)
from unmask.tasks.losses import AnyLoss, CrossEntropy, log_priors
from unmask.tasks.manylabels import LabelsTask
from unmask.tasks.number import NumberTask
from unmask.tasks.task import Head, Logits, ScoreTable, TaskLearner
from unmask.tasks.texts import (
    Label,
    Ranking,
    TextTask,
    label_probabilities,
    labelled_logits,
    round_probabilities,
)
from unmask.text.tokenizer import Tokenizer

__all__ = ["Classify", "ClassifyHead", "ClassifyLearner", "ClassifyTask", "Evaluation", "Label"]

MAX_CONFUSIONS = 8  # pairs of labels shown to people
MOST_COUNTED = 100  # labels of which all pairs are counted

MetricName = Literal[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "subset_accuracy",
    "matthews",
    "auc",
    "pearson",
    "spearman",
    "mae",
    "rmse",
]


@config
class Classify:
    """Settings of classification and regression of texts."""

    name: Literal["classify"] = "classify"
    target: LabelKind = setting(
        default="label", description="what is said of a text: one label, any number of labels, or a number"
    )
    max_length: int = setting(
        default=128, ge=8, description="longest input in tokens; what becomes of longer texts `long` says"
    )
    long_texts: Literal["truncate", "windows"] = setting(
        default="truncate",
        description="a text longer than length: cut, which is said, or read in windows that overlap",
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; half of length if not given"
    )
    metric: MetricName | None = setting(
        default=None,
        description="the figure that the best step is chosen by and models are compared by; accuracy, micro_f1 or "
        "pearson if not given, as the target is",
    )
    pooling: Pooling = setting(
        default="cls",
        description="one vector per text: the [CLS] state, or the mean, the greatest values or the mean weighted by "
        "attention over tokens",
    )
    head: Literal["linear", "adaptive"] = setting(
        default="linear",
        description="the last layer; adaptive: for very many labels, the rare ones in clusters (Grave et al. 2017)",
    )
    cutoffs: list[int] | None = setting(
        default=None,
        description="head adaptive: after how many labels, most frequent first, a cluster ends; a twentieth and a "
        "quarter of them if not given",
    )
    tune_thresholds: bool = setting(
        default=False,
        description="target labels: find for each label the probability from which it is given, by its F1 on the dev "
        "rows; 0.5 otherwise",
    )
    classifier_dropout: float = setting(default=0.1, ge=0, lt=1, description="before the last layer")
    loss: AnyLoss = setting(default_factory=CrossEntropy, description="what is learnt from the scores of labels")
    class_weights: Literal["none", "balanced"] = setting(
        default="none", description="balanced: each class weighs the same in sum (n / (classes x count))"
    )
    label_smoothing: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the target spread over all labels (Szegedy et al. 2016, section 7)",
    )

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.max_length - 2:
            raise ValueError(f"stride {self.stride} leaves tokens out: at most length - 2 = {self.max_length - 2}")
        allowed = self.task.metrics
        if self.metric is not None and self.metric not in allowed:
            raise ValueError(f"metric {self.metric} is not for target {self.target}: {', '.join(allowed)}")
        plain = self.target == "label" and self.head == "linear"
        of_one_label = {"class_weights": "none", "label_smoothing": 0.0, "loss": CrossEntropy()}
        for name, unused in of_one_label.items():
            if not plain and getattr(self, name) != unused:
                raise ValueError(f"{name} is for target label with head linear")
        if self.head == "adaptive" and self.target != "label":
            raise ValueError(f"head adaptive is for target label, not {self.target}")
        if self.cutoffs is not None and self.head != "adaptive":
            raise ValueError("cutoffs are for head adaptive")
        if self.tune_thresholds and self.target != "labels":
            raise ValueError(f"tune_thresholds is for target labels, not {self.target}")

    @property
    def task(self) -> type[TextTask[Any]]:
        tasks: dict[LabelKind, type[TextTask[Any]]] = {
            "label": ClassifyTask,
            "labels": LabelsTask,
            "number": NumberTask,
        }
        return tasks[self.target]


@dataclass(frozen=True)
class Evaluation:
    """Figures over the labels of the task and, after them, those that it does not know; each with its 95 % bootstrap
    interval, the telling one first.

    confusion: [true label][predicted label], None of more than 100 labels; confused: what was wrongly predicted for
    which true label, the most frequent first.
    """

    rows: int
    figures: dict[str, Interval]
    confusion: list[list[int]] | None
    confused: list[dict[str, Any]]
    per_label: list[dict[str, Any]]

    def __repr__(self) -> str:
        return f"Evaluation({self.rows:,} rows, accuracy {self.accuracy}, macro-F1 {self.macro_f1})"

    @property
    def accuracy(self) -> Interval:
        return self.figures["accuracy"]

    @property
    def macro_f1(self) -> Interval:
        return self.figures["macro_f1"]

    def tables(self) -> list[ScoreTable]:
        scores = [
            (row["label"], *(f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1")), row["n"])
            for row in self.per_label
        ]
        shown = [ScoreTable(("label", "precision", "recall", "F1", "rows"), scores)]
        if self.confused:
            pairs = [(pair["label"], pair["predicted"], pair["rows"]) for pair in self.confused[:MAX_CONFUSIONS]]
            shown.append(ScoreTable(("most often confused: true", "predicted", "rows"), list(pairs)))
        return shown

    def to_dict(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


class ClassifyTask(TextTask[Sequence[Label]]):
    """One label for each text. A prediction is every label, the most probable first.

    Labels are sorted by name; under the head `adaptive` by how frequent they are in training, which it builds on.
    """

    kind = "label"
    ranks = True
    metrics = ("accuracy", "macro_f1", "matthews", "auc")
    baseline = "majority"

    @classmethod
    def build(cls, settings: Classify, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        labels = cls.labels_of(train)
        if settings.head == "adaptive":
            counts = Counter(example.label for example in train)
            labels.sort(key=lambda label: -counts[label])
        task = cls(settings, tokenizer, labels)
        task.cutoffs()
        return task

    @staticmethod
    def labels_of(examples: Sequence[Example]) -> list[str]:
        """The label set of training rows, sorted. Raises UserError where there is nothing to tell apart."""
        labels = sorted({example.label for example in examples if example.label is not None})
        if len(labels) < 2:
            raise UserError(
                f"{examples[0].source}: classification needs at least two labels",
                given=f"{len(examples)} rows, all labelled {labels[0]!r}" if labels else "no labels",
                to_do="check the label column (--label-column)",
            )
        return labels

    def cutoffs(self) -> list[int]:
        """After how many labels the clusters of the head `adaptive` end, but for the last.

        Raises UserError for such that are not in order or do not fit the number of labels.
        """
        if self.settings.head != "adaptive":
            return []
        count, given = len(self.labels), self.settings.cutoffs
        found = sorted({max(1, count // 20), max(1, count // 4)}) if given is None else given
        if not found or found[0] < 1 or found[-1] >= count or found != sorted(set(found)):
            raise UserError(
                "task.cutoffs cannot be used",
                given=", ".join(map(str, found)),
                allowed=f"numbers from 1 to {count - 1}, each larger than the one before it: there are {count} labels",
            )
        return found

    def target_of(self, example: Example) -> npt.NDArray[np.int64]:
        assert example.label is not None
        return np.array([self.label_ids[example.label]])

    def window_logits(self, mean: Logits) -> Logits:
        """Of the mean of the logarithms, probabilities again. That is the softmax of the mean of the logits: each
        window is a witness, as independent of the others as it can be."""
        whole: Logits = mean - np.logaddexp.reduce(mean)
        return whole

    def label_weights(self, examples: Sequence[Example]) -> Tensor | None:
        """(labels,) float32, or None when all weigh 1."""
        if self.settings.class_weights == "none":
            return None
        counts = Counter(example.label for example in examples)
        return torch.tensor([len(examples) / (len(self.labels) * counts[label]) for label in self.labels])

    def head(self, encoder: EncoderConfig) -> PooledHead:
        if self.settings.head == "adaptive":
            cutoffs = self.cutoffs()
            if encoder.hidden_size < ADAPTIVE_DIV_VALUE ** len(cutoffs):
                most = int(math.log(encoder.hidden_size, ADAPTIVE_DIV_VALUE))
                raise UserError(
                    f"these are too many clusters for a width of {encoder.hidden_size}",
                    given=f"task.cutoffs={cutoffs}",
                    allowed=f"at most {most} cutoffs, because each cluster has a quarter of the width before it",
                )
            return AdaptiveHead(self.settings, encoder, len(self.labels), cutoffs)
        return ClassifyHead(self.settings, encoder, len(self.labels))

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> TaskLearner:
        head = self.head(encoder.config)
        if isinstance(head, AdaptiveHead):
            return AdaptiveLearner(encoder, head)
        assert isinstance(head, ClassifyHead)
        labels = [self.label_ids[example.label] for example in train if example.label is not None]
        priors = log_priors(labels, len(self.labels))
        return ClassifyLearner(encoder, head, self.settings, self.label_weights(train), priors)

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """The logarithm of the probability of each label."""
        return list(outputs.float().log_softmax(-1).cpu().numpy())

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        rows, logits = self.merge_windows(rows, logits)
        logs, wanted = labelled_logits(rows, logits)
        loss = -float(np.take_along_axis(logs, wanted, axis=1).mean(dtype=np.float64))
        if self.metric == "auc":
            return {"classify.loss": loss, self.metric_key: rowmetrics.auc(wanted[:, 0], np.exp(logs))}
        truth, said, _ = self._numbered(examples, [int(one.argmax()) for one in logits])
        return {"classify.loss": loss, self.metric_key: metrics.METRICS[self.metric](truth, said)}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[Sequence[Label]]:
        """Labels of each example, the most probable first; all of them without `top_k`."""
        return [Ranking(self.labels, np.exp(logs), top_k) for logs in self.merge_windows(rows, logits)[1]]

    def top_prediction(self, prediction: Sequence[Label]) -> Label:
        return prediction[0]

    def _numbered(
        self, examples: Sequence[Example], said: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
        """What is true and what was said, as numbers of labels; and these, the unknown ones after the task's."""
        unknown = {label for example in examples for label in example.labels} - set(self.labels)
        labels = [*self.labels, *sorted(unknown)]
        numbers = {label: number for number, label in enumerate(labels)}
        truth = np.array([numbers[label] for label in self.reference(examples)])
        return truth, np.array(said), labels

    def score(self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]], seed: int = 0) -> Evaluation:
        said = [self.label_ids[name] for name in self.comparable(examples, predictions)]
        truth, given, labels = self._numbered(examples, said)
        count = len(labels)
        figures = {}
        for name in dict.fromkeys((self.metric, "accuracy", "macro_f1")):
            if name == "auc":
                known = truth < len(self.labels)
                shares = label_probabilities(predictions, self.label_ids)
                figures[name] = rowmetrics.bootstrap_rows(rowmetrics.auc, truth[known], shares[known], seed=seed)
            else:
                figures[name] = metrics.bootstrap(metrics.METRICS[name], truth, given, count, seed=seed)
        scores = metrics.per_label(truth, given, count)
        wrong = Counter((labels[t], labels[s]) for t, s in zip(truth, given, strict=True) if t != s)
        return Evaluation(
            rows=len(truth),
            figures=figures,
            confusion=metrics.confusion(truth, given, count).tolist() if count <= MOST_COUNTED else None,
            confused=[
                {"label": true, "predicted": said, "rows": rows}
                for (true, said), rows in sorted(wrong.items(), key=lambda pair: (-pair[1], pair[0]))
            ],
            per_label=[{"label": name, **asdict(s)} for name, s in zip(labels, scores, strict=True)],
        )

    def probabilities(self, predictions: Sequence[Sequence[Label]]) -> list[list[float]] | None:
        return round_probabilities(label_probabilities(predictions, self.label_ids)) if self.metric == "auc" else None

    def constant_baseline(self, train: Sequence[Example]) -> str:
        """The most frequent label; of equally frequent ones the first by name."""
        counts = Counter(example.label or "" for example in train)
        return min(counts, key=lambda label: (-counts[label], label))

    def comparable(self, examples: Sequence[Example], predictions: Sequence[Sequence[Label]]) -> list[str]:
        return [prediction[0].label for prediction in predictions]

    def sample(self, example: Example, prediction: Sequence[Label]) -> dict[str, Any]:
        return super().sample(example, prediction) | {"probability": round(prediction[0].score, 4)}

    def to_record(self, example: Example, prediction: Sequence[Label], all_scores: bool) -> dict[str, Any]:
        first = prediction[0]
        row = {
            "id": example.id,
            "line": example.line,
            "label": first.label,
            "score": round(first.score, 6),
        }
        return row | ({"scores": {x.label: round(x.score, 6) for x in prediction}} if all_scores else {})

    def columns(self, all_scores: bool) -> list[str]:
        return ["id", "line", "label", "score", *(self.labels if all_scores else [])]

    def to_rows(self, example: Example, prediction: Sequence[Label], all_scores: bool) -> list[list[object]]:
        """One, with the probability of each label in a column of its own where all are asked for."""
        first = prediction[0]
        others = self.scores(prediction) if all_scores else []
        return [[example.id, example.line, first.label, round(first.score, 6), *others]]
