"""Settings of classification, and of its losses."""

from typing import Annotated, Literal

from unmask.config import by_name, config, setting
from unmask.tasks.text import TextSettings


@config
class CrossEntropy:
    """The negative log-likelihood of the right label."""

    name: Literal["cross_entropy"] = "cross_entropy"


@config
class Focal:
    """Focal loss (Lin et al. 2017, equation 4): rows that are right already count less, by (1 - p)^gamma."""

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
        default="accuracy", description="the figure that chooses the best step and compares models"
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
    loss: AnyLoss = setting(default_factory=CrossEntropy, description="the loss of the scores of labels")
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
        if self.cutoffs is not None and self.head != "adaptive":
            raise ValueError("cutoffs are for head adaptive")
        if self.head == "adaptive":
            defaults = {"class_weights": "none", "label_smoothing": 0.0, "loss": CrossEntropy()}
            for name, default in defaults.items():
                if getattr(self, name) != default:
                    raise ValueError(f"{name} is for head linear")
