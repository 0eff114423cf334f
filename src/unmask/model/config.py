"""The architecture of an encoder: one flat, frozen configuration. Variety is values of it, never subclasses."""

import math
from typing import Literal

from unmask.config import config, setting

FamilyName = Literal["bert", "roberta", "albert", "distilbert", "electra", "modernbert"]


@config
class EncoderConfig:
    """The architecture of an encoder. The defaults are BERT's, but for 6 layers and sinusoidal positions."""

    vocab_size: int = setting(
        default=8192, ge=8, description="tokens in the vocabulary; pretraining takes it from its corpus"
    )
    num_hidden_layers: int = setting(default=6, ge=1, description="Transformer blocks")
    hidden_size: int = setting(default=256, ge=2, multiple_of=2, description="size of each hidden state")
    num_attention_heads: int = setting(default=4, ge=1, description="attention heads; must divide hidden_size")
    intermediate_size: int | None = setting(default=None, ge=1, description="null: 4 x hidden_size, 2/3 of it if gated")
    gated: bool = setting(default=False, description="gated feed-forward: activation(x G) * (x U)")
    hidden_act: Literal["gelu", "gelu_tanh", "relu", "silu"] = setting(
        default="gelu", description="activation of the feed-forward"
    )
    norm: Literal["post", "pre"] = setting(
        default="post", description="norm after each residual sum (BERT), or before each sub-layer"
    )
    norm_eps: float = setting(default=1e-12, gt=0, description="epsilon of LayerNorm")
    norm_bias: bool = setting(default=True, description="biases in LayerNorm")
    embedding_norm: bool | None = setting(default=None, description="norm of the embeddings; null: if norm is post")
    first_norm: bool = setting(default=True, description="pre: a norm before the first attention; ModernBERT has none")
    qk_norm: bool = setting(default=False, description="RMSNorm of each head's queries and keys")
    bias: bool = setting(default=True, description="biases in the linear layers of the blocks")
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = setting(
        default="sinusoidal", description="position encoding"
    )
    rope_theta: float = setting(default=10000.0, gt=1, description="base of rotary positions")
    local_rope_theta: float | None = setting(
        default=None, gt=1, description="the same in local layers; null: rope_theta"
    )
    attention_pattern: str = setting(
        default="G", description="layers, repeated: G sees the whole sequence, L the window"
    )
    window: int | None = setting(default=None, ge=1, description="tokens that local layers see on each side")
    max_position_embeddings: int = setting(
        default=512, ge=8, description="maximum length in tokens, including [CLS] and [SEP]"
    )
    position_offset: int = setting(
        default=0, ge=0, description="learned: number of the first position; RoBERTa counts from 2"
    )
    embedding_size: int | None = setting(
        default=None, ge=2, multiple_of=2, description="size of the embeddings (ALBERT, ELECTRA); null: hidden_size"
    )
    num_hidden_groups: int | None = setting(
        default=None, ge=1, description="blocks with weights of their own (ALBERT); null: one for each layer"
    )
    type_vocab_size: int = setting(default=2, ge=0, le=2, description="token types; 2 for sentence pairs")
    dropout: float = setting(default=0.0, ge=0, lt=1, description="dropout of embeddings, sub-layers and attention")
    initializer_range: float = setting(default=0.02, gt=0, description="standard deviation of the initial weights")
    family: FamilyName = setting(default="bert", description="architecture family, which sets heads and file layout")

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.position_embedding_type == "rotary" and self.head_dim % 2:
            raise ValueError(f"rotary positions need heads of an even size, not {self.head_dim}")
        if not self.attention_pattern or set(self.attention_pattern) - set("GL"):
            raise ValueError(f"attention_pattern {self.attention_pattern!r} must consist of G (global) and L (local)")
        if "L" in self.attention_pattern and self.window is None:
            raise ValueError(f"the local layers of attention_pattern {self.attention_pattern} need a window")
        if "L" not in self.attention_pattern and (self.window or self.local_rope_theta) is not None:
            raise ValueError("window and local_rope_theta need local layers, as in the attention_pattern GLL")
        groups, layers = self.num_hidden_groups, self.num_hidden_layers
        if groups is not None and (layers % groups or self.attention_pattern != "G"):
            raise ValueError(f"num_hidden_groups {groups} must divide num_hidden_layers {layers}, all of them global")
        if self.position_offset and self.position_embedding_type != "learned":
            raise ValueError("position_offset is for learned positions")

    @property
    def resolved_intermediate_size(self) -> int:
        """Two matrices of 4 x hidden_size, or three of 8/3 x hidden_size (Shazeer 2020, section 3), rounded up."""
        if self.intermediate_size is not None or not self.gated:
            return self.intermediate_size or 4 * self.hidden_size
        step = 64 if self.hidden_size >= 256 else 8
        return math.ceil(8 * self.hidden_size / (3 * step)) * step

    @property
    def head_dim(self) -> int:
        """The size of the queries, keys and values of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def resolved_embedding_size(self) -> int:
        """The size of the embeddings: hidden_size where none is set."""
        return self.embedding_size or self.hidden_size

    @property
    def has_embedding_norm(self) -> bool:
        """A post-norm block expects a normalised input; a pre-norm block normalises it itself."""
        return self.norm == "post" if self.embedding_norm is None else self.embedding_norm

    @property
    def num_blocks(self) -> int:
        """Blocks with weights of their own."""
        return self.num_hidden_groups or self.num_hidden_layers

    def block_index(self, layer: int) -> int:
        """The number of the block that computes this layer."""
        return layer * self.num_blocks // self.num_hidden_layers

    def is_local(self, layer: int) -> bool:
        """Whether the layer sees a window around each token, not the whole sequence."""
        return self.attention_pattern[layer % len(self.attention_pattern)] == "L"
