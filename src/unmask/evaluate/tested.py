"""What a fine-tuned run predicts for each row of a file, as predictions that can be saved and compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.console import SILENT, Progress
from unmask.data.rows.read import Rows
from unmask.evaluate.saved import Predictions, load_predictions
from unmask.runtime.predictor import Predictor, load
from unmask.tasks.task import probabilities_of


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
    predictor: Predictor, rows: Rows, predicted: Sequence[Any], settings: Mapping[str, Any] | None = None
) -> Predictions:
    """What a model predicted for the rows of a file, in the form that is saved (`Predictions.save`).

    predicted: as `Predictor.predict` gives it. settings: how the file was read, where not as in training.
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
    )


def run_folder_of(model: Path | str) -> Path | None:
    """The run folder that a model belongs to, given as the run or as its model/; None where there is none."""
    model = Path(model)
    for folder in (model, model.parent):
        if (folder / "run.json").is_file() and (folder == model or model.name == "model"):
            return folder
    return None
