"""Predictions kept in a run folder, row by row, so that runs can be compared later without the model.

`RUN/predictions/STEM-SHA.jsonl`, one file for each file that the run was evaluated on: STEM is the name of that
file without its ending, SHA the first 8 digits of its SHA-256 (and, where it was to be read in some other way than
is usual, -HOW, digits that stand for it). The first line says what it is,

    {"format": 1, "task": "classify" | "tag" | "answer" | "embed",
     "kind": "label" | "labels" | "number" | "tags" | "answers" | "vectors",
     "metric": "accuracy", "file": "test.csv", "sha256": "...", "reading": {"on_error": "skip"}, "labels": ["acq", ...]}

and each line after it one row of that file, in its order:

    {"label": "acq", "predicted": "earn"}                                              one label a row
    {"label": ["acq", "earn"], "predicted": ["earn"]}                                  labels
    {"label": 3.8, "predicted": 3.41}                                                  number
    {"label": ["DET", "NOUN"], "predicted": ["DET", "VERB"]}                           tags, accuracy
    {"label": [[0, 5, "PER"]], "predicted": [[0, 5, "LOC"], [9, 12, "ORG"]]}           tags, entity_f1
    {"label": 3.8, "predicted": 0.62}                                                  vectors, spearman: the cosine
    {"label": 1, "predicted": [4]}                                                     vectors, mrr: how many texts are
                                                                                       right, and their ranks
    {"label": {"answers": ["Nanjing"], "language": "en"}, "predicted": "Nanjing"}      answers, answer_f1

with the "probabilities" of all labels where the metric is auc. Texts are not kept: they are in the file, and the
checksum says whether it is still the same. What fine-tuning was asked to test on has `"test": PATH` in its first
line, and what takes no network beside it: `"simplest": {"name", "kind"}` there, and "simplest" in each row; and
"samples", a few rows with their texts, right and wrong, to look at.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import files
from unmask.errors import UserError
from unmask.evaluate.compare import (
    Contestant,
    compare,
    compare_answers,
    compare_labels,
    compare_numbers,
    compare_spans,
    compare_tags,
    compare_vectors,
)
from unmask.tasks import ClassifyTask, LabelsTask, NumberTask
from unmask.tasks.embedscore import CORRELATIONS, RETRIEVAL

FORMAT = 1
FOLDER = "predictions"
METRICS = {  # of each kind
    "label": ClassifyTask.metrics,
    "labels": LabelsTask.metrics,
    "number": NumberTask.metrics,
    "tags": ("accuracy", "entity_f1"),
    "answers": ("answer_f1",),
    "vectors": (*CORRELATIONS, *RETRIEVAL),
}
DEFAULT_METRICS = {
    "classify": "label",
    "tag": "tags",
    "answer": "answers",
    "embed": "vectors",
}  # the kind of each task


@dataclass(frozen=True)
class Predictions:
    """What a model said of each row of a file, and what is true. sha256: of the file's bytes; reading: how it was
    read, where that was asked for; test: the path of the file, where fine-tuning was to be tested on it, and
    simplest: what takes no network, on the same rows; samples: as `Task.sample` gives them.
    """

    task: str
    metric: str
    file: str
    sha256: str
    labels: list[str]
    reference: Sequence[Any]
    predictions: Sequence[Any]
    read_options: Mapping[str, str] = field(default_factory=dict)
    test: str | None = None
    baseline: Contestant | None = None
    kind: str | None = None  # of what is true of a row; the usual one of the task if not given
    probabilities: Sequence[Sequence[float]] | None = None
    samples: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or DEFAULT_METRICS[self.task])

    def __repr__(self) -> str:
        return f"Predictions({self.file}, {len(self.reference):,} rows, {self.task})"

    def save(self, run: Path | str) -> Path:
        """Write them into a run folder, over those of the same file read in the same way; returns the path. Equal
        ones of the run's own test stay."""
        how = f"-{files.sha256_of([json.dumps(dict(self.read_options)).encode()])[:4]}" if self.read_options else ""
        path = Path(run) / FOLDER / f"{Path(self.file).stem}-{self.sha256[:8]}{how}.jsonl"
        if self.test is None and path.is_file():
            with suppress(UserError):  # one that cannot be read is replaced
                there = read(path)
                if there.test is not None and there.predictions == self.predictions:
                    return path
        about = {
            "format": FORMAT,
            "task": self.task,
            "kind": self.kind,
            "metric": self.metric,
            "file": Path(self.file).name,
            "sha256": self.sha256,
            "reading": dict(self.read_options),
            "labels": self.labels,
        }
        rows: list[dict[str, Any]] = [
            {"label": wanted, "predicted": said} for wanted, said in zip(self.reference, self.predictions, strict=True)
        ]
        for row, shares in zip(rows, self.probabilities or (), strict=self.probabilities is not None):
            row["probabilities"] = shares
        if self.test is not None:
            about["test"] = self.test
        if self.samples:
            about["samples"] = list(self.samples)
        if self.baseline is not None:
            about["simplest"] = {"name": self.baseline.name, "kind": self.baseline.kind}
            for row, said in zip(rows, self.baseline.predicted, strict=True):
                row["simplest"] = said
        files.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [about, *rows]))
        return path


