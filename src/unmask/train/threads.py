"""How many CPU threads to train with: measured, since more are slower where cores are shared or batches small."""

import time

import torch

from unmask.model.attention import Spans
from unmask.model.encoder import Encoder

TOKENS = 1024  # as a step of a small network has them
LENGTH = 64


def fastest(encoder: Encoder, most: int | None = None, rounds: int = 3) -> int:
    """The number of threads, a power of two or `most` (default: all), with the quickest forward and backward.

    Takes a second or two and leaves that number set. The measurement is noisy: store the answer with the run.
    """
    most = most or torch.get_num_threads()
    candidates = sorted({*(1 << k for k in range(most.bit_length())), most})
    spans = Spans.packed([LENGTH] * (TOKENS // LENGTH))
    ids = torch.zeros(TOKENS, dtype=torch.int64)
    took: dict[int, float] = dict.fromkeys(candidates, float("inf"))
    for _ in range(rounds):  # in turn, so that a neighbour's load falls on all alike
        for threads in candidates:
            torch.set_num_threads(threads)
            encoder(ids, spans).sum().backward()
            begun = time.perf_counter()
            encoder(ids, spans).sum().backward()
            took[threads] = min(took[threads], time.perf_counter() - begun)
    best = min(candidates, key=lambda threads: took[threads])
    torch.set_num_threads(best)
    return best
