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
from torch.utils.checkpoint import checkpoint

from unmask.config import config, setting
from unmask.model.attention import BackendName, Spans, attend
from unmask.model.families import FamilyName
from unmask.model.norms import LayerNorm, RMSNorm
from unmask.model.positions import POSITION_SCALE, Rotary, Turn, rotated, sinusoidal

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
        default=None,
        ge=1,
        description="width of the feed-forward; if not given 4 x width, or as many parameters where gated",
    )
    gated: bool = setting(
        default=False, description="a gated feed-forward: activation(x G) * (x U), each of the width `inner`"
    )
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = setting(
        default="gelu", description="of the feed-forward"
    )
    norm: Literal["post", "pre"] = setting(
        default="post", description="LayerNorm after each residual sum (BERT), or before each sub-layer"
    )
    norm_kind: Literal["layer", "rms"] = setting(
        default="layer", description="LayerNorm, or RMSNorm: neither mean nor bias"
    )
    norm_eps: float = setting(default=1e-12, gt=0, description="added to the variance in LayerNorm")
    norm_bias: bool = setting(default=True, description="biases in LayerNorm")
    embedding_norm: bool | None = setting(
        default=None, description="a norm of the embeddings; if not given, where norms come after (post)"
    )
    first_norm: bool = setting(
        default=True, description="pre: a norm before the first attention; ModernBERT has none"
    )
    qk_norm: bool = setting(default=False, description="RMSNorm of each head's queries and keys")
    bias: bool = setting(default=True, description="biases in the linear layers of the blocks")
    positions: Literal["sinusoidal", "learned", "rotary"] = setting(
        default="sinusoidal", description="how places in the text are told"
    )
    rotary_base: float = setting(
        default=10000.0, gt=1, description="rotary: tokens in which the slowest axes turn by about a radian"
    )
    rotary_base_local: float | None = setting(
        default=None, gt=1, description="the same of local layers; rotary_base if not given"
    )
    pattern: str = setting(
        default="G",
        description="kinds of layers, repeated to the last: G sees the whole sequence, L the window",
    )
    window: int | None = setting(default=None, ge=1, description="tokens that local layers see on each side")
    length: int = setting(
        default=512, ge=8, description="longest sequence in tokens, [CLS] and [SEP] included"
    )
    position_offset: int = setting(
        default=0, ge=0, description="learned: number of the first position; RoBERTa counts from 2"
    )
    embedding: int | None = setting(
        default=None,
        ge=2,
        multiple_of=2,
        description="size of the embeddings, from which one matrix leads to width (ALBERT); width if not given",
    )
    blocks: int | None = setting(
        default=None,
        ge=1,
        description="blocks with weights of their own, each for as many layers in a row (ALBERT); all if not given",
    )
    segments: int = setting(default=2, ge=0, le=2, description="segment embeddings; 2 for sentence pairs")
    dropout: float = setting(
        default=0.0, ge=0, lt=1, description="on embeddings, sub-layer outputs, attention weights"
    )
    init_std: float = setting(default=0.02, gt=0, description="standard deviation of the initial weights")
    attention: BackendName = setting(default="auto", description="the implementation of attention")
    family: FamilyName = setting(
        default="bert",
        description="whose heads it has, and in whose layout it is written where that can say it",
    )

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need heads of an even width, not {self.head_width}")
        if not self.pattern or set(self.pattern) - set("GL"):
            raise ValueError(f"pattern {self.pattern!r} must consist of G (global) and L (local)")
        if "L" in self.pattern and self.window is None:
            raise ValueError(f"the local layers of pattern {self.pattern} need a window")
        if "L" not in self.pattern and (self.window or self.rotary_base_local) is not None:
            raise ValueError("window and rotary_base_local need local layers, as in the pattern GLL")
        if self.blocks is not None and (self.layers % self.blocks or self.pattern != "G"):
            raise ValueError(f"blocks {self.blocks} must divide layers {self.layers}, all of them global")
        if self.position_offset and self.positions != "learned":
            raise ValueError("position_offset is for learned positions")

    @property
    def feed_forward(self) -> int:
        """Two matrices of 4 x width, or three of 8/3 x width (Shazeer 2020, section 3), rounded up."""
        if self.inner is not None or not self.gated:
            return self.inner or 4 * self.width
        step = 64 if self.width >= 256 else 8
        return math.ceil(8 * self.width / (3 * step)) * step

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def embedding_width(self) -> int:
        return self.embedding or self.width

    @property
    def normalises_embeddings(self) -> bool:
        """A post-norm block expects a normalised input; a pre-norm block normalises it itself."""
        return self.norm == "post" if self.embedding_norm is None else self.embedding_norm

    def block_of(self, layer: int) -> int:
        """The number of the block that computes this layer."""
        return layer if self.blocks is None else layer * self.blocks // self.layers

    def is_local(self, layer: int) -> bool:
        return self.pattern[layer % len(self.pattern)] == "L"


