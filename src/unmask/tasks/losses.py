"""Losses of classification: what is learnt from the scores of the labels where one of them is right."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.config import by_name, config, setting


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

    The prior is how frequent a label is in training. What is left in the logits is what speaks for a label whatever
    its frequency: predictions are those for labels that are equally frequent.
    """

    name: Literal["logit_adjusted"] = "logit_adjusted"
    tau: float = setting(default=1.0, ge=0, description="0 is cross-entropy; 1 balances the labels")


AnyLoss = Annotated[CrossEntropy | Focal | LogitAdjusted, setting(discriminator="name"), by_name()]


def log_priors(labels: Sequence[int], num_labels: int) -> Tensor:
    """(count,) float32: the logarithm of the share of each label, each of which must occur."""
    seen = torch.bincount(torch.tensor(labels), minlength=num_labels).double()
    return (seen / seen.sum()).log().float()


def summed_loss(
    loss: AnyLoss,
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    priors: Tensor | None = None,
) -> Tensor:
    """The sum over all rows (nats). logits (rows, labels), wanted (rows,) int64, weights and log priors (labels,).

    Class weights and label smoothing are those of the cross-entropy, which every loss is a change of: focal loss
    multiplies it, row by row, by (1 - p)^gamma with the probability p of the right label.
    """
    if isinstance(loss, LogitAdjusted):
        assert priors is not None, "the frequencies of the labels are needed"
        logits = logits + loss.tau * priors
    if not isinstance(loss, Focal):
        return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="sum")
    each = F.cross_entropy(logits, targets, weights, label_smoothing=smoothing, reduction="none")
    said = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
    # 1 - p without loss of digits; a power below 1 has no slope at 0
    missed = (-torch.expm1(said)).clamp_min(torch.finfo(said.dtype).tiny)
    return (missed.pow(loss.gamma) * each).sum()
