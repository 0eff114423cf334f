"""What a fine-tuned run says of each row of a file, as predictions that can be kept and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unmask import files
from unmask.console import SILENT, Progress
from unmask.data.rows.labels import of_test_rows
from unmask.data.rows.tables import Example
from unmask.evaluate.saved import Predictions, load_predictions
from unmask.runtime.predictor import Predictor, load
from unmask.tasks import ReadOptions, Task
from unmask.tasks.scoring import probabilities_of
from unmask.train.recipe import changed_read_settings


def predictions_on(
    run: Path | str, file: Path | str, progress: Progress = SILENT, reading: ReadOptions | None = None
) -> Predictions:
    """Those that the run kept of this very file, read in this very way, else made anew with its model (and not kept).

    Raises UserError for a run without a model, a model without a task, and rows or labels that cannot be used.
    """
    digest, reading = files.sha256(file), reading or ReadOptions()
    for kept in load_predictions(run):
        if kept.sha256 == digest and kept.read_options == changed_read_settings(reading):
            return kept
    predictor = load(run)
    task = predictor.task
    examples = test_examples(task, file, reading, of=str(run))
    return to_saved_predictions(predictor, examples, predictor.predict(examples, progress), file, reading, digest)


def test_examples(task: Task[Any], file: Path | str, reading: ReadOptions, of: str) -> list[Example]:
    """The labelled examples of a file of test rows. of: what knows the task's labels, a run or a training file.

    Raises UserError for rows that cannot be read and labels that `of` does not know, where `reading` says so.
    """
    examples = task.read_test(file, reading)
    with of_test_rows():
        return task.check_own_labels(examples, owner=of, unknown=reading.resolved_unknown_labels)


def read_test_rows(
    task: type[Task[Any]], train: Path | str, test: Path | str, reading: ReadOptions
) -> tuple[list[Example], list[Example]]:
    """Training and test rows, before anything is trained: what is wrong with the test rows is said now.

    Raises UserError as `test_examples`.
    """
    rows, unseen = (task.read(path, reading) for path in (train, test))
    labels = {label for example in rows for label in example.labels}
    with of_test_rows():
        return rows, task.check_labels(unseen, labels, owner=str(train), unknown=reading.resolved_unknown_labels)


def to_saved_predictions(
    predictor: Predictor,
    examples: Sequence[Example],
    predicted: Sequence[Any],
    file: Path | str,
    reading: ReadOptions,
    digest: str | None = None,
) -> Predictions:
    """What a model predicted for the examples of a file, in the form that is kept (`Predictions.save`).

    predicted: as `Predictor.predict` gives it. digest: the SHA-256 of the file where it is known already.
    """
    task, metric = predictor.task, predictor.task.metric_for(examples)
    probabilities = probabilities_of(metric, predicted)
    return Predictions(
        task=task.name,
        kind=task.kind,
        metric=metric,
        file=str(file),
        sha256=digest or files.sha256(file),
        labels=list(task.labels),
        reference=task.reference(examples),
        predictions=[round(x, 6) if isinstance(x, float) else x for x in task.comparable(examples, predicted)],
        read_options=changed_read_settings(reading),
        probabilities=None if probabilities is None else probabilities.round(6).tolist(),
    )


def run_folder_of(model: Path | str) -> Path | None:
    """The run folder that a model belongs to, given as the run or as its model/; None where there is none."""
    model = Path(model)
    for folder in (model, model.parent):
        if (folder / "run.json").is_file() and (folder == model or model.name == "model"):
            return folder
    return None
