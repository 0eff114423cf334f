"""The formula of attention, written out: what every implementation is compared with, and whose FLOPs torch counts."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from unmask.model.attention import QKV, visible_mask


def reference(qkv: QKV, attention_mask: Tensor | None, window: int | None, dropout: float) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V over (batch, length, heads, head_dim), in the place of `attention.sdpa`."""
    query, key, value = qkv
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(query.shape[-1])
    visible = visible_mask(query.shape[1], attention_mask, window, query.device)
    if visible is not None:
        scores = scores.masked_fill(~visible, float("-inf"))
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value)