def norm_of(config: EncoderConfig, width: int | None = None) -> nn.Module:
    width = width or config.width
    if config.norm_kind == "rms":
        return RMSNorm(width, eps=config.norm_eps)
    return LayerNorm(width, eps=config.norm_eps, bias=config.norm_bias)


class Embeddings(nn.Module):
    """Token, position and segment embeddings, summed and normalised. ids, segments, positions (...) -> (..., width).

    Embeddings of another size are projected (Lan et al. 2020, ALBERT, section 3.1).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.embedding_width
        self.token = nn.Embedding(config.vocabulary, width)
        self.segment = nn.Embedding(config.segments, width) if config.segments else None
        self.position: nn.Embedding | None = None
        self.offset = config.position_offset
        if config.positions == "learned":
            self.position = nn.Embedding(config.length + self.offset, width)
        elif config.positions == "sinusoidal":
            table = sinusoidal(config.length, width) * POSITION_SCALE
            self.register_buffer("table", table, persistent=False)
        self.norm = norm_of(config, width) if config.normalises_embeddings else None
        self.sinusoidal = config.positions == "sinusoidal"
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(width, config.width) if config.embedding is not None else None

    def forward(self, ids: Tensor, positions: Tensor, segments: Tensor | None) -> Tensor:
        summed = self.token(ids)
        if self.position is not None:
            summed = summed + self.position(positions + self.offset if self.offset else positions)
        elif self.sinusoidal:
            summed = summed + F.embedding(positions, self.get_buffer("table"))
        if self.segment is not None:
            summed = summed + self.segment(torch.zeros_like(ids) if segments is None else segments)
        if self.norm is not None:
            summed = self.norm(summed)
        device = summed.device.type
        if torch.is_autocast_enabled(device):  # blocks keep the dtype that they are given
            summed = summed.to(torch.get_autocast_dtype(device))
        summed = self.dropout(summed)
        return summed if self.project is None else self.project(summed)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2). (..., width) -> (..., width).

    Queries and keys are normalised, where the settings say so, before they are turned. Scores cannot grow without
    bound then (Henry et al. 2020; Dehghani et al. 2023, section 2); the weights, one for each axis of a head, let
    the scores be as sharp as they need to be.
    """

    def __init__(self, config: EncoderConfig, local: bool = False) -> None:
        super().__init__()
        self.heads = config.heads
        self.window = config.window if local else None
        self.backend: BackendName = config.attention
        self.dropout = config.dropout
        # query, key and value stand one below another in one matrix: one product instead of three
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.query_norm = RMSNorm(config.head_width, eps=config.norm_eps) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_width, eps=config.norm_eps) if config.qk_norm else None
        self.output = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(
        self, hidden: Tensor, spans: Spans, turn: Turn | None = None, asked: Spans | None = None
    ) -> Tensor:
        # what a window lets a place see is told by all places: those that are not asked for are left out later
        early = asked if self.window is None else None
        query, key, value = (x.unflatten(-1, (self.heads, -1)) for x in self._projected(hidden, early))  # type: ignore[no-untyped-call]
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query).to(value.dtype), self.key_norm(key).to(value.dtype)
        if turn is not None:
            query = rotated(query, (taken(turn[0], early), taken(turn[1], early)))
            key = rotated(key, turn)
        mixed = attend(
            query,
            key,
            value,
            spans,
            window=self.window,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend,
            asked=early,
        )
        if early is None:
            mixed = taken(mixed, asked)
        return self.output(mixed.flatten(-2))  # type: ignore[no-any-return]

    def _projected(self, hidden: Tensor, asked: Spans | None) -> tuple[Tensor, ...]:
        if asked is None:
            return self.qkv(hidden).chunk(3, dim=-1)  # type: ignore[no-any-return]
        width = hidden.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        query = F.linear(taken(hidden, asked), weight[:width], None if bias is None else bias[:width])
        both = F.linear(hidden, weight[width:], None if bias is None else bias[width:])
        return query, *both.chunk(2, dim=-1)


