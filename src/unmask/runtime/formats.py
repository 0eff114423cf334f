"""Formats of predictions: a JSON object, rows of a table, a CoNLL sentence; one class for each kind of target."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from unmask.data.rows.example import Example, Span, overlapping
from unmask.data.rows.texts import SEPARATORS
from unmask.errors import UserError
from unmask.tasks.task import TargetKind, Task

if TYPE_CHECKING:
    from unmask.tasks.answer import AnswerSpan
    from unmask.tasks.labelled_spans import LabelledSpan, SpanTask
    from unmask.tasks.text import Label, Ranking


class Format:
    """How the predictions of a task are written. names: of the formats, the usual one first; value_columns: of a table,
    after id and line, before the probabilities of all labels; all_scores: everything that a prediction holds, not only
    what is most probable."""

    names: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "table")
    value_columns: tuple[str, ...]

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def name_for(self, output: Path) -> str:
        """Return the format of a file of this name."""
        suffix = output.suffix.removeprefix(".")
        return suffix if suffix in self.names and suffix != "table" else "jsonl"

    def columns(self, all_scores: bool) -> list[str]:
        """Return the columns of a table."""
        return ["id", "line", *self.value_columns, *(self.task.labels if all_scores else [])]

    def to_record(self, example: Example, prediction: Any, all_scores: bool) -> dict[str, Any]:
        """Return a prediction as one JSON object."""
        return {"id": example.id, "line": example.line, **self.fields(example, prediction, all_scores)}

    def to_rows(self, example: Example, prediction: Any, all_scores: bool) -> list[list[object]]:
        """Return a prediction as rows of the table."""
        fields = self.fields(example, prediction, all_scores)
        scores = [fields["scores"].get(label, "") for label in self.task.labels] if all_scores else []
        rows = self.table_rows(fields)
        return [[example.id, example.line, *(row[name] for name in self.value_columns), *scores] for row in rows]

    def to_conll(self, example: Example, prediction: Any) -> str:
        """Return a prediction as a sentence of a CoNLL file, where "conll" is among the names."""
        raise NotImplementedError

    def fields(self, example: Example, prediction: Any, all_scores: bool) -> dict[str, Any]:
        """Return the values of a JSON object, after id and line."""
        raise NotImplementedError

    def table_rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the `value_columns` of each row that an object makes."""
        return [fields]


class LabelFormat(Format):
    """One label of each text; with all scores the probability of every label in a column of its own."""

    value_columns = ("label", "score")

    def fields(self, example: Example, prediction: "Ranking", all_scores: bool) -> dict[str, Any]:
        best = prediction[0]
        first = {"label": best.label, "score": round(best.score, 6)}
        return first | ({"scores": _scores(prediction)} if all_scores else {})


class LabelsFormat(Format):
    """Any number of labels of each text."""

    value_columns = ("labels",)

    def __init__(self, task: Task[Any]) -> None:
        super().__init__(task)
        free = [mark for mark in SEPARATORS if not any(mark in label for label in task.labels)]
        self.separator = (free or SEPARATORS)[0]

    def fields(self, example: Example, prediction: "Ranking", all_scores: bool) -> dict[str, Any]:
        chosen = prediction.chosen
        return {"labels": [one.label for one in chosen], "scores": _scores(prediction if all_scores else chosen)}

    def table_rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"labels": self.separator.join(fields["labels"])}]


class NumberFormat(Format):
    """A number of each text."""

    value_columns = ("number",)

    def fields(self, example: Example, prediction: float, all_scores: bool) -> dict[str, Any]:
        return {"number": round(prediction, 6)}


