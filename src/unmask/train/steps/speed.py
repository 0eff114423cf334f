"""How fast a run is, and beside what: its model FLOPs, the rate of such products on this device, the published peak."""

import re
import timeit
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from unmask.learner.batch import Batch
from unmask.learner.batches import Batches
from unmask.learner.learner import Learner
from unmask.model.cost import attention_pairs, layer_windows
from unmask.runtime import machine
from unmask.train.steps.device import Precision

LEAST = 3  # times that each product is timed; the best one counts
MAX_ROWS = {"cpu": 1024, "cuda": 16384}  # of a product that is timed: more take longer, and are hardly faster

# rows, inputs and outputs of a linear layer; products that it takes: 1 forward, 2 with one gradient, 3 with both (of
# the input and of the weight)
Linear = tuple[int, int, int, int]

# dense products, FLOP/s (sparse ones are published as twice as many): of bfloat16 with sums in float32, and of float32
# outside of tensor cores, which is what torch does unless it is told to round. By NVIDIA's data sheets of H200, H100,
# A100, L40S, L4 and A10, and, for the GeForce cards, the white papers of GA102 (Ampere) and AD102 (Ada),
# appendix A. The first pattern that is found in the name that CUDA gives counts.
GPU_PEAKS = (
    (r"H200 NVL", 835e12, 60e12),
    (r"H200", 989e12, 67e12),
    (r"H100 PCIe", 756e12, 51e12),
    (r"H100 NVL", 835e12, 60e12),
    (r"H100", 989e12, 67e12),
    (r"A100", 312e12, 19.5e12),
    (r"L40S", 362e12, 91.6e12),
    (r"L4", 121e12, 30.3e12),
    (r"A10", 125e12, 31.2e12),
    (r"RTX 4090$", 165.2e12, 82.6e12),
    (r"RTX 3090$", 71e12, 35.6e12),
)


