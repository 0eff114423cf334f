"""What is learnt of answering: where in question and context the answer starts, and where it stops."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.data.batch import Batch, Row
from unmask.learner import Loss, Part
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.pooler import Transform
from unmask.tasks.task import Head, TaskLearner
from unmask.tasks.windows import Pieces, Window

Bounds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Context:
    """A context as pieces; bounds (pieces, 2) int64: the characters that a piece at either end of an answer brings."""

    pieces: Pieces
    bounds: Bounds

    def __len__(self) -> int:
        return len(self.bounds)


@dataclass(frozen=True)
class AnswerRow(Row):
    """A question with a window of its context, whose first piece stands at `place`."""

    context: Context = field(kw_only=True)
    window: Window = field(kw_only=True)
    place: int = field(kw_only=True)


def answer_row(row: Row) -> AnswerRow:
    assert isinstance(row, AnswerRow)
    return row


class AnswerHead(Head):
    """BERT's (Devlin et al. 2019, section 4.2): one linear layer. hidden (tokens, width) -> (tokens, 2), how well
    an answer starts at each token, and how well it stops there."""

    def __init__(self, encoder: EncoderConfig) -> None:
        super().__init__()
        self.transform = Transform(encoder) if FAMILIES[encoder.family].head.everywhere else None
        self.qa_outputs = nn.Linear(encoder.width, 2)
        nn.init.normal_(self.qa_outputs.weight, std=encoder.init_std)
        nn.init.zeros_(self.qa_outputs.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.qa_outputs(hidden if self.transform is None else self.transform(hidden))  # type: ignore[no-any-return]

    def published(self) -> dict[str, nn.Module]:
        before = {} if self.transform is None else self.transform.published()
        return {**before, "qa_outputs": self.qa_outputs}


class AnswerLearner(TaskLearner):
    """Encoder and head, trained by cross-entropy over the tokens of each sequence, of the start and of the stop."""

    def __init__(self, encoder: Encoder, head: AnswerHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def sizes(self, batch: Batch) -> Tensor:
        return torch.tensor(batch.spans.lengths)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        wanted = batch.targets["answer"]
        logits = padded(outputs.float(), batch.spans.lengths)
        return Loss(
            {"answer": Part(nn.functional.cross_entropy(logits, wanted, reduction="sum"), wanted.numel())}
        )


def padded(logits: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """(tokens, 2) of packed sequences -> (sequences, longest, 2), -inf where a sequence has no token."""
    sizes = torch.tensor(lengths, device=logits.device)
    inside = torch.arange(max(lengths), device=logits.device) < sizes.unsqueeze(1)
    empty = logits.new_full((*inside.shape, 2), float("-inf"))
    return empty.masked_scatter(inside.unsqueeze(2), logits)
