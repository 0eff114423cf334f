"""Classification: one label for a text or a pair of texts.

To add a loss: its settings here, and its formula in `heads/text.py`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from unmask.advice import advise, option
from unmask.config import by_name, config, setting
from unmask.data.rows.example import Example
from unmask.errors import UserError
from unmask.tasks.task import Arrays, Examples, Outputs, log_softmax, split_rows
from unmask.tasks.text import Label, Ranking, TextSettings, TextTask
from unmask.text.tokenizer import Tokenizer


@config
class CrossEntropy:
    """Cross-entropy: the negative log-likelihood of the true label."""

    name: Literal["cross_entropy"] = "cross_entropy"


@config
class Focal:
    """Focal loss (Lin et al. 2017, equation 4): a factor (1 - p)^gamma reduces the weight of easy rows."""

    name: Literal["focal"] = "focal"
    gamma: float = setting(default=2.0, ge=0, description="0 is cross-entropy; 2 was best in the paper, on images")


@config
class LogitAdjusted:
    """Cross-entropy of logits + tau log(prior) (Menon et al. 2021, equation 10): for labels of unequal frequency.

    The prior is how frequent a label is in training. What is left in the logits is evidence for a label whatever its
    frequency: predictions are those for labels that are equally frequent.
    """

    name: Literal["logit_adjusted"] = "logit_adjusted"
    tau: float = setting(default=1.0, ge=0, description="0 is cross-entropy; 1 balances the labels")


AnyLoss = Annotated[CrossEntropy | Focal | LogitAdjusted, setting(discriminator="name"), by_name()]


@config
class Classify(TextSettings):
    """Settings of classification: one label for each text."""

    name: Literal["classify"] = "classify"
    metric: Literal["accuracy", "macro_f1", "matthews", "auc"] = setting(
        default="accuracy", description="metric that selects the best step and compares models"
    )
    head: Literal["linear", "adaptive"] = setting(
        default="linear",
        description="the last layer; adaptive: for very many labels, the rare ones in clusters (Grave et al. 2017)",
    )
    loss: AnyLoss = setting(default_factory=CrossEntropy, description="loss function")
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
        super().__post_init__()
        if self.head == "adaptive":
            defaults = {"class_weights": "none", "label_smoothing": 0.0, "loss": CrossEntropy()}
            for name, default in defaults.items():
                if getattr(self, name) != default:
                    raise ValueError(f"{name} is for head linear")


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
                hint=advise("check the label column ({option})", option("label_column")),
            )
        if settings.head == "adaptive":
            labels.sort(key=lambda label: -counts[label])
        return cls(settings, tokenizer, labels)

    def target_of(self, example: Example) -> npt.NDArray[np.int64]:
        assert example.label is not None
        return np.array([self.label_ids[example.label]])

    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[Ranking]:
        """Make the mean of the log-probabilities of several windows probabilities again, as softmax of the mean logits
        would be: each window is evidence as independent of the others as it can be."""
        if not texts:
            return []
        logs = log_softmax(np.stack([logits for text in texts for logits in text.values]))
        if len(logs) > len(texts):
            parts = split_rows(logs, [len(text.values) for text in texts])
            logs = np.stack([part[0] if len(part) == 1 else _mean(part) for part in parts])
        return [Ranking(self.labels, one, top_k=top_k) for one in np.exp(logs).astype(np.float32)]

    def top_prediction(self, prediction: Ranking) -> Label:
        first: Label = prediction[0]
        return first

    def comparable(self, examples: Examples, predictions: Sequence[Ranking]) -> list[Any]:
        return [prediction[0].label for prediction in predictions]


def _mean(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of log-probabilities (windows, labels) as log-probabilities (labels,)."""
    mean = logs.mean(0)
    return np.asarray(mean - np.logaddexp.reduce(mean))
