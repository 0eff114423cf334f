"""The encoder, top to bottom: embeddings, attention, feed-forward, block, encoder, initialisation.

Everything but attention acts on the last axis, so the same blocks serve padded (batch, length, hidden_size) and
packed (tokens, hidden_size) input. Variety is values of `EncoderConfig`, never subclasses.
"""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unmask.model.attention import attend
from unmask.model.config import EncoderConfig
from unmask.model.layout import SequenceLayout
from unmask.model.positions import POSITION_SCALE, CosSin, RotaryEmbedding, apply_rotary, sinusoidal_table

if TYPE_CHECKING:
    from unmask.text.tokenizer import Tokenizer

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,  # of poolers alone
}


def init_linear(layer: nn.Linear, config: EncoderConfig) -> nn.Linear:
    """Initialise a layer as BERT's published code does, with normal weights and zero biases; return it."""
    nn.init.normal_(layer.weight, std=config.initializer_range)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class LayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1, times a weight plus a bias for each axis (Ba et al. 2016). (..., size) -> (..., size)

    The result has the dtype of its input also under autocast, which computes it in float32. ModernBERT has no bias.
    """

    def __init__(self, config: EncoderConfig, size: int) -> None:
        super().__init__(size, eps=config.norm_eps, bias=config.norm_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return super().forward(x).to(x.dtype)


class Context(NamedTuple):
    """What a block reads beside hidden states. query_positions: of the last block, see `Encoder`."""

    layout: SequenceLayout
    cos_sin: CosSin | None = None
    query_positions: SequenceLayout | None = None


class Embeddings(nn.Module):
    """Token, position and segment embeddings, summed and normalised. input_ids, ... (...) -> (..., hidden_size).

    Embeddings of another size are projected (Lan et al. 2020, ALBERT, section 3.1).
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.resolved_embedding_size
        self.token = nn.Embedding(config.vocab_size, width)
        self.segment = nn.Embedding(config.type_vocab_size, width) if config.type_vocab_size else None
        self.position: nn.Embedding | None = None
        self.offset = config.position_offset
        if config.position_embedding_type == "learned":
            self.position = nn.Embedding(config.max_position_embeddings + self.offset, width)
        elif config.position_embedding_type == "sinusoidal":
            table = sinusoidal_table(config.max_position_embeddings, width) * POSITION_SCALE
            self.register_buffer("table", table, persistent=False)
        self.norm = LayerNorm(config, width) if config.has_embedding_norm else None
        self.sinusoidal = config.position_embedding_type == "sinusoidal"
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(width, config.hidden_size) if config.embedding_size is not None else None

    def forward(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """Embed tokens; without token_type_ids, all have the type 0."""
        summed = self.token(input_ids)
        if self.position is not None:
            summed = summed + self.position(position_ids + self.offset if self.offset else position_ids)
        elif self.sinusoidal:
            summed = summed + F.embedding(position_ids, self.get_buffer("table"))
        if self.segment is not None:
            summed = summed + self.segment(torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids)
        if self.norm is not None:
            summed = self.norm(summed)
        device = summed.device.type
        if torch.is_autocast_enabled(device):  # blocks keep the dtype that they are given
            summed = summed.to(torch.get_autocast_dtype(device))
        summed = self.dropout(summed)
        return summed if self.project is None else self.project(summed)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2). (..., hidden_size) -> (..., hidden_size)."""

    def __init__(self, config: EncoderConfig, local: bool = False) -> None:
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.window = config.window if local else None
        self.dropout = config.dropout
        # query, key and value are stacked in one matrix: one product instead of three
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.bias)
        normed = (nn.RMSNorm(config.head_dim, eps=config.norm_eps) if config.qk_norm else None for _ in range(2))
        self.query_norm, self.key_norm = normed  # Henry et al. 2020, "Query-Key Normalization for Transformers"
        self.output = nn.Linear(config.hidden_size, config.hidden_size, bias=config.bias)

    def forward(self, hidden: Tensor, context: Context) -> Tensor:
        """Mix the hidden states of each sequence."""
        layout, cos_sin, query_positions = context
        # a window is computed over all positions: others than the query positions are left out later
        early = query_positions if self.window is None else None
        query, key, value = (x.unflatten(-1, (self.num_attention_heads, -1)) for x in self._project(hidden, early))  # type: ignore[no-untyped-call]
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query).to(value.dtype), self.key_norm(key).to(value.dtype)
        if cos_sin is not None:
            query = apply_rotary(query, (gather(cos_sin[0], early), gather(cos_sin[1], early)))
            key = apply_rotary(key, cos_sin)
        dropout = self.dropout if self.training else 0.0
        mixed = attend((query, key, value), layout, window=self.window, dropout=dropout, query_positions=early)
        if early is None:
            mixed = gather(mixed, query_positions)
        return self.output(mixed.flatten(-2))  # type: ignore[no-any-return]

    def _project(self, hidden: Tensor, query_positions: SequenceLayout | None) -> tuple[Tensor, ...]:
        if query_positions is None:
            return self.qkv(hidden).chunk(3, dim=-1)  # type: ignore[no-any-return]
        width = hidden.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        query = F.linear(gather(hidden, query_positions), weight[:width], None if bias is None else bias[:width])
        both = F.linear(hidden, weight[width:], None if bias is None else bias[width:])
        return query, *both.chunk(2, dim=-1)


class FeedForward(nn.Module):
    """Two linear layers with an activation between, at each token alone. (..., hidden_size) -> (..., hidden_size).

    Gated (Shazeer 2020, section 2): activation(x G) * (x U), with G above U in one matrix, as in ModernBERT.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.gated = config.gated
        inner = config.resolved_intermediate_size
        self.inner = nn.Linear(config.hidden_size, 2 * inner if config.gated else inner, bias=config.bias)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.output = nn.Linear(inner, config.hidden_size, bias=config.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform each hidden state."""
        hidden = self.inner(hidden)
        if self.gated:
            gate, up = hidden.chunk(2, dim=-1)
            return self.output(self.activation(gate) * up)  # type: ignore[no-any-return]
        return self.output(self.activation(hidden))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each with a residual sum and a norm after (post) or before it (pre)."""

    def __init__(self, config: EncoderConfig, layer: int = 0) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.attention = Attention(config, config.is_local(layer))
        bare = self.pre_norm and layer == 0 and not config.first_norm
        self.attention_norm = nn.Identity() if bare else LayerNorm(config, config.hidden_size)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = LayerNorm(config, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, context: Context) -> Tensor:
        """Compute the next hidden states, of the query positions alone if any."""
        if self.pre_norm:
            mixed = self.attention(self.attention_norm(hidden), context)
            hidden = gather(hidden, context.query_positions) + self.dropout(mixed)
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))  # type: ignore[no-any-return]
        mixed = self.attention(hidden, context)
        hidden = self.attention_norm(gather(hidden, context.query_positions) + self.dropout(mixed))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))  # type: ignore[no-any-return]