def read(path: Path) -> Predictions:
    """Raises UserError for a file that is not of this format."""
    try:
        about, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        metric, plain = about["metric"], about.get("simplest")
        kind = about.get("kind") or DEFAULT_METRICS[about["task"]]
        if about["format"] != FORMAT or metric not in METRICS[kind] or not rows:
            raise ValueError(f"format {about['format']}, task {about['task']}, metric {metric}")
        return Predictions(
            task=about["task"],
            metric=metric,
            file=about["file"],
            sha256=about["sha256"],
            labels=list(about["labels"]),
            reference=[row["label"] for row in rows],
            predictions=[row["predicted"] for row in rows],
            read_options=dict(about.get("reading", {})),
            test=about.get("test"),
            kind=kind,
            probabilities=[row["probabilities"] for row in rows] if "probabilities" in rows[0] else None,
            samples=about.get("samples", ()),
            baseline=plain and Contestant(plain["name"], plain["kind"], [row["simplest"] for row in rows]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no predictions that can be read",
            given=error,
            to_do="remove it and evaluate the run again (unmask evaluate RUN FILE)",
        ) from None


def load_predictions(run: Path | str) -> list[Predictions]:
    """All predictions kept in a run folder, by the name of their file."""
    return [read(path) for path in sorted((Path(run) / FOLDER).glob("*.jsonl"))]


def compared(named: Sequence[tuple[str, str, Predictions]], seed: int = 0) -> dict[str, Any]:
    """The `evaluation` of results.json from (name, kind, predictions) of several models, the first against the rest.

    Raises UserError where they are not of the same rows, the same labels or the same task.
    """
    _, _, first = named[0]
    for name, _, other in named[1:]:
        _check_comparable(named[0][0], first, name, other)
    contestants = [Contestant(name, kind, one.predictions, one.probabilities) for name, kind, one in named]
    if first.kind == "label":
        return compare(first.reference, contestants, first.labels, seed, first.metric)
    if first.kind == "labels":
        return compare_labels(first.reference, contestants, first.labels, seed, first.metric)
    if first.kind == "number":
        return compare_numbers(first.reference, contestants, seed, first.metric)
    if first.kind == "answers":
        return compare_answers(first.reference, contestants, seed)
    if first.kind == "vectors":
        return compare_vectors(first.reference, contestants, seed, first.metric)
    of_metric = compare_tags if first.metric == "accuracy" else compare_spans
    return of_metric(first.reference, contestants, seed)


def _check_comparable(of: str, first: Predictions, name: str, other: Predictions) -> None:
    refused = f"{of} and {name} cannot be compared"
    if (first.task, first.kind, first.metric) != (other.task, other.kind, other.metric):
        raise UserError(
            f"{refused}: they do different things",
            given=f"{first.kind} by {first.metric}, {other.kind} by {other.metric}",
        )
    if first.sha256 != other.sha256 or list(first.reference) != list(other.reference):
        raise UserError(
            f"{refused}: they were evaluated on different rows",
            given=f"{first.file} ({first.sha256[:8]}, {len(first.reference):,} rows), "
            f"{other.file} ({other.sha256[:8]}, {len(other.reference):,} rows)",
            to_do="evaluate both on the same file: unmask compare RUN RUN --test FILE",
        )
    if set(first.labels) != set(other.labels):
        only = sorted(set(first.labels) ^ set(other.labels))
        raise UserError(
            f"{refused}: they were trained with different labels",
            in_only_one=", ".join(only[:8]) + (" ..." if len(only) > 8 else ""),
        )