class SpanFormat(Format):
    """Labelled spans, as in training data: text and spans; a row of a table for each span."""

    names = ("jsonl", "csv", "table", "conll")
    value_columns = ("label", "score", "start", "end", "text")
    task: "SpanTask"

    def columns(self, all_scores: bool) -> list[str]:
        if all_scores:
            raise UserError("--all is for labels of whole texts", given="a model that finds spans")
        return super().columns(all_scores)

    def fields(self, example: Example, prediction: "list[LabelledSpan]", all_scores: bool) -> dict[str, Any]:
        spans = [{**asdict(span), "score": round(span.score, 6)} for span in prediction]
        return {"text": example.text, "spans": spans}

    def table_rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return list(fields["spans"])

    def to_conll(self, example: Example, prediction: "list[LabelledSpan]") -> str:
        """The given tokens with their tags; of running text its words, which plain tags themselves are.

        Raises UserError for spans that overlap."""
        from unmask.tasks.labelled_spans import tags_of, word_bounds

        pair = overlapping(Span(span.start, span.end, span.label) for span in prediction)
        if pair is not None:
            raise UserError(
                f"{example.location}: spans that nest or overlap cannot be written as CoNLL",
                given="; ".join(f"{example.text[span.start : span.end]!r} ({span.label})" for span in pair),
                hint=["--format jsonl", "to train again: unmask finetune ... task.flat=true"],
            )
        tokens = word_bounds(self.task, example)
        if self.task.tags_every_token and example.tokens is None:
            covered = [(span.start, span.end) for span in prediction]
            loose = [(a, b) for a, b in tokens if not any(c <= a < d for c, d in covered)]
            tokens = sorted([*covered, *loose])
        rows = zip(tokens, tags_of(self.task, tokens, prediction), strict=True)
        return "".join(f"{example.text[start:end]}\t{tag}\n" for (start, end), tag in rows) + "\n"


class AnswerFormat(Format):
    """Answers: `answer` is "" and its bounds null where there is none; with all scores a row of a table for each."""

    value_columns = ("answer", "score", "start", "end")

    def fields(self, example: Example, prediction: "list[AnswerSpan]", all_scores: bool) -> dict[str, Any]:
        others = {"answers": [_answer(one, "text") for one in prediction]} if all_scores else {}
        return {**_answer(prediction[0], "answer"), **others}

    def table_rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**one, "answer": one["text"]} for one in fields.get("answers", ())] or [fields]


class VectorFormat(Format):
    """The vector of a text; of a pair its cosine (or another similarity of the model, under its name), and both vectors
    with all scores, in a row each."""

    names = ("jsonl", "csv", "npy")

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.similarity: str = task.similarity.name
        self.value_columns = (self.similarity, "vector")

    def fields(self, example: Example, prediction: Any, all_scores: bool) -> dict[str, Any]:
        if prediction.ndim == 1:
            return {"vector": _numbers(prediction)}
        both = {"vectors": [_numbers(one) for one in prediction]} if all_scores else {}
        return {self.similarity: round(self.task.top_prediction(prediction), 6), **both}

    def table_rows(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        vectors = fields.get("vectors", [fields.get("vector", ())])
        score = fields.get(self.similarity, "")
        return [{self.similarity: score, "vector": " ".join(map(str, one))} for one in vectors]


FORMATS: dict[TargetKind, type[Format]] = {
    "label": LabelFormat,
    "labels": LabelsFormat,
    "number": NumberFormat,
    "tags": SpanFormat,
    "answers": AnswerFormat,
    "vectors": VectorFormat,
}


def format_of(task: Task[Any]) -> Format:
    """Return how the predictions of a task are written."""
    return FORMATS[task.kind](task)


def _scores(labels: "Sequence[Label]") -> dict[str, float]:
    return {one.label: round(one.score, 6) for one in labels}


def _answer(answer: "AnswerSpan", name: str) -> dict[str, Any]:
    start, end = (answer.start, answer.end) if answer else (None, None)
    return {name: answer.text, "score": round(answer.score, 6), "start": start, "end": end}


def _numbers(vector: Any) -> list[float]:
    """Return the shortest decimal numbers that are these floats, of 9 digits at most."""
    return [float(str(number)) for number in vector]