def gather(rows: Tensor, query_positions: SequenceLayout | None) -> Tensor:
    """Select the rows of the query positions; all rows if None."""
    if query_positions is None:
        return rows
    indices = query_positions.token_indices
    return rows[:, :1] if indices is None else rows.index_select(0, indices)


def run_block(block: nn.Module, hidden: Tensor, context: Context) -> Tensor:
    """Call a block, which has its own type here."""
    return block(hidden, context)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A bidirectional Transformer encoder. input_ids, token_type_ids -> hidden states, a last axis of hidden_size more.

    Padded: (batch, length) int64, with `attention_mask` (batch, length), 1 at tokens, tokens first (all are tokens if
    None). Packed: (tokens,) int64, with the `layout` `SequenceLayout.packed(lengths)`. The hidden states of a token are
    the same in both.

    query_positions: `layout.gather(positions)`, packed only, or `layout.gather_first()`: return the hidden states of
    these positions alone, (positions, hidden_size), of padded input (batch, 1, hidden_size). The last block then
    computes nothing else, but for the keys and values of all tokens: where the loss looks at 15 % of the tokens, that
    is a tenth less for 6 layers.

    gradient_checkpointing: in training, keep the hidden states between blocks only, and compute what is inside again
    for the gradients (Chen et al. 2016): less memory for a third more time; the gradients are the same.
    compiled_block: in training, what runs a block in place of a plain call (train/steps/choices.py).
    activation_norms: where a list is set, each forward pass adds the root mean square of the hidden states, a scalar,
    after the embeddings and after each block.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Block(config, n) for n in range(config.num_blocks))
        self.norm = LayerNorm(config, config.hidden_size) if config.norm == "pre" else None
        self.rotary = nn.ModuleDict()  # by the kind of layer
        if config.position_embedding_type == "rotary":
            bases = {"G": config.rope_theta, "L": config.local_rope_theta or config.rope_theta}
            for kind in sorted(set(config.attention_pattern)):
                self.rotary[kind] = RotaryEmbedding(config.max_position_embeddings, config.head_dim, bases[kind])
        self.gradient_checkpointing = False
        self.compiled_block: Callable[..., Tensor] | None = None
        self.activation_norms: list[Tensor] | None = None
        if self.embeddings.token.weight.is_meta:
            return  # no numbers to draw: the weights come from a file
        self.apply(self._init_weights)
        if config.norm == "pre":
            # residual branches add up over the depth: keep their sum at the size of one (GPT-2, section 2.3)
            std = config.initializer_range / math.sqrt(2 * config.num_hidden_layers)
            for block in self.blocks:
                for linear in (block.attention.output, block.feed_forward.output):  # type: ignore[union-attr]
                    nn.init.normal_(linear.weight, std=std)  # type: ignore[union-attr,arg-type]

    @staticmethod
    def from_pretrained(source: Path | str) -> "Encoder":
        """Load the encoder of a model: all that `unmask.load` takes."""
        encoder: Encoder = import_module("unmask.bundle").read(source).encoder()
        return encoder.eval()

    def save_pretrained(self, folder: Path | str, tokenizer: "Tokenizer") -> None:
        """Write a model folder, which also holds the tokenizer."""
        import_module("unmask.bundle").write(Path(folder), self.config, {"encoder": self}, tokenizer, [])

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init_linear(module, self.config)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        layout: SequenceLayout | None = None,
        token_type_ids: Tensor | None = None,
        query_positions: SequenceLayout | None = None,
        *,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Compute the hidden states; without a layout, of padded input."""
        if layout is None:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            layout = SequenceLayout.padded(mask.bool())
        hidden = self.embeddings(input_ids, layout.position_ids, token_type_ids)
        cos_sin = {kind: rotary(layout.position_ids) for kind, rotary in self.rotary.items()}
        recompute = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        run = self.compiled_block if self.compiled_block is not None and self.training else run_block
        self._record_norm(hidden)
        for layer in range(self.config.num_hidden_layers):
            block = self.blocks[self.config.block_index(layer)]
            angles = cos_sin.get("L" if self.config.is_local(layer) else "G")
            queries = query_positions if layer == self.config.num_hidden_layers - 1 else None
            inputs = (block, hidden, Context(layout, angles, queries))
            hidden = checkpoint(run, *inputs, use_reentrant=False) if recompute else run(*inputs)
            self._record_norm(hidden)
        return hidden if self.norm is None else self.norm(hidden)  # type: ignore[no-any-return]

    def _record_norm(self, hidden: Tensor) -> None:
        if self.activation_norms is not None:
            self.activation_norms.append(hidden.detach().float().pow(2).mean().sqrt())

    @property
    def num_parameters(self) -> int:
        """Trainable numbers, token embeddings included."""
        return sum(p.numel() for p in self.parameters())

    def __repr__(self) -> str:
        c = self.config
        return f"Encoder({c.num_hidden_layers} layers x {c.hidden_size}, {self.num_parameters / 1e6:.1f} M parameters)"
