"""The masked-LM head: from hidden states to a loss over the vocabulary, at the masked positions only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from unmask.model.config import EncoderConfig
from unmask.model.encoder import ACTIVATIONS, Encoder, LayerNorm, init_linear
from unmask.model.families import FAMILIES

# bytes of logits at a time, in float32: so few that they take little memory, and so many that the products run at
# their full rate, for which a GPU needs more
CPU_CHUNK_BYTES = 32 * 2**20
GPU_CHUNK_BYTES = 512 * 2**20


class MLMHead(nn.Module):
    """BERT's masked-LM head: dense (to embedding_size), activation, norm, then the tied token embeddings and a bias per
    token.

    hidden (positions, hidden_size) -> logits (positions, vocab_size). Devlin et al. 2019, appendix A.2; tying: Press,
    Wolf 2017. The embedding matrix belongs to the encoder and is passed in at each call, never copied.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        style = FAMILIES[config.family].head
        dense = nn.Linear(config.hidden_size, config.resolved_embedding_size, bias=style.bias)
        self.dense = init_linear(dense, config)
        self.activation = ACTIVATIONS[style.masked_activation or config.hidden_act]
        self.norm = LayerNorm(config, config.resolved_embedding_size)
        self.bias = nn.Parameter(self.dense.weight.new_zeros(config.vocab_size))

    @torch.no_grad()
    def init_from_counts(self, counts: Tensor) -> None:
        """Start from the frequency of tokens, counts (vocab_size,): otherwise that is learnt first."""
        smoothed = counts.to(self.bias) + 0.5
        self.bias.copy_(smoothed.log() - smoothed.log().mean())

    def forward(self, hidden: Tensor, encoder: Encoder) -> Tensor:
        """Compute the logits."""
        transformed = self.norm(self.activation(self.dense(hidden)))
        return F.linear(transformed, encoder.embeddings.token.weight, self.bias)

    def loss(self, hidden: Tensor, targets: Tensor, encoder: Encoder) -> Tensor:
        """The sum of the cross-entropies in nats; hidden (positions, hidden_size), targets (positions,) int64."""
        table = encoder.embeddings.token.weight
        transformed = self.norm(self.activation(self.dense(hidden)))
        if not torch.is_grad_enabled():
            return F.cross_entropy(F.linear(transformed, table, self.bias), targets, reduction="sum")
        total: Tensor = _SummedCrossEntropy.apply(  # type: ignore[no-untyped-call]
            transformed, table, self.bias, targets, positions_per_chunk(table)
        )
        return total


def positions_per_chunk(table: Tensor) -> int:
    """How many positions' logits exist at the same time; table (vocab_size, embedding_size)."""
    return max(1, (CPU_CHUNK_BYTES if table.device.type == "cpu" else GPU_CHUNK_BYTES) // (4 * table.shape[0]))


class _SummedCrossEntropy(torch.autograd.Function):
    """Sum over the positions of logsumexp(z) - z[target], where z = hidden table^T + bias.

    The gradient of z is softmax(z) less one at the target. It is known as soon as z is, so it is multiplied into
    the gradients of hidden, table and bias in the forward pass, some positions at a time: the logits never exist as a
    whole, each is computed once, and there are three products, as there are without this; two where the table is
    frozen. The gradients of the sum wait for the backward pass, which scales them. (Hsu et al. 2024, "Liger Kernel",
    arXiv 2410.10989, do the same in kernels for a GPU: FusedLinearCrossEntropy.)

    hidden (positions, size), table (vocab_size, size), bias (vocab_size,), targets (positions,) int64 -> scalar of
    float32, or wider where the table is. Products are in autocast's dtype where that is on; sums never.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor, targets: Tensor, chunk: int) -> Tensor:
        kind = table.device.type
        summed = torch.promote_types(table.dtype, torch.float32)
        product = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else table.dtype
        with torch.autocast(kind, enabled=False):
            read, matrix, offset = hidden.to(product), table.to(product), bias.to(product)
            total = torch.zeros((), dtype=summed, device=table.device)
            grad_hidden = torch.empty_like(read)
            learnt = bool(ctx.needs_input_grad[1])
            grad_table = torch.zeros_like(table, dtype=summed) if learnt and len(targets) == 0 else None
            grad_bias = torch.zeros_like(bias, dtype=summed)
            for at in range(0, len(targets), chunk):
                wanted = targets[at : at + chunk].unsqueeze(1)
                part = read[at : at + chunk]
                log = torch.log_softmax(torch.addmm(offset, part, matrix.T), 1, dtype=summed)
                total -= log.gather(1, wanted).sum()
                slope = log.exp_().scatter_add_(1, wanted, log.new_full(wanted.shape, -1.0))
                grad_bias += slope.sum(0)
                slope = slope.to(product)
                torch.mm(slope, matrix, out=grad_hidden[at : at + chunk])
                if learnt:
                    grad_table = _accumulate_gradient(grad_table, slope, part, summed)
        ctx.save_for_backward(grad_hidden, grad_table, grad_bias)
        ctx.dtypes = hidden.dtype, table.dtype, bias.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> Any:
        gradients = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        scaled = (None if gradient is None else (gradient * scale).to(dtype) for gradient, dtype in gradients)
        return *scaled, None, None


def _accumulate_gradient(total: Tensor | None, slope: Tensor, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """total + slope^T hidden, in `dtype`; the first sum is the product itself."""
    if total is None:
        return (slope.T @ hidden).to(dtype)
    if slope.dtype == dtype:
        return torch.addmm(total, slope.T, hidden, out=total)
    return total.add_(slope.T @ hidden)