def measure_speed(
    learner: Learner, batches: Batches, precision: Precision, tokens_per_second: float, data_wait: float
) -> dict[str, Any]:
    """What a run gets out of its device, with as many threads as torch has now; takes a second.

    gemm_share: model FLOP/s as a share of gemm_rate, the rate that the products of the linear layers reach by
    themselves; mfu: as a share of the published peak of the GPU (Chowdhery et al. 2022, PaLM, appendix B), None where
    that is unknown; data_wait: share of the time that the loop waited for data; peak_memory: bytes, of the GPU where
    there is one, else of the process.
    """
    device = next(learner.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    dtype = precision.matmul_dtype or precision.weights_dtype
    peak_bytes = peak_memory(device)  # before the products below need some
    step = [learner.prepare(batch, batches.seed) for batch in batches.step(0, 0.5, learner.copies)]
    each, peak = flops_per_token(learner, step), peak_flops(name, dtype)
    rate = gemm_rate(device, dtype, model_work(learner, step)[0])
    return {
        "tokens_per_second": tokens_per_second,
        "flops_per_token": each,
        "gemm_rate": rate,
        "gemm_share": tokens_per_second * each / rate,
        "mfu": None if peak is None else tokens_per_second * each / peak,
        "data_wait": data_wait,
        "peak_memory": peak_bytes,
        "device": name,
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def flops_per_token(learner: Learner, batches: Sequence[Batch]) -> float:
    """FLOPs of training on a token of these batches, on average."""
    layers, attention = model_work(learner, batches)
    linear = sum(times * linear_flops(layer) for layer, times in layers.items())
    return learner.backward_passes * (linear + attention) / max(1, sum(batch.num_tokens for batch in batches))


def linear_flops(layer: Linear) -> float:
    """A multiply-add is two."""
    rows, inputs, outputs, products = layer
    return 2.0 * products * rows * inputs * outputs


def model_work(learner: Learner, batches: Sequence[Batch]) -> tuple[Mapping[Linear, int], float]:
    """The linear layers of a forward and backward pass over these batches together, each with how often it occurs, and
    the FLOPs of attention.

    A backward pass takes two products where the forward pass takes one (Kaplan et al. 2020, section 2.1), for the
    gradients of the weight and of the input; what is computed again to save memory does not count (Chowdhery et al.
    2022, PaLM, appendix B). Frozen layers (train/transfer.py) have no gradient of the weight, and what stands on
    nothing that learns none of the input. Attention takes 12 x hidden_size for each token and token that it sees: those
    of its own sequence, in local layers within the window. The last layer computes keys and values of all tokens, the
    rest at `Batch.query_positions`; the vocabulary is computed at masked places. Other heads are left out, and what is
    no product of matrices: norms, activations, embeddings.
    """
    encoder, config = learner.encoder, learner.encoder.config
    width, narrow, inner = config.hidden_size, config.resolved_embedding_size, config.resolved_intermediate_size
    lengths = [length for batch in batches for length in batch.layout.lengths]
    query_counts = [count for batch in batches for count in batch.output_layout.lengths]
    tokens, scored = sum(lengths), sum(batch.target_counts.get("masked", 0) for batch in batches)
    learning = [any(p.requires_grad for p in block.parameters()) for block in encoder.blocks]
    embeddings = below = encoder.embeddings.token.weight.requires_grad
    layers: Counter[Linear] = Counter()
    attention = 0.0
    if config.embedding_size:  # from their width to that of the blocks
        layers[tokens, narrow, width, 1 + 2 * embeddings] += 1
    for layer, window in enumerate(layer_windows(config)):
        last = layer == config.num_hidden_layers - 1
        rows = sum(query_counts) if last else tokens
        queries, seen = tokens, sum(attention_pairs(length, window) for length in lengths)
        if last and window is None:  # a window needs the queries of all
            queries, seen = rows, sum(few * length for few, length in zip(query_counts, lengths, strict=True))
        own = learning[config.block_index(layer)]
        if queries == tokens:
            layers[tokens, width, 3 * width, 1 + own + below] += 1
        else:
            layers[queries, width, width, 1 + own + below] += 1
            layers[tokens, width, 2 * width, 1 + own + below] += 1
        below = below or own
        layers[rows, width, width, 1 + own + below] += 1
        layers[rows, width, 2 * inner if config.gated else inner, 1 + own + below] += 1
        layers[rows, inner, width, 1 + own + below] += 1
        attention += (12.0 if below else 4.0) * width * seen
    if scored:
        layers[scored, width, narrow, 2 + below] += 1
        layers[scored, narrow, config.vocab_size, 2 + embeddings] += 1
    return layers, attention


def gemm_rate(device: torch.device, dtype: torch.dtype, layers: Mapping[Linear, int]) -> float:
    """FLOP/s at which the device computes the products of such linear layers one by one, with MAX_ROWS rows at most.

    layers: each with how often it occurs.
    """
    work = spent = 0.0
    for (rows, inputs, outputs, products), times in layers.items():
        layer = min(rows, MAX_ROWS[device.type]), inputs, outputs, products
        work += times * linear_flops((rows, inputs, outputs, products))
        spent += times * _linear_seconds(layer, device, dtype) * rows / layer[0]
    return work / spent


def _linear_seconds(layer: Linear, device: torch.device, dtype: torch.dtype) -> float:
    """Of the products of a linear layer, in the memory layouts in which autograd multiplies."""
    rows, inputs, outputs, products = layer
    read = torch.randn(rows, inputs, device=device, dtype=dtype)
    weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
    slope = torch.randn(rows, outputs, device=device, dtype=dtype)
    every = (lambda: F.linear(read, weight), lambda: slope @ weight, lambda: slope.T @ read)
    return sum(_best(product, device) for product in every[:products])


def _best(product: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of several times; on a GPU of several in a row, since a call takes time as well."""
    row = 10 if device.type == "cuda" else 1

    def run() -> None:
        for _ in range(row):
            product()
        synchronize(device)

    return min(timeit.repeat(run, number=1, repeat=1 + LEAST)) / row  # the first one pays for caches


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_flops(gpu: str, dtype: torch.dtype) -> float | None:
    """FLOP/s of dense products at best, by the name that CUDA gives; None where it is unknown, as for a CPU."""
    for pattern, half, single in GPU_PEAKS:
        if re.search(rf"\b{pattern}(\b|$)", gpu):
            return {torch.bfloat16: half, torch.float32: single}.get(dtype)
    return None


def peak_memory(device: torch.device) -> int:
    """The most bytes held so far: of tensors on a GPU, else of the process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else machine.peak_memory()