class FeedForward(nn.Module):
    """Two linear layers with an activation between, at each place alone. (..., width) -> (..., width).

    Gated (Shazeer 2020, section 2): activation(x G) * (x U), with G above U in one matrix, as in ModernBERT.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.gated = config.gated
        inner = config.feed_forward
        self.inner = nn.Linear(config.width, 2 * inner if config.gated else inner, bias=config.bias)
        self.activation = ACTIVATIONS[config.activation]
        self.output = nn.Linear(inner, config.width, bias=config.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = self.inner(hidden)
        if self.gated:
            gate, up = hidden.chunk(2, dim=-1)
            return self.output(self.activation(gate) * up)  # type: ignore[no-any-return]
        return self.output(self.activation(hidden))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each with a residual sum and a norm after (post) or before it (pre)."""

    def __init__(self, config: EncoderConfig, layer: int = 0) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.attention = Attention(config, config.is_local(layer))
        bare = self.pre and layer == 0 and not config.first_norm
        self.attention_norm = nn.Identity() if bare else norm_of(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = norm_of(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, spans: Spans, turn: Turn | None = None, asked: Spans | None = None
    ) -> Tensor:
        if self.pre:
            mixed = self.attention(self.attention_norm(hidden), spans, turn, asked)
            hidden = taken(hidden, asked) + self.dropout(mixed)
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))  # type: ignore[no-any-return]
        mixed = self.attention(hidden, spans, turn, asked)
        hidden = self.attention_norm(taken(hidden, asked) + self.dropout(mixed))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))  # type: ignore[no-any-return]


def taken(rows: Tensor, asked: Spans | None) -> Tensor:
    """The rows of the places that are asked for; all, where nothing is said."""
    return rows if asked is None or asked.places is None else rows.index_select(0, asked.places)


def run_block(
    block: nn.Module, hidden: Tensor, spans: Spans, turn: Turn | None, asked: Spans | None
) -> Tensor:
    return block(hidden, spans, turn, asked)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A bidirectional Transformer encoder.

    ids, segments: (batch, length) int64 with `Spans.padded(mask)`, or (tokens,) int64 with
    `Spans.packed(lengths)` -> hidden states of the same shape with a last axis of `width`. Both layouts give
    the same hidden states.

    asked: `spans.only(places)` or `spans.firsts()`, packed only: the hidden states of these places alone, (places,
    width). The last block then computes nothing else, but for the keys and values of all tokens: where the loss looks
    at 15 % of the tokens, that is a tenth less for 6 layers.

    recompute: in training, keep the hidden states between blocks only, and compute what is inside again for the
    gradients (Chen et al. 2016): less memory for a third more time; the gradients are the same.
    compiled: in training, what runs a block in place of a plain call (train/compiled.py).
    watched: where a list is set, each forward pass adds the root mean square of the hidden states, a scalar,
    after the embeddings and after each block.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config, n) for n in range(config.blocks or config.layers))
        self.norm = norm_of(config) if config.norm == "pre" else None
        self.rotary = nn.ModuleDict()  # by the kind of layer
        if config.positions == "rotary":
            bases = {"G": config.rotary_base, "L": config.rotary_base_local or config.rotary_base}
            for kind in sorted(set(config.pattern)):
                self.rotary[kind] = Rotary(config.length, config.head_width, bases[kind])
        self.recompute = False
        self.compiled: Callable[..., Tensor] | None = None
        self.watched: list[Tensor] | None = None
        if self.embeddings.token.weight.is_meta:
            return  # no numbers to draw: the weights come from a file
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

    def forward(
        self, ids: Tensor, spans: Spans, segments: Tensor | None = None, asked: Spans | None = None
    ) -> Tensor:
        hidden = self.embeddings(ids, spans.positions, segments)
        turns = {kind: rotary(spans.positions) for kind, rotary in self.rotary.items()}
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        run = self.compiled if self.compiled is not None and self.training else run_block
        self._watch(hidden)
        for layer in range(self.config.layers):
            block = self.blocks[self.config.block_of(layer)]
            turn = turns.get("L" if self.config.is_local(layer) else "G")
            given = (hidden, spans, turn, asked if layer == self.config.layers - 1 else None)
            hidden = checkpoint(run, block, *given, use_reentrant=False) if recompute else run(block, *given)
            self._watch(hidden)
        return hidden if self.norm is None else self.norm(hidden)  # type: ignore[no-any-return]

    def _watch(self, hidden: Tensor) -> None:
        if self.watched is not None:
            self.watched.append(hidden.detach().float().pow(2).mean().sqrt())

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
