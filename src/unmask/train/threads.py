"""How many CPU threads to train with: measured, since more are slower where cores are shared or batches small."""

import time

import torch

from unmask.model.attention import Spans
from unmask.model.encoder import Encoder

LENGTH = 64  # of the sequences of the measurement, in tokens
GAIN = 1.15  # more threads must be so much faster: they suffer more from a neighbour on the machine


def fastest(encoder: Encoder, tokens: int, most: int | None = None, seconds: float = 1.0) -> int:
    """The number of threads, a power of two or `most` (default: all), that is quickest for steps of `tokens`.

    Forward and backward passes, `seconds` for each number, in turn; all that they took counts, waiting included.
    Leaves the number set. The measurement is noisy: store the answer with the run.
    """
    most = most or torch.get_num_threads()
    candidates = sorted({*(1 << k for k in range(most.bit_length())), most})
    spans = Spans.packed([LENGTH] * max(1, tokens // LENGTH))
    ids = torch.zeros(spans.positions.numel(), dtype=torch.int64)
    took: dict[int, list[float]] = {threads: [] for threads in candidates}
    while sum(took[candidates[0]]) < seconds:
        for threads in candidates:
            torch.set_num_threads(threads)
            encoder(ids, spans).sum().backward()  # the first pass after a change pays for it
            begun = time.perf_counter()
            for _ in range(4):
                encoder(ids, spans).sum().backward()
            took[threads].append(time.perf_counter() - begun)
    best = candidates[0]
    for threads in candidates[1:]:
        if sum(took[threads]) * GAIN < sum(took[best]):
            best = threads
    torch.set_num_threads(best)
    return best
