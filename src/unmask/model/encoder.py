"""The encoder, top to bottom: settings, embeddings, attention, feed-forward, block, encoder, initialisation.

Everything but attention acts on the last axis, so the same blocks serve padded (batch, length, width) and
packed (tokens, width) input. Variety is values of `EncoderConfig`, never subclasses.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask.config import config, setting
from unmask.model.attention import BackendName, Spans, attend
from unmask.model.positions import sinusoidal

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


@config
class EncoderConfig:
    """The architecture of an encoder. The defaults are BERT's, but for 6 layers and sinusoidal positions."""

    vocabulary: int = setting(
        default=8192, ge=8, description="pieces; pretraining takes the number from its corpus"
    )
    layers: int = setting(default=6, ge=1, description="Transformer blocks")
    width: int = setting(default=256, ge=2, multiple_of=2, description="size of each hidden state")
    heads: int = setting(default=4, ge=1, description="attention heads; must divide width")
    inner: int | None = setting(
        default=None, ge=1, description="width of the feed-forward; 4 x width if not given"
    )
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = setting(
        default="gelu", description="of the feed-forward"
    )
    norm: Literal["post", "pre"] = setting(
        default="post", description="LayerNorm after each residual sum (BERT), or before each sub-layer"
    )
    norm_eps: float = setting(default=1e-12, gt=0, description="added to the variance in LayerNorm")
    bias: bool = setting(default=True, description="biases in the linear layers of the blocks")
    positions: Literal["sinusoidal", "learned"] = setting(
        default="sinusoidal", description="how places in the text are told"
    )
    position_scale: float = setting(
        default=0.03,
        gt=0,
        description="factor on the sinusoid, so that it does not drown the token embeddings",
    )
    length: int = setting(
        default=512, ge=8, description="longest sequence in tokens, [CLS] and [SEP] included"
    )
    segments: int = setting(default=2, ge=0, le=2, description="segment embeddings; 2 for sentence pairs")
    dropout: float = setting(
        default=0.0, ge=0, lt=1, description="on embeddings, sub-layer outputs, attention weights"
    )
    init_std: float = setting(default=0.02, gt=0, description="standard deviation of the initial weights")
    attention: BackendName = setting(default="auto", description="the implementation of attention")

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")

    @property
    def feed_forward(self) -> int:
        return self.inner or 4 * self.width


class Embeddings(nn.Module):
    """Token, position and segment embeddings, summed and normalised. ids, segments, positions (...) -> (..., width)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocabulary, config.width)
        self.segment = nn.Embedding(config.segments, config.width) if config.segments else None
        self.position: nn.Embedding | None = None
        if config.positions == "learned":
            self.position = nn.Embedding(config.length, config.width)
        else:
            table = sinusoidal(config.length, config.width) * config.position_scale
            self.register_buffer("table", table, persistent=False)
        # a post-norm block expects a normalised input; a pre-norm block normalises it itself
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps) if config.norm == "post" else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, positions: Tensor, segments: Tensor | None) -> Tensor:
        places = self.get_buffer("table") if self.position is None else self.position.weight
        summed = self.token(ids) + F.embedding(positions, places)
        if self.segment is not None:
            summed = summed + self.segment(torch.zeros_like(ids) if segments is None else segments)
        if self.norm is not None:
            summed = self.norm(summed)
        return self.dropout(summed)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2). (..., width) -> (..., width)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.backend: BackendName = config.attention
        self.dropout = config.dropout
        # query, key and value stand one below another in one matrix: one product instead of three
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.output = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        query, key, value = (x.unflatten(-1, (self.heads, -1)) for x in self.qkv(hidden).chunk(3, dim=-1))
        dropout = self.dropout if self.training else 0.0
        mixed = attend(query, key, value, spans, dropout=dropout, backend=self.backend)
        return self.output(mixed.flatten(-2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers with an activation between, at each place alone. (..., width) -> (..., width)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.feed_forward, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.output = nn.Linear(config.feed_forward, config.width, bias=config.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.output(self.activation(self.inner(hidden)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each with a residual sum and a LayerNorm after (post) or before it (pre)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.attention = Attention(config)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, spans: Spans) -> Tensor:
        if self.pre:
            hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), spans))
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))  # type: ignore[no-any-return]
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, spans)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A bidirectional Transformer encoder.

    ids, segments: (batch, length) int64 with `Spans.padded(mask)`, or (tokens,) int64 with
    `Spans.packed(lengths)` -> hidden states of the same shape with a last axis of `width`. Both layouts give
    the same hidden states.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps) if config.norm == "pre" else None
        self.watched: list[Tensor] | None = (
            None  # if a list: root mean squares of the hidden states, bottom to top
        )
        self.apply(self._initialise)
        if config.norm == "pre":
            # residual branches add up over the depth: keep their sum at the size of one (GPT-2, section 2.3)
            for block in self.blocks:
                for linear in (block.attention.output, block.feed_forward.output):  # type: ignore[union-attr]
                    nn.init.normal_(linear.weight, std=config.init_std / math.sqrt(2 * config.layers))  # type: ignore[union-attr,arg-type]

    def _initialise(self, module: nn.Module) -> None:
        """Normal weights, zero biases, as BERT's published code."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, spans: Spans, segments: Tensor | None = None) -> Tensor:
        hidden = self.embeddings(ids, spans.positions, segments)
        self._watch(hidden)
        for block in self.blocks:
            hidden = block(hidden, spans)
            self._watch(hidden)
        return hidden if self.norm is None else self.norm(hidden)  # type: ignore[no-any-return]

    def _watch(self, hidden: Tensor) -> None:
        if self.watched is not None:
            self.watched.append(hidden.detach().float().square().mean().sqrt())

    @property
    def parameters_count(self) -> int:
        """Trainable numbers, token embeddings included."""
        return sum(p.numel() for p in self.parameters())

    def __repr__(self) -> str:
        c = self.config
        return (
            f"Encoder({c.layers} layers x {c.width}, {c.heads} heads, {c.positions} positions, "
            f"{c.norm}-norm, {c.vocabulary:,} pieces, {self.parameters_count / 1e6:.1f} M parameters)"
        )
