"""Time and memory of one encoder by the length of its sequences: local layers beside global ones.

Each timed run is one forward and one backward pass over as many tokens, whatever the length: packed sequences of
equal length, random ids, rotary positions, gated feed-forward, pre-norm, float32. What grows with the length is
attention. `ours` has local layers only, so its time for a token should stay what it is; `every third global` has
ModernBERT's pattern GLL, and `global` none that is local. A line and a row of the table for each length.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import Benchmark, Outcome, Prepared, Settings, Side
from unmask.errors import UserError

LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
NETWORK = {  # options, and what they set
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "window": "window",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=LENGTHS, metavar="N", help=f"tokens (default {LENGTHS})"
    )
    for name, value, meaning in (
        ("layers", 6, "blocks"),
        ("width", 256, "of hidden states"),
        ("heads", 4, "of attention"),
        ("window", 64, "tokens that local layers see on each side"),
        ("tokens", 8192, "of a pass; of a length that does not divide it, as many as fit"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} (default {value})")


def arrange(arguments: argparse.Namespace, _folder: object) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    wrong = [length for length in arguments.lengths if not 8 <= length <= arguments.tokens]
    if wrong:
        raise UserError("--lengths cannot be used", given=wrong[0], allowed=f"8 to {arguments.tokens}")
    return {name: getattr(arguments, name) for name in (*NETWORK, "tokens")}, []


def points(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return [{"length": length} for length in arguments.lengths]


def ours(settings: Settings) -> Prepared:
    return _passes(settings, "L")


def mixed(settings: Settings) -> Prepared:
    return _passes(settings, "GLL")


def everywhere(settings: Settings) -> Prepared:
    return _passes(settings, "G")


def _passes(settings: Settings, pattern: str) -> Prepared:
    import torch

    from unmask.model.config import EncoderConfig
    from unmask.model.encoder import Encoder
    from unmask.model.layout import SequenceLayout

    length = settings["length"]
    network = {name: settings[option] for option, name in NETWORK.items() if name != "window" or "L" in pattern}
    config = EncoderConfig(
        **network,
        max_position_embeddings=length,
        attention_pattern=pattern,
        position_embedding_type="rotary",
        gated=True,
        norm="pre",
        type_vocab_size=0,
    )
    torch.manual_seed(0)
    encoder = Encoder(config).train()
    lengths = [length] * (settings["tokens"] // length)
    ids = torch.randint(config.vocab_size, (sum(lengths),))

    def work() -> float:
        encoder.zero_grad(set_to_none=True)
        encoder(ids, SequenceLayout.packed(lengths)).square().mean().backward()
        return float(len(ids))

    return Prepared(work, lambda: {"parameters": encoder.num_parameters})


def table(found: Sequence[tuple[Mapping[str, Any], Outcome]]) -> list[str]:
    """A row for each length: milliseconds for 1,000 tokens and peak memory in MiB of each side."""
    names = [side.name for side in BENCHMARK.sides]
    head = [f"{'length':>6}", *(f"{f'{name}: ms':>24} {'MiB':>6}" for name in names)]
    rows = ["".join(head)]
    for point, outcome in found:
        if len(outcome.results) < len(names) - 1:
            continue
        first = outcome.results[0]
        sides = [(first.our_speed, first.our_peak), *((r.peer_speed, r.peer_peak) for r in outcome.results)]
        cells = (f"{1e6 / speed:>24.1f} {peak / 2**20:>6.0f}" for speed, peak in sides)
        rows.append("".join([f"{point['length']:>6}", *cells]))
    return rows


BENCHMARK = Benchmark(
    name="lengths",
    unit="tokens",
    sides=(Side("ours", ours), Side("every third global", mixed), Side("global", everywhere)),
    packages=("torch",),
    same=("parameters",),
    repeat=2,
)
