"""Verification of exported networks: the same outputs as torch gave, whatever stands beside a sequence.

An export records what torch computes in float32 for some sequences (recorded.safetensors). `verify` lets each network
compute them as one batch, one by one, in another order and with more padding, and writes into the manifest how far the
results are from those of torch and from one another. A network that is too far is never chosen by `auto`; neither is
int8 before its loss on rows of a file was measured (`drop.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from unmask import files
from unmask.config import dump
from unmask.data.encoded import EncodedRow
from unmask.data.textfiles import missing_path
from unmask.errors import UserError
from unmask.runtime.backend import Backend, arrays_of, open_engine
from unmask.runtime.choice import PACKAGES, find_choices
from unmask.runtime.drop import MAX_DROP, measure_drop, within
from unmask.runtime.manifest import (
    FACTS,
    RECORDED,
    WEIGHTS,
    ExportedNetwork,
    Manifest,
    Precision,
    changed,
    has_networks,
    read_manifest,
)
from unmask.runtime.predictor import Predictor
from unmask.tasks.task import split_rows
from unmask.version import __version__

Floats = npt.NDArray[np.float32]
TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 5e-2, "int8": 2.5e-1}
"""By precision, the largest difference of an output that passes, as a share of the largest output (at least 1)."""
INVARIANCES = ("alone", "order", "padding")
SEQUENCES = 24  # that are recorded
PADDED = 3  # each third is computed beside the longest: that takes the most time
LENGTHS = (3, 4, 5, 7, 8, 12, 16, 17, 24, 31, 32, 48, 64, 96, 127, 128)  # tokens, up to what the model reads


def recorded_rows(vocab_size: int, longest: int, is_pair: bool, with_positions: bool) -> list[EncodedRow]:
    """Draw sequences of random tokens, longest first, of many lengths, the last one as long as the model reads.

    is_pair: with token types 0 and then 1; with_positions: outputs at all tokens but the first and the last one.
    """
    draw = np.random.default_rng(0)
    lengths = sorted({min(length, longest) for length in LENGTHS} | {longest})
    rows = []
    for number, length in enumerate((lengths * SEQUENCES)[:SEQUENCES]):
        types = np.zeros(length, dtype=np.int64)
        if is_pair:
            types[length // 2 :] = 1
        places = np.arange(1, max(2, length - 1)) if with_positions else None
        ids = draw.integers(0, vocab_size, length)
        rows.append(EncodedRow(ids, types, np.zeros(length, dtype=np.uint8), number, positions=places))
    return sorted(rows, key=lambda row: -len(row))


def differences(
    backend: Backend, rows: Sequence[EncodedRow], reference: Sequence[Floats], per_token: bool
) -> dict[str, float]:
    """Measure the largest differences of a network's outputs, as shares of the largest output (at least 1).

    outputs: from the reference, which has the output of each row; alone, order, padding: between the batch of all rows
    and each by itself, in the opposite order, and (some) beside the longest.
    """
    scale = max(1.0, *(float(np.abs(one).max(initial=0.0)) for one in reference))
    together = outputs_of(backend, rows, per_token)
    alone = [outputs_of(backend, [row], per_token)[0] for row in rows]
    backwards = outputs_of(backend, rows[::-1], per_token)[::-1]
    padded = [outputs_of(backend, [rows[0], row], per_token)[1] for row in rows[::PADDED]]
    return {
        "outputs": _largest(together, reference) / scale,
        "alone": _largest(together, alone) / scale,
        "order": _largest(together, backwards) / scale,
        "padding": _largest(together[::PADDED], padded) / scale,
    }


def _largest(ours: Sequence[Floats], others: Sequence[Floats]) -> float:
    """The largest difference; infinite where shapes differ."""
    pairs = zip(ours, others, strict=True)
    return max(
        float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else np.inf for one, other in pairs
    )


def outputs_of(backend: Backend, rows: Sequence[EncodedRow], per_token: bool = False) -> list[Floats]:
    """Run a network over rows as one batch; return the outputs of each row.

    Scores of spans that reach beyond the last word of their row are 0: what is there depends on the next row.
    """
    (output,) = backend.run(arrays_of(rows)).values()
    if rows[0].positions is not None:
        sizes = [len(row.positions) for row in rows if row.positions is not None]
    else:
        sizes = [len(row) if per_token else 1 for row in rows]
    parts = split_rows(output, sizes)
    return [_own_spans(part) for part in parts] if output.ndim == 3 else parts


def _own_spans(scores: Floats) -> Floats:
    """scores (words, max_span_length, labels)"""
    last = np.arange(len(scores))[:, None] + np.arange(scores.shape[1])
    return np.where((last < len(scores))[:, :, None], scores, 0)


def verify_network(
    backend: Backend,
    precision: Precision,
    rows: Sequence[EncodedRow],
    reference: Sequence[Floats],
    per_token: bool,
) -> dict[str, Any]:
    """Return the record of a network: its largest differences, the tolerance, and whether it passed."""
    found, tolerance = differences(backend, rows, reference, per_token), TOLERANCES[precision]
    return {
        "passed": max(found.values()) <= tolerance,
        "tolerance": tolerance,
        "differences": found,
        "unmask": __version__,
    }


def verify(
    folder: Path,
    threads: int | None = None,
    *,
    dev: Path | None = None,
    max_drop: float | None = None,
    reference: Predictor | None = None,
) -> list[ExportedNetwork]:
    """Verify every network of a model folder whose engine is installed; write the records into its manifest.

    dev: rows on which int8 is compared with float32 (labelled, but for vectors and masked tokens); without it, what was
    measured before stays; max_drop: how much of the metric int8 may lose, 0.01 if not given. reference: the model in
    float32, by default that of the folder. Raises UserError for a folder without networks, for int8 without a network
    in float32, and for rows that cannot be read.
    """
    if not folder.exists():
        raise missing_path(folder)
    if not has_networks(folder):
        raise UserError(
            "{folder} holds no exported network", folder, hint=f"unmask export MODEL --output {folder} --format onnx"
        )
    manifest = read_manifest(folder)
    verified = []
    for network in manifest.networks:
        if find_spec(PACKAGES[network.backend][0]):
            rows, reference_outputs = read_recorded(folder / RECORDED, network.per_token)
            engine = open_engine(folder, network.backend, network.precision, threads=threads)
            backend = engine.backend(network.head)
            record = verify_network(backend, network.precision, rows, reference_outputs, network.per_token)
            if network.precision == "int8":
                kept = (network.verified or {}).get("dev")
                if dev is not None:
                    reference = reference or _open_float32(manifest, network.backend, threads)
                    kept = measure_drop(reference, Predictor(engine), dev, MAX_DROP)
                if kept and max_drop is not None and "max_drop" in kept:
                    kept = {**kept, "max_drop": max_drop}
                record |= {"dev": kept}
                if kept:  # real rows tell more than random tokens, which no range of int8 was made for
                    invariant = all(record["differences"][name] <= record["tolerance"] for name in INVARIANCES)
                    record["passed"] = invariant and within(kept)
            network = replace(network, verified=record)
        verified.append(network)
    facts = files.read_object(folder / FACTS)
    files.write_json(folder / FACTS, {**facts, "networks": [dump(one) for one in verified]})
    return verified


def _open_float32(manifest: Manifest, backend: str, threads: int | None) -> Predictor:
    """Open what int8 of a backend is compared with: torch, or the same backend in float32, or another."""
    has_weights = (manifest.folder / WEIGHTS).is_file()
    others = [one for one in manifest.networks if one.precision == "float32"]
    if not others and not has_weights:
        raise UserError(
            "{folder} holds no network in float32 to compare int8 with",
            manifest.folder,
            hint=f"unmask export MODEL --format {backend} --output {manifest.folder}",
        )
    order = ("torch", backend)
    choices = find_choices(others, has_weights, "auto", "float32")
    best = min(choices, key=lambda one: order.index(one.backend) if one.backend in order else len(order))
    return Predictor(open_engine(manifest.folder, best.backend, "float32", threads=threads))


def read_recorded(path: Path, per_token: bool) -> tuple[list[EncodedRow], list[Floats]]:
    """Read sequences and what torch computed of them. Raises UserError for a file that is not as it was written."""
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError):
        raise changed(path) from None
    lengths, counts = arrays["lengths"], arrays.get("position_counts")
    bounds = np.cumsum(lengths)[:-1].tolist()
    ids, types = (np.split(arrays[name], bounds) for name in ("input_ids", "token_type_ids"))
    places: list[Any] = [None] * len(lengths)
    if counts is not None:
        begins = np.cumsum(lengths) - lengths
        places = [
            own - begin for own, begin in zip(split_rows(arrays["positions"], counts.tolist()), begins, strict=True)
        ]
    rows = [
        EncodedRow(ids[n], types[n], np.zeros(len(ids[n]), dtype=np.uint8), n, positions=places[n])
        for n in range(len(ids))
    ]
    sizes = counts if counts is not None else lengths if per_token else np.ones(len(rows), dtype=np.int64)
    return rows, split_rows(arrays["outputs"], sizes.tolist())
