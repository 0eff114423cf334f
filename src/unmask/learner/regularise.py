"""Regularisers of fine-tuning: further terms of the loss and further passes, whatever the task.

Both are switched on in a recipe (`regularisation`), and a learner that has none computes what it did without them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unmask.config import config, setting
from unmask.learner.batch import Batch
from unmask.learner.loss import Loss, LossTerm
from unmask.model.layout import SequenceLayout, sequence_ids, sequence_lengths, sequence_sums

RDROP, FGM = "rdrop", "adversarial"  # what these terms of the loss are called in metrics.jsonl


@config
class Regularisation:
    """Settings of regularisation; 0: off."""

    rdrop: float = setting(
        default=0.0,
        ge=0,
        description="R-Drop (Liang et al. 2021): weight of the divergence between the outputs for a row under two "
        "dropout masks; twice the time",
    )
    fgm: float = setting(
        default=0.0,
        ge=0,
        description="adversarial training (Miyato et al. 2017): length of the change of a text's token embeddings "
        "that raises the loss most, under which the text is learnt as well; 5 in the paper; twice the time",
    )


@dataclass
class Regulariser:
    """What a learner does for its `Regularisation`, in this order.

    R-Drop: each sequence is twice in a batch (`prepare`), so that both copies get dropout masks of their own in
    one pass. The loss is the mean over both, plus rdrop x (KL(p, q) + KL(q, p)) / 2 for each target (section
    2.1 of the paper, where the cross-entropies are added up; its published code takes their mean, as here).

    FGM: the loop goes over each micro-batch twice. The first backward pass brings, beside the gradients of the
    weights, g, the gradient of the embeddings of a sequence; in the second pass they are changed by fgm x s x g / |g|,
    and the loss there is one more term, with the weight 1 (section 3 of the paper). |g| is over all tokens of the
    sequence, s the root mean square of its embeddings: the paper normalises embeddings to the variance 1 instead, for
    the same reason, that a network must not get away from a change by embeddings that are large.
    The gradient is that of a pass that is needed anyway: 2 forward and 2 backward passes, whatever trains.
    """

    settings: Regularisation
    embedding_gradient: Tensor | None = field(default=None, repr=False)  # (tokens, width), from one pass to the next

    @property
    def backward_passes(self) -> int:
        """Over each micro-batch."""
        return 2 if self.settings.fgm else 1

    def prepare(self, batch: Batch) -> Batch:
        """A batch to be learnt so: with as many copies as it takes, and with all terms counted."""
        ((_, scored),) = batch.target_positions.items()
        if self.settings.rdrop:
            batch = batch.repeat_twice().with_target_positions(RDROP, scored)
        return (
            batch.with_target_positions(FGM, next(iter(batch.target_positions.values())))
            if self.settings.fgm
            else batch
        )

    @contextmanager
    def adversarial(self, token: nn.Module, batch: Batch) -> Iterator[None]:
        """Within it, token embeddings are changed in the second pass, and in the first one tell their gradient."""
        if not self.settings.fgm:
            yield
            return

        def note(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
            if not embedded.requires_grad:  # weights that do not learn; the gradient is wanted all the same
                embedded = embedded.detach().requires_grad_()
            embedded.register_hook(self._store_gradient)  # type: ignore[no-untyped-call]
            return embedded

        def change(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
            assert self.embedding_gradient is not None, "the first pass had no backward pass"
            change = fgm_perturbation(self.embedding_gradient, embedded.detach(), batch.layout, self.settings.fgm)
            return embedded + change.to(embedded.dtype)

        hook = token.register_forward_hook(change if batch.backward_pass else note)
        try:
            yield
        finally:
            hook.remove()

    def _store_gradient(self, slope: Tensor) -> None:
        self.embedding_gradient = slope

    def add_terms(
        self,
        loss: Loss,
        outputs: Tensor,
        batch: Batch,
        sizes: Tensor,
        divergence: Callable[[Tensor, Tensor], Tensor],
    ) -> Loss:
        """The loss of a task with the terms that come to it. sizes: (sequences,), the rows of outputs of each."""
        ((name, part),) = loss.terms.items()
        if batch.backward_pass:
            self.embedding_gradient = None
            return Loss({FGM: part})
        if not self.settings.rdrop:
            return loss
        first, second = (outputs.index_select(0, rows) for rows in _copies(sizes, outputs))
        apart = divergence(first, second)
        return Loss({name: part, RDROP: LossTerm(apart, part.count // 2, self.settings.rdrop)})


def _copies(sizes: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows are of first copies, and which of second ones, where the copies of a sequence are neighbours."""
    second = torch.arange(len(sizes)).repeat_interleave(sizes) % 2
    places = [(second == copy).nonzero().squeeze(1).to(like.device, non_blocking=True) for copy in (0, 1)]
    return places[0], places[1]


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """The sum over rows of (KL(p, q) + KL(q, p)) / 2 = sum of (p - q) (log p - log q) / 2, in nats.

    first, second: (rows, classes), of which softmax makes the distributions p and q.
    """
    p, q = first.float().log_softmax(-1), second.float().log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2


def fgm_perturbation(gradient: Tensor, embedded: Tensor, layout: SequenceLayout, epsilon: float) -> Tensor:
    """The change that raises the loss of each sequence most, to first order, of those that are so long.

    slope, embedded, change: (tokens, width). length: over all tokens of a sequence, in units of the root mean square
    of its embeddings. No change where the slope is 0.
    """
    steep, size = (sequence_sums(x.square().mean(-1), layout) for x in (gradient, embedded))
    numbers = sequence_lengths(layout) * gradient.shape[-1]
    factors = epsilon * (size / (numbers * steep)).sqrt().masked_fill(steep == 0, 0.0)
    return gradient * factors[sequence_ids(layout)].unsqueeze(1)
