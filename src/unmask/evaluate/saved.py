"""Predictions kept in a run folder, row by row, so that runs can be compared later without the model.

`RUN/predictions/STEM-SHA.jsonl`, one file for each file that the run was evaluated on: STEM is the name of that
file without its ending, SHA the first 8 digits of its SHA-256 (and, where it was read with other options than the
defaults, -HOW, digits that stand for these). The first line describes it,

    {"format": 2, "task": "classify", "kind": "label", "metric": "accuracy", "file": "test.csv", "sha256": "...",
     "read_options": {"on_error": "skip"}, "labels": ["acq", ...]}

and each line after it is one row of that file, in its order, in the form of its kind (`metrics.compare.KINDS`):

    {"label": "acq", "predicted": "earn"}                                              label
    {"label": ["acq", "earn"], "predicted": ["earn"]}                                  labels
    {"label": 3.8, "predicted": 3.41}                                                  number
    {"label": ["DET", "NOUN"], "predicted": ["DET", "VERB"]}                           tags, accuracy
    {"label": [[0, 5, "PER"]], "predicted": [[0, 5, "LOC"], [9, 12, "ORG"]]}           tags, entity_f1
    {"label": 3.8, "predicted": 0.62}                                                  vectors, spearman: the cosine
    {"label": 1, "predicted": [4]}                                                     vectors, mrr: how many texts are
                                                                                       relevant, and their ranks
    {"label": {"answers": ["Nanjing"], "language": "en"}, "predicted": "Nanjing"}      answers, answer_f1

with the "probabilities" of all labels where the metric is auc. Texts are not kept: they are in the file, and the
checksum tells whether it is still the same. The test file of fine-tuning has `"test": PATH` in its first line, and a
baseline beside the model: `"baseline": {"name", "kind"}` there, and "baseline" in each row; and "samples", a few rows
with their texts, right and wrong, to look at.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import files, metrics
from unmask.errors import UserError
from unmask.metrics import Comparison, Contestant

FORMAT = 2
FOLDER = "predictions"


@dataclass(frozen=True)
class Predictions:
    """The targets of the rows of a file and what a model predicted.

    sha256: of the file's bytes; read_options: those that are not the defaults; test: the path of the file, where it is
    the test file of fine-tuning, and baseline: predictions without a network for the same rows; samples: as
    `evaluate.samples` gives them.
    """

    task: str
    kind: str
    metric: str
    file: str
    sha256: str
    labels: list[str]
    reference: Sequence[Any]
    predictions: Sequence[Any]
    read_options: Mapping[str, str] = field(default_factory=dict)
    probabilities: Sequence[Sequence[float]] | None = None
    test: str | None = None
    baseline: Contestant | None = None
    samples: Sequence[Mapping[str, Any]] = ()

    def __repr__(self) -> str:
        return f"Predictions({self.file}, {len(self.reference):,} rows, {self.task})"

    def save(self, run: Path | str) -> Path:
        """Write them into a run folder, over those of the same file read with the same options; returns the path.
        Equal ones of the run's own test stay."""
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
            "read_options": dict(self.read_options),
            "labels": self.labels,
        }
        columns = {"label": self.reference, "predicted": self.predictions}
        if self.probabilities is not None:
            columns["probabilities"] = self.probabilities
        if self.test is not None:
            about["test"] = self.test
        if self.samples:
            about["samples"] = list(self.samples)
        if self.baseline is not None:
            about["baseline"] = {"name": self.baseline.name, "kind": self.baseline.kind}
            columns["baseline"] = self.baseline.predicted
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        files.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [about, *rows]))
        return path


def read(path: Path) -> Predictions:
    """Raises UserError for a file that is not of this format."""
    try:
        about, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        baseline = about.get("baseline")
        if about["format"] != FORMAT or about["metric"] not in metrics.metrics_of(about["kind"]) or not rows:
            raise ValueError(f"format {about['format']}, kind {about['kind']}, metric {about['metric']}")
        return Predictions(
            task=about["task"],
            kind=about["kind"],
            metric=about["metric"],
            file=about["file"],
            sha256=about["sha256"],
            labels=list(about["labels"]),
            reference=[row["label"] for row in rows],
            predictions=[row["predicted"] for row in rows],
            read_options=dict(about["read_options"]),
            probabilities=[row["probabilities"] for row in rows] if "probabilities" in rows[0] else None,
            test=about.get("test"),
            baseline=baseline and Contestant(**baseline, predicted=[row["baseline"] for row in rows]),
            samples=about.get("samples", ()),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no predictions that can be read",
            given=error,
            hint="remove it and evaluate the run again (unmask evaluate RUN FILE)",
        ) from None


def load_predictions(run: Path | str) -> list[Predictions]:
    """All predictions kept in a run folder, by the name of their file."""
    return [read(path) for path in sorted((Path(run) / FOLDER).glob("*.jsonl"))]


def compare_predictions(
    named: Sequence[tuple[str, str, Predictions]], baselines: Sequence[Contestant] = (), seed: int = 0
) -> Comparison:
    """Compare (name, kind, predictions) of several models, and baselines on the same rows: the first with the rest.

    Raises UserError where they are not of the same rows, the same labels or the same kind of target.
    """
    _, _, first = named[0]
    for name, _, other in named[1:]:
        _check_comparable(named[0][0], first, name, other)
    models = [Contestant(name, kind, one.predictions, one.probabilities) for name, kind, one in named]
    return metrics.compare(first.kind, first.reference, [*models, *baselines], first.labels, first.metric, seed)


def _check_comparable(of: str, first: Predictions, name: str, other: Predictions) -> None:
    refused = f"{of} and {name} cannot be compared"
    if (first.kind, first.metric) != (other.kind, other.metric):
        raise UserError(
            f"{refused}: they do different things",
            given=f"{first.kind} by {first.metric}, {other.kind} by {other.metric}",
        )
    if first.sha256 != other.sha256 or list(first.reference) != list(other.reference):
        raise UserError(
            f"{refused}: they were evaluated on different rows",
            given=f"{first.file} ({first.sha256[:8]}, {len(first.reference):,} rows), "
            f"{other.file} ({other.sha256[:8]}, {len(other.reference):,} rows)",
            hint="evaluate both on the same file: unmask compare RUN RUN --test FILE",
        )
    if set(first.labels) != set(other.labels):
        only = sorted(set(first.labels) ^ set(other.labels))
        raise UserError(
            f"{refused}: they were trained with different labels",
            given=f"only in one: {', '.join(only[:8]) + (' ...' if len(only) > 8 else '')}",
        )
