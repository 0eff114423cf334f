"""Regularisation of fine-tuning, whatever the task: settings and formulas. `TaskLearner` applies them."""

import torch
from torch import Tensor

from unmask.config import config, setting
from unmask.data.encoded import SPECIAL_TOKEN
from unmask.data.hashing import hash_uniform
from unmask.learner.batch import Batch
from unmask.model.layout import SequenceLayout, sequence_ids, sequence_lengths, sequence_sums

RDROP, FGM = "rdrop", "adversarial"  # what these terms of the loss are called in metrics.jsonl
WORD_DROPOUT = 31  # what a hash is for


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
        description="FGM, adversarial training (Miyato et al. 2017): norm of the perturbation of a text's token "
        "embeddings; 5 in the paper; twice the time",
    )


def drop_words(batch: Batch, seed: int, mask_prob: float, mask_token_id: int) -> Tensor:
    """Mask about `mask_prob` of the input ids of a batch, chosen by a hash of (seed, example, epoch, position).

    Word dropout (Iyyer et al. 2015, section 3.2): a text is not learnt by heart from the words that happen to be in
    it, and a network that was pretrained on masked text has learnt to read with gaps.
    """
    drawn = torch.from_numpy(hash_uniform(seed, WORD_DROPOUT, *batch.token_keys()))
    hidden = (drawn < mask_prob) & (batch.flags & SPECIAL_TOKEN == 0)
    return torch.where(hidden, mask_token_id, batch.input_ids)


def split_copies(outputs: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Split the rows of outputs into those of first and of second copies, which are neighbours in a batch.

    sizes: (sequences,), the rows of each sequence.
    """
    parts = torch.split(outputs, sizes.tolist())
    return torch.cat(parts[::2]), torch.cat(parts[1::2])


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """The sum over rows of (KL(p, q) + KL(q, p)) / 2 = sum of (p - q) (log p - log q) / 2, in nats.

    first, second: (rows, classes), of which softmax makes the distributions p and q.
    """
    p, q = first.float().log_softmax(-1), second.float().log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2


def fgm_perturbation(gradient: Tensor, embedded: Tensor, layout: SequenceLayout, epsilon: float) -> Tensor:
    """The change that raises the loss of each sequence most, to first order, of those of the length `epsilon`.

    gradient, embedded, change: (tokens, hidden_size). The length is over all tokens of a sequence, in units of the root
    mean square of its embeddings. No change where the gradient is 0.
    """
    steep, size = (sequence_sums(x.square().mean(-1), layout) for x in (gradient, embedded))
    numbers = sequence_lengths(layout) * gradient.shape[-1]
    factors = epsilon * (size / (numbers * steep)).sqrt().masked_fill(steep == 0, 0.0)
    return gradient * factors[sequence_ids(layout)].unsqueeze(1)
