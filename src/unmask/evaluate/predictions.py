"""What fine-tuned runs predict for the rows of a file: made with a model, saved in the run folder, compared.

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

with the "probabilities" of all labels where the metric is auc. Texts are not saved: they are in the file, and the
checksum tells whether it is still the same. The test file of fine-tuning has `"test": PATH` in its first line, and a
baseline beside the model: `"baseline": {"name", "kind"}` there, and "baseline" in each row; and "samples", a few rows
with their texts, right and wrong, to look at.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import console, files, metrics
from unmask.console import SILENT, Progress
from unmask.data.rows.read import Rows
from unmask.errors import UserError
from unmask.metrics import Comparison, Contestant
from unmask.runtime.predictor import Predictor, load
from unmask.tasks.task import probabilities_of

FORMAT = 2
FOLDER = "predictions"
COLUMNS = {"reference": "label", "predictions": "predicted", "probabilities": "probabilities"}  # keys of each row


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
    samples: Sequence[Mapping[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"Predictions({self.file}, {len(self.reference):,} rows, {self.task})"

    def save(self, run: Path | str) -> Path:
        """Write them into a run folder, over those of the same file read with the same options; returns the path.
        Equal ones of the run's own test stay."""
        digest = hashlib.sha256(json.dumps(dict(self.read_options)).encode()).hexdigest()
        how = f"-{digest[:4]}" if self.read_options else ""
        path = Path(run) / FOLDER / f"{Path(self.file).stem}-{self.sha256[:8]}{how}.jsonl"
        if self.test is None and path.is_file():
            with suppress(UserError):  # one that cannot be read is replaced
                there = read(path)
                if there.test is not None and there.predictions == self.predictions:
                    return path
        values = {name: value for name, value in vars(self).items() if value is not None}
        columns = {key: values.pop(name) for name, key in COLUMNS.items() if name in values}
        about = {"format": FORMAT, **values, "file": Path(self.file).name}
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
        if about.pop("format") != FORMAT or about["metric"] not in metrics.metrics_of(about["kind"]) or not rows:
            raise ValueError(f"not of format {FORMAT}")
        columns: dict[str, Any] = {name: [row[key] for row in rows] for name, key in COLUMNS.items() if key in rows[0]}
        if baseline := about.pop("baseline", None):
            columns["baseline"] = Contestant(**baseline, predicted=[row["baseline"] for row in rows])
        return Predictions(**about, **columns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} contains no readable predictions",
            given=error,
            hint="remove it and evaluate the run again (unmask evaluate RUN FILE)",
        ) from None


def load_predictions(run: Path | str) -> list[Predictions]:
    """All predictions saved in a run folder, by the name of their file."""
    return [read(path) for path in sorted((Path(run) / FOLDER).glob("*.jsonl"))]


def predictions_on(
    run: Path | str, file: Path | str, progress: Progress = SILENT, settings: Mapping[str, Any] | None = None
) -> Predictions:
    """Those that the run saved of this very file, read with these very settings, else made anew with its model (and not
    saved). settings: of `ReadOptions`, where they differ from those of training.

    Raises UserError for a run without a model, a model without a task, and rows or labels that cannot be used.
    """
    settings = settings or {}
    if Path(file).is_file():
        digest = files.sha256(file)
        for saved in load_predictions(run):
            if saved.sha256 == digest and saved.read_options == settings:
                return saved
    predictor = load(run)
    rows = predictor.read(file, "test", **settings)
    for note in rows.notes:
        console.note(note)
    return to_saved_predictions(predictor, rows, predictor.predict(rows.examples, progress), settings)


def to_saved_predictions(
    predictor: Predictor, rows: Rows, predicted: Sequence[Any], settings: Mapping[str, Any] | None = None, **tested: Any
) -> Predictions:
    """What a model predicted for the rows of a file, in the form that is saved (`Predictions.save`).

    predicted: as `Predictor.predict` gives it. settings: how the file was read, where not as in training. tested: what
    is saved of the test file of fine-tuning besides (`test`, `baseline`, `samples`).
    """
    task, examples = predictor.task, rows.examples
    metric = task.metric_for(examples)
    probabilities = probabilities_of(metric, predicted)
    return Predictions(
        task=task.name,
        kind=task.kind,
        metric=metric,
        file=rows.source,
        sha256=rows.sha256 or "",
        labels=list(task.labels),
        reference=task.reference(examples),
        predictions=[round(x, 6) if isinstance(x, float) else x for x in task.comparable(examples, predicted)],
        read_options=dict(settings or {}),
        probabilities=None if probabilities is None else probabilities.round(6).tolist(),
        **tested,
    )


def compare_predictions(
    named: Sequence[tuple[str, str, Predictions]], baselines: Sequence[Contestant] = (), seed: int = 0
) -> Comparison:
    """Compare (name, kind, predictions) of several models, and baselines on the same rows: the first with the rest.

    Raises UserError where they are not of the same rows, the same labels or the same kind of target.
    """
    _, _, first = named[0]
    for name, _, other in named[1:]:
        _check_comparable(f"{named[0][0]} and {name} cannot be compared", first, other)
    models = [Contestant(name, kind, one.predictions, one.probabilities) for name, kind, one in named]
    return metrics.compare(first.kind, first.reference, [*models, *baselines], first.labels, first.metric, seed)


def _check_comparable(refused: str, *both: Predictions) -> None:
    first, other = both
    if (first.kind, first.metric) != (other.kind, other.metric):
        given = ", ".join(f"{one.kind} by {one.metric}" for one in both)
        raise UserError(f"{refused}: they are of different kinds", given=given)
    if first.sha256 != other.sha256 or list(first.reference) != list(other.reference):
        raise UserError(
            f"{refused}: they were evaluated on different rows",
            given=", ".join(f"{one.file} ({one.sha256[:8]}, {len(one.reference):,} rows)" for one in both),
            hint="evaluate both on the same file: unmask compare RUN RUN --test FILE",
        )
    if only := set(first.labels) ^ set(other.labels):
        given = f"only in one: {', '.join(sorted(only)[:8])}"
        raise UserError(f"{refused}: they were trained with different labels", given=given)


def run_folder_of(model: Path | str) -> Path | None:
    """The run folder that a model belongs to, given as the run or as its model/; None where there is none."""
    model = Path(model)
    for folder in (model, model.parent):
        if (folder / "run.json").is_file() and (folder == model or model.name == "model"):
            return folder
    return None
