"""How fast a run is, and beside what: its model FLOPs, the rate of such products on this device, the published peak."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from unmask.learner.batch import Batch
from unmask.learner.learner import Learner
from unmask.model.config import EncoderConfig
from unmask.model.cost import attention_pairs, layer_windows
from unmask.train.peaks import peak_flops

SECONDS = 1.0  # for measuring the rate of products, about
LEAST = 3  # times that each product is timed; the best one counts

Shape = tuple[int, int, int]  # rows, inputs and outputs of a linear layer


@dataclass(frozen=True)
class Speed:
    """What a run got out of its device.

    gemm_share: model FLOP/s as a share of the rate that the products of the linear layers reach there by themselves;
    mfu: as a share of the device's published peak (Chowdhery et al. 2022, PaLM, appendix B), None where that is not
    known; waited: share of the time that the loop waited for data; peak_memory: bytes, of the GPU where there is one,
    else of the process.
    """

    tokens_per_second: float
    flops_per_token: float
    gemm_rate: float
    gemm_share: float
    mfu: float | None
    data_wait: float
    peak_memory: int
    device: str
    dtype: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to three or four digits."""
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }


def measure_speed(
    learner: Learner,
    batches: Sequence[Batch],
    tokens_per_second: float,
    waited: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Speed:
    """The speed of a run, on the device of the learner and with as many threads as torch has now; takes a second.

    batches: some that the run has read, prepared: their lengths and scored places count; dtype: of the products.
    """
    device = next(learner.parameters()).device
    peak_bytes = peak_memory(device)  # before the products below need some
    each = flops_per_token(learner, batches)
    rate = gemm_rate(device, dtype, shapes_of(learner, batches))
    threads = torch.get_num_threads()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    peak = peak_flops(name, dtype, threads)
    return Speed(
        tokens_per_second,
        each,
        rate,
        tokens_per_second * each / rate,
        None if peak is None else tokens_per_second * each / peak,
        waited,
        peak_bytes,
        name,
        str(dtype).removeprefix("torch."),
        threads,
    )


def flops_per_token(learner: Learner, batches: Sequence[Batch]) -> float:
    """FLOPs of training on a token of these batches, on average."""
    tokens = sum(batch.num_tokens for batch in batches)
    whole = flops(learner.encoder.config, BatchWork.of(batches), TrainableParts.of(learner))
    return learner.backward_passes * sum(whole.values()) / max(1, tokens)


@dataclass(frozen=True)
class TrainableParts:
    """Which parts of an encoder learn, where some are frozen (train/transfer.py): the embeddings, each layer."""

    embeddings: bool
    layers: Sequence[bool]

    @staticmethod
    def of(learner: Learner) -> "TrainableParts":
        encoder = learner.encoder
        blocks = [any(p.requires_grad for p in block.parameters()) for block in encoder.blocks]
        layers = [blocks[encoder.config.block_index(layer)] for layer in range(encoder.config.num_hidden_layers)]
        return TrainableParts(encoder.embeddings.token.weight.requires_grad, layers)

    def below(self, layer: int) -> bool:
        """Whether a gradient goes on from the input of a layer."""
        return self.embeddings or any(self.layers[:layer])


@dataclass(frozen=True)
class BatchWork:
    """What is computed of batches: the lengths of their sequences, in how many places of each the last layer computes
    hidden states, places scored over the vocabulary, sequences that are pooled."""

    lengths: Sequence[int]
    query_tokens: Sequence[int]
    target_tokens: int = 0
    pooled_tokens: int = 0

    @staticmethod
    def of(batches: Iterable[Batch]) -> "BatchWork":
        lengths: list[int] = []
        asked: list[int] = []
        scored = pooled = 0
        for batch in batches:
            lengths += batch.layout.lengths
            asked += batch.output_layout.lengths
            scored += batch.target_counts.get("masked", 0)
            pooled += batch.target_counts.get("next_sentence", 0)
        return BatchWork(lengths, asked, scored, pooled)


def flops(config: EncoderConfig, work: BatchWork, learning: TrainableParts | None = None) -> dict[str, float]:
    """FLOPs of a forward and backward pass, by part. learning: what learns; all, if not given.

    A multiply-add is two, and a backward pass takes two products where the forward pass takes one (Kaplan et al. 2020,
    section 2.1), for the gradients of the weight and of the input; what is computed again to save memory does not
    count (Chowdhery et al. 2022, PaLM, appendix B). So it is 6 for each weight and token, and for each layer 12 x width
    for each token and token that it sees: those of its own sequence, in local layers within the window. The last layer
    computes keys and values of all tokens, the rest where it is asked. The vocabulary is computed at the `scored`
    places only, pooling for the `pooled` sequences. What is frozen has no gradient of its own, and what stands on
    nothing that learns none of its input. What is no product of matrices (norms, activations, embeddings) is left out.
    """
    learning = learning or TrainableParts(True, [True] * config.num_hidden_layers)
    width, narrow, tokens, asked = (
        config.hidden_size,
        config.resolved_embedding_size,
        sum(work.lengths),
        sum(work.query_tokens),
    )
    matrices = (3 if config.gated else 2) * width * config.resolved_intermediate_size
    found = dict.fromkeys(("attention", "feed_forward", "vocabulary", "pooling"), 0.0)
    if config.embedding_size:  # from their width to that of the blocks
        found["embeddings"] = (6 if learning.embeddings else 2) * tokens * narrow * width
    for layer, window in enumerate(layer_windows(config)):
        last = layer == config.num_hidden_layers - 1
        rows = asked if last else tokens
        queries, seen = tokens, sum(attention_pairs(length, window) for length in work.lengths)
        if last and window is None:  # a window needs the queries of all
            queries = asked
            seen = sum(few * length for few, length in zip(work.query_tokens, work.lengths, strict=True))
        own, below = learning.layers[layer], learning.below(layer)
        first = 2 * (1 + own + below) * (queries + 2 * tokens) * width**2
        rest = 2 * (1 + own + (own or below)) * rows
        found["attention"] += first + rest * width**2 + (12 if own or below else 4) * width * seen
        found["feed_forward"] += rest * matrices
    below = learning.below(config.num_hidden_layers)
    dense = (6 if below else 4) * width
    pieces = (6 if learning.embeddings else 4) * config.vocab_size
    found["vocabulary"] = work.target_tokens * narrow * (dense + pieces)
    found["pooling"] = work.pooled_tokens * (dense * width + 6 * 2 * width)
    return found


def shapes_of(learner: Learner, batches: Sequence[Batch]) -> dict[Shape, int]:
    """The shapes of the linear layers of a pass over one of the batches, on average, and how often each occurs."""
    config = learner.encoder.config
    work = BatchWork.of(batches)
    tokens, asked, scored = (
        max(1, round(count / max(1, len(batches))))
        for count in (sum(work.lengths), sum(work.query_tokens), work.target_tokens)
    )
    width, inner = config.hidden_size, config.resolved_intermediate_size
    wide = 2 * inner if config.gated else inner
    found: Counter[Shape] = Counter()
    for window, rows in zip(layer_windows(config), [tokens] * (config.num_hidden_layers - 1) + [asked], strict=True):
        if rows == tokens or window is not None:
            found[tokens, width, 3 * width] += 1
        else:
            found[rows, width, width] += 1
            found[tokens, width, 2 * width] += 1
        found[rows, width, width] += 1
        found[rows, width, wide] += 1
        found[rows, inner, width] += 1
    if any(batch.target_counts.get("masked") for batch in batches):
        found[scored, config.resolved_embedding_size, config.vocab_size] += 1
    return dict(found)


def gemm_rate(device: torch.device, dtype: torch.dtype, shapes: Mapping[Shape, int], seconds: float = SECONDS) -> float:
    """FLOP/s at which the device computes the products of such linear layers, forward and backward, one by one.

    shapes: each with how often it occurs; the best of several times counts, after one that does not. Rows are cut
    where all of them would take longer than about `seconds`.
    """
    rate = _probe(device, dtype)
    once = sum(6 * rows * inputs * outputs for rows, inputs, outputs in shapes)
    share = min(1.0, rate * seconds / (once * (LEAST + 1)))
    work = spent = 0.0
    for (rows, inputs, outputs), times in shapes.items():
        count = rows if share == 1 else min(rows, max(256, round(rows * share)))
        read = torch.randn(count, inputs, device=device, dtype=dtype)
        weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
        slope = torch.randn(count, outputs, device=device, dtype=dtype)
        # in the memory layouts in which autograd multiplies
        took = _best(lambda: F.linear(read, weight), device)  # noqa: B023
        took += _best(lambda: slope @ weight, device)  # noqa: B023
        took += _best(lambda: slope.T @ read, device)  # noqa: B023
        work += times * 6.0 * rows * inputs * outputs
        spent += times * took * rows / count
    return work / spent


def _probe(device: torch.device, dtype: torch.dtype) -> float:
    """About the rate, from a small product."""
    side = 2048 if device.type == "cuda" else 384
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    return 2.0 * side**3 / _best(lambda: matrix @ matrix, device)


def _best(product: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several times; on a GPU of several in a row, since a call takes time as well."""
    row = 10 if device.type == "cuda" else 1
    product()
    least = float("inf")
    for _ in range(LEAST):
        synchronize(device)
        begun = time.perf_counter()
        for _ in range(row):
            product()
        synchronize(device)
        least = min(least, (time.perf_counter() - begun) / row)
    return least


def synchronize(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: of tensors on a GPU, else of the process (VmHWM: no parent adds to that)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
