"""TaskLearner: an encoder with the head of a task, whatever the task."""

from torch import Tensor, nn

from unmask.learner.batch import Batch
from unmask.learner.head import Head, run_head
from unmask.learner.learner import Learner
from unmask.learner.loss import Loss
from unmask.learner.regularise import Regulariser
from unmask.learner.word_dropout import TokenMasking
from unmask.model.encoder import Encoder


class TaskLearner(Learner):
    """An encoder and a head. token_masking: which tokens are masked while it learns, if any; regulariser: what is
    added to the loss of the head, if anything."""

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        token_masking: TokenMasking | None = None,
        regulariser: Regulariser | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.token_masking, self.regulariser = token_masking, regulariser
        self.lr_factors = {f"head.{prefix}": factor for prefix, factor in head.lr_factors.items() if factor != 1}
        self.no_weight_decay = tuple(self.lr_factors)

    @property
    def backward_passes(self) -> int:
        return 1 if self.regulariser is None else self.regulariser.backward_passes

    @property
    def uses_in_batch_negatives(self) -> bool:
        return self.head.uses_in_batch_negatives

    def prepare(self, batch: Batch, seed: int) -> Batch:
        batch = self.head.prepare(batch)
        batch = batch if self.token_masking is None else self.token_masking(batch, seed)
        return batch if self.regulariser is None else self.regulariser.prepare(batch)

    def forward(self, batch: Batch) -> Loss:
        if self.regulariser is None or not self.training:
            return self.head.loss(self.outputs(batch), batch)
        with self.regulariser.adversarial(self.encoder.embeddings.token, batch):
            outputs = self.outputs(batch)
        loss = self.head.loss(outputs, batch)
        return self.regulariser.add_terms(
            loss, outputs, batch, self.head.rows_per_sequence(batch), self.head.divergence
        )

    def outputs(self, batch: Batch) -> Tensor:
        """Compute the outputs of the head, in training only what its loss needs."""
        compute = self.head.training_outputs if self.training and self.regulariser is None else None
        return run_head(self.encoder, self.head, batch, compute)

    def saved_modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, **self.head.saved_modules()}
