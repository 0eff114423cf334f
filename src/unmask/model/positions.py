"""Position schemes: one function each. Positions count from 0 within each sequence."""

import torch
from torch import Tensor


def sinusoidal(length: int, width: int) -> Tensor:
    """The fixed table of Vaswani et al. 2017 (Attention Is All You Need, section 3.5), float32 (length, width).

    table[p, 2i] = sin(p / 10000^(2i / width)), table[p, 2i + 1] = cos(p / 10000^(2i / width)):
    sine and cosine alternate over the width, as published. Computed in float64, since p / 10000^... loses
    digits in float32 at long lengths.
    """
    assert width % 2 == 0, "sine and cosine come in pairs"
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
