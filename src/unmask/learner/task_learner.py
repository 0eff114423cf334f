"""TaskLearner: an encoder with the head of a task, whatever the task."""

import dataclasses

from torch import Tensor, nn

from unmask.learner.batch import Batch
from unmask.learner.head import Head, run_head
from unmask.learner.learner import Learner
from unmask.learner.loss import Loss, LossTerm
from unmask.learner.regularise import FGM, RDROP, Regularisation, drop_words, fgm_perturbation, split_copies
from unmask.model.encoder import Encoder


class TaskLearner(Learner):
    """An encoder and a head, and the regularisation of both while they learn.

    mask_prob: share of tokens that word dropout replaces by `mask_token_id`.

    R-Drop: each sequence is twice in a batch, so that both copies get dropout masks of their own in one pass. The
    loss is the mean over both, plus rdrop x (KL(p, q) + KL(q, p)) / 2 for each target (section 2.1 of the paper, where
    the cross-entropies are added up; its published code takes their mean, as here).

    FGM: the loop goes over each micro-batch twice. The first backward pass brings, beside the gradients of the
    weights, g, the gradient of the embeddings of a sequence; in the second pass they are changed by fgm x s x g / |g|,
    and the loss there is one more term, with the weight 1 (section 3 of the paper). |g| is over all tokens of the
    sequence, s the root mean square of its embeddings: the paper normalises embeddings to the variance 1 instead, for
    the same reason, that a network must not get away from a change by embeddings that are large.
    The gradient is that of a pass that is needed anyway: 2 forward and 2 backward passes, whatever trains.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        regularisation: Regularisation | None = None,
        mask_prob: float = 0.0,
        mask_token_id: int = 0,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.regularisation = regularisation or Regularisation()
        self.mask_prob, self.mask_token_id = mask_prob, mask_token_id
        self.copies = head.copies * (2 if self.regularisation.rdrop else 1)
        self.backward_passes = 2 if self.regularisation.fgm else 1
        self.embedding_gradient: Tensor | None = None  # (tokens, hidden_size), from one pass to the next
        self.uses_in_batch_negatives = head.uses_in_batch_negatives
        self.lr_factors = {f"head.{prefix}": factor for prefix, factor in head.lr_factors.items() if factor != 1}
        self.no_weight_decay = tuple(self.lr_factors)

    def prepare(self, batch: Batch, seed: int) -> Batch:
        """Drop words, and count all terms of the loss."""
        batch = self.head.prepare(batch)
        if self.mask_prob:
            words = drop_words(batch, seed, self.mask_prob, self.mask_token_id)
            batch = dataclasses.replace(batch, input_ids=words)
        counted = dict(batch.target_positions)
        for scored in batch.target_positions.values():
            if self.regularisation.rdrop:
                counted[RDROP] = scored[::2]
            if self.regularisation.fgm:
                counted[FGM] = scored
        return dataclasses.replace(batch, target_positions=counted)

    def forward(self, batch: Batch) -> Loss:
        if not self.training:
            return self.head.loss(self.outputs(batch), batch)
        outputs = self._adversarial_outputs(batch) if self.regularisation.fgm else self.outputs(batch)
        loss = self.head.loss(outputs, batch)
        ((name, term),) = loss.terms.items()
        if batch.backward_pass:
            return Loss({FGM: term})
        if not self.regularisation.rdrop:
            return loss
        apart = self.head.divergence(*split_copies(outputs, self.head.rows_per_sequence(batch)))
        return Loss({name: term, RDROP: LossTerm(apart, term.count // 2, self.regularisation.rdrop)})

    def outputs(self, batch: Batch) -> Tensor:
        """Compute the outputs of the head, in training only what its loss needs."""
        plain = self.training and self.regularisation == Regularisation()
        return run_head(self.encoder, self.head, batch, self.head.training_outputs if plain else None)

    def _adversarial_outputs(self, batch: Batch) -> Tensor:
        """The outputs with changed token embeddings in the second pass; the first one stores their gradient."""

        def store(gradient: Tensor) -> None:
            self.embedding_gradient = gradient

        def note(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
            if not embedded.requires_grad:  # weights that do not learn; the gradient is needed all the same
                embedded = embedded.detach().requires_grad_()
            embedded.register_hook(store)  # type: ignore[no-untyped-call]
            return embedded

        def change(_: nn.Module, __: object, embedded: Tensor) -> Tensor:
            assert self.embedding_gradient is not None, "the first pass had no backward pass"
            gradient, self.embedding_gradient = self.embedding_gradient, None
            change = fgm_perturbation(gradient, embedded.detach(), batch.layout, self.regularisation.fgm)
            return embedded + change.to(embedded.dtype)

        hook = self.encoder.embeddings.token.register_forward_hook(change if batch.backward_pass else note)
        try:
            return self.outputs(batch)
        finally:
            hook.remove()

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, **self.head.saved_modules()}
