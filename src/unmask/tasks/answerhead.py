"""What is learnt of answering: where in question and context the answer starts, and where it stops."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask.data.batch import Batch, EncodedRow
from unmask.learner import Loss, LossTerm
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.pooler import HeadTransform
from unmask.tasks.task import Head, TaskLearner
from unmask.tasks.windows import TextTokens, Window

Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Context:
    """A context as pieces; bounds (pieces, 2) int64: the characters that a piece at either end of an answer brings."""

    tokens: TextTokens
    offsets: Offsets

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True)
class AnswerRow(EncodedRow):
    """A question with a window of its context, whose first piece stands at `place`."""

    context: Context = field(kw_only=True)
    window: Window = field(kw_only=True)
    context_start: int = field(kw_only=True)


def answer_row(row: EncodedRow) -> AnswerRow:
    assert isinstance(row, AnswerRow)
    return row


class AnswerHead(Head):
    """BERT's (Devlin et al. 2019, section 4.2): one linear layer. hidden (tokens, width) -> (tokens, 2), how well
    an answer starts at each token, and how well it stops there."""

    def __init__(self, encoder: EncoderConfig) -> None:
        super().__init__()
        self.transform = HeadTransform(encoder) if FAMILIES[encoder.family].head.use_before_tagging else None
        self.qa_outputs = nn.Linear(encoder.hidden_size, 2)
        nn.init.normal_(self.qa_outputs.weight, std=encoder.initializer_range)
        nn.init.zeros_(self.qa_outputs.bias)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.qa_outputs(hidden if self.transform is None else self.transform(hidden))  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        before = {} if self.transform is None else self.transform.saved_modules()
        return {**before, "qa_outputs": self.qa_outputs}


class AnswerLearner(TaskLearner):
    """Encoder and head, trained by cross-entropy over the tokens of each sequence, of the start and of the stop."""

    def __init__(self, encoder: Encoder, head: AnswerHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def rows_per_sequence(self, batch: Batch) -> Tensor:
        return torch.tensor(batch.layout.lengths)

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        wanted = batch.targets["answer"]
        logits = pad_logits(outputs.float(), batch.layout.lengths)
        return Loss({"answer": LossTerm(nn.functional.cross_entropy(logits, wanted, reduction="sum"), wanted.numel())})


def pad_logits(logits: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """(tokens, 2) of packed sequences -> (sequences, longest, 2), -inf where a sequence has no token."""
    sizes = torch.tensor(lengths, device=logits.device)
    inside = torch.arange(max(lengths), device=logits.device) < sizes.unsqueeze(1)
    empty = logits.new_full((*inside.shape, 2), float("-inf"))
    return empty.masked_scatter(inside.unsqueeze(2), logits)
