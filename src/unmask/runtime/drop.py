"""What int8 loses on real rows: the metric of the task with it and in float32, on the same labelled rows.

Of vectors, which have no right answer, it is how close they stay: the mean cosine; of masked tokens, how many are
found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from unmask import files, metrics
from unmask.data.encoded import SPECIAL_TOKEN, EncodedRow, groups_by_length
from unmask.data.rows.example import Example
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import Use, read_rows
from unmask.data.rows.readers.memory import as_source
from unmask.errors import UserError
from unmask.metrics import Contestant, figure_of
from unmask.metrics.figures import Means, bootstrap, difference
from unmask.runtime.backend import TOKENS_PER_BATCH, arrays_of
from unmask.runtime.predictor import Predictor
from unmask.tasks.task import probabilities_of, split_rows

MAX_DROP = 0.01
MIN_COSINE = 0.998
HIDDEN = 7  # of so many tokens, one is masked


def within(record: Mapping[str, Any]) -> bool:
    """Whether int8 loses no more than it may, as `measure_drop` recorded."""
    if "min_cosine" in record:
        return bool(record["cosine"] >= record["min_cosine"])
    return bool(record["drop"]["value"] <= record["max_drop"])


def measure_drop(reference: Predictor, quantised: Predictor, file: Path, max_drop: float) -> dict[str, Any]:
    """Compare int8 with float32 on the rows of a file, read as those that the model was trained on.

    Returns {file, sha256, rows, reference, metric} with {float32, int8, drop: {value, low, high}, max_drop} of labelled
    rows (the paired difference and its 95 % bootstrap interval), or with {cosine, min_cosine} of vectors. Raises
    UserError for a file that cannot be read.
    """
    examples = read_examples(reference, file, "test")
    facts = {"file": file.name, "sha256": files.sha256(file), "rows": len(examples), "reference": str(reference.engine)}
    if reference.manifest.task is None:
        found = _masked(reference, quantised, examples)
    elif reference.task.kind == "vectors":
        return {
            **facts,
            "metric": "cosine",
            "cosine": _cosine(reference, quantised, examples),
            "min_cosine": MIN_COSINE,
        }
    else:
        found = _labelled(reference, quantised, examples)
    return {**facts, **found, "max_drop": max_drop}


def _labelled(reference: Predictor, quantised: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    task, metric = reference.task, reference.task.metric_for(examples)
    made = [one.score(examples)[1] for one in (reference, quantised)]
    both = [Contestant("", "", task.comparable(examples, one), probabilities_of(metric, one)) for one in made]
    less = -1 if figure_of(metric).lower_is_better else 1
    compared = metrics.compare(task.kind, task.reference(examples), both[::less], task.labels, metric)
    one, other = (each[metric]["value"] for each in compared.models[::less])
    return {"metric": metric, "float32": one, "int8": other, "drop": compared.differences[0][metric]}


def _cosine(reference: Predictor, quantised: Predictor, examples: Sequence[Example]) -> float:
    """The mean cosine of the vectors of two networks."""
    both = (np.concatenate([np.atleast_2d(one) for one in by.predict(examples)]) for by in (reference, quantised))
    one, other = (vectors.astype(np.float64) for vectors in both)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / np.maximum(norms, 1e-12)).mean())


def _masked(reference: Predictor, quantised: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    """How many masked tokens each network finds, as a share of each text."""
    rows, found = encode_rows(reference, examples), []
    for one in (reference, quantised):
        backend, shares = one.engine.backend("masked"), np.zeros(len(rows))
        for group in groups_by_length(rows, TOKENS_PER_BATCH):
            batch = [rows[index] for index in group]
            best = np.asarray(backend.run(arrays_of(batch))["logits"]).argmax(-1)
            truth = [row.targets["masked"] for row in batch]
            right = split_rows(best == np.concatenate(truth), list(map(len, truth)))
            shares[group] = [each.mean() for each in right]
        found.append(Means("accuracy", shares))
    drop = asdict(bootstrap(difference(*found))["accuracy"])
    return {
        "metric": "accuracy",
        "float32": found[0].values()["accuracy"],
        "int8": found[1].values()["accuracy"],
        "drop": drop,
    }


def read_examples(predictor: Predictor, file: Path, use: Use) -> list[Example]:
    """Read the rows of a file, for a model of masked tokens or of vectors their texts alone."""
    if predictor.manifest.task is None:
        return read_rows(as_source(file, str(file)), ReadOptions(), "label", "predict").examples
    return predictor.read(file, "predict" if predictor.task.kind == "vectors" else use).examples


def encode_rows(predictor: Predictor, examples: Sequence[Example]) -> list[EncodedRow]:
    """Encode texts for the network of a model; without a task, one of HIDDEN tokens is masked, the same each time.

    Raises UserError where no text has a token.
    """
    if predictor.manifest.task is not None:
        return predictor.task.encode([one.without_targets for one in examples])[0]
    tokenizer, longest, rows = predictor.tokenizer, predictor.manifest.max_position_embeddings, []
    encoded, _ = tokenizer.encode_arrays([example.text for example in examples], max_length=longest)
    for number, (ids, types, flags) in enumerate(encoded):
        places = np.flatnonzero(flags != SPECIAL_TOKEN)
        places = places[number % max(1, min(HIDDEN, len(places))) :: HIDDEN]
        targets = {"masked": ids[places]}
        ids[places] = tokenizer.mask_token_id
        if len(places):
            rows.append(EncodedRow(ids, types, flags, number, owner=number, targets=targets, positions=places))
    if not rows:
        raise UserError("no text has a token", given=examples[0].source)
    return rows
