"""What a fine-tuned run says of each row of a file, as predictions that can be kept and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unmask import files
from unmask.console import SILENT, Progress
from unmask.data.tables import Example, of_test_rows
from unmask.evaluate.saved import Predictions, saved
from unmask.predict import Predictor, load
from unmask.tasks import Reading, Task


def predictions_on(
    run: Path | str, file: Path | str, progress: Progress = SILENT, reading: Reading | None = None
) -> Predictions:
    """Those that the run kept of this very file, else made anew with its model (and not kept).

    reading: how to read the file. Where it names columns or a scheme, predictions are always made anew: of which
    columns the kept ones are, nobody knows. Raises UserError for a run without a model, a model without a task,
    and rows or labels that cannot be used.
    """
    digest, reading = files.sha256(file), reading or Reading()
    plain = Reading(
        on_error=reading.on_error, encoding=reading.encoding, unknown_labels=reading.unknown_labels
    )
    if reading == plain:
        for kept in saved(run):
            if kept.sha256 == digest:
                return kept
    predictor = load(run)
    task = predictor.task
    examples = test_examples(task, file, reading, of=str(run))
    return kept_of(predictor, examples, predictor.predict(examples, progress), file, digest)


def test_examples(task: Task[Any], file: Path | str, reading: Reading, of: str) -> list[Example]:
    """The labelled examples of a file of test rows. of: what knows the task's labels, a run or a training file.

    Raises UserError for rows that cannot be read and labels that `of` does not know, where `reading` says so.
    """
    examples = task.read_test(file, reading)
    with of_test_rows():
        return task.check(examples, of=of, unknown=reading.unknown)


def kept_of(
    predictor: Predictor,
    examples: Sequence[Example],
    predicted: Sequence[Any],
    file: Path | str,
    digest: str | None = None,
) -> Predictions:
    """What a model predicted for the examples of a file, in the form that is kept (`Predictions.save`).

    predicted: as `Predictor.predict` gives it. digest: the SHA-256 of the file where it is known already.
    """
    task = predictor.task
    return Predictions(
        task=task.name,
        metric=task.measured(examples),
        file=str(file),
        sha256=digest or files.sha256(file),
        labels=list(task.labels),
        reference=task.reference(examples),
        predicted=task.compared(examples, predicted),
    )


def run_of(model: Path | str) -> Path | None:
    """The run folder that a model belongs to, given as the run or as its model/; None where there is none."""
    model = Path(model)
    for folder in (model, model.parent):
        if (folder / "run.json").is_file() and (folder == model or model.name == "model"):
            return folder
    return None
