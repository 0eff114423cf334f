"""The sections on test results: figures of every model, paired differences, labels, confusions, example rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmask import console
from unmask.messages import message
from unmask.metrics import figure_of
from unmask.report import figures
from unmask.report.blocks import Block, Cell, Columns, Part, Row, Sentence, Sentences, Table, table
from unmask.report.chart import COLOURS
from unmask.report.formats import (
    figure_heading,
    figure_title,
    format_difference,
    format_difference_range,
    format_figure,
    format_p_value,
    format_percent,
    format_range,
    known,
)
from unmask.report.summary import main_model, verdict

MOST_CHARACTERS = 240  # of one example text
UNITS = {"row": "rows", "question": "questions", "sentence": "sentences"}
ITEMS = {"entity_f1": "entities", "accuracy": "tokens"}  # of a sentence, by the metric
PARTS = {
    "with an answer": "the answer is in the context",
    "without an answer": "the context does not answer",
}  # of the questions
NO_FIGURES = ("name", "kind", "of", "over", "mcnemar")

Results = dict[str, Any]


def results(found: Results) -> Iterable[Block | None]:
    """What every model reaches, as a plot and a table; how they differ on the same rows."""
    evaluation, main = found.get("evaluation"), main_model(found)
    if not evaluation or not main:
        return
    models = evaluation["models"]
    yield figures.scores(evaluation, main["name"])
    names = _figures_of(evaluation["metric"], models)
    cells = [[known(model["name"]), *(_score(name, model.get(name)) for name in names)] for model in models]
    caption = message(
        "n = {population} ({split}); below each figure its 95 % interval (percentile bootstrap over {unit}).",
        figures.population(evaluation),
        figures.split_of(evaluation),
        message(UNITS[evaluation["unit"]]),
    )
    heads: list[str] = [message("Model"), *map(figure_heading, names)]
    yield Table(heads, cells, caption, frozenset(range(1, len(heads))), models.index(main))
    yield differences(evaluation)


def differences(evaluation: Results) -> Table | None:
    """The paired differences of the first model over the others."""
    metric, rows = evaluation["metric"], evaluation.get("differences") or []
    if not rows:
        return None
    names = [name for name in _figures_of(metric, rows) if name not in ("precision", "recall")]
    tested = any("mcnemar" in row for row in rows)
    cells: list[list[str | Cell]] = []
    for row in rows:
        compared = message("{first} − {second}", known(row["of"]), known(row["over"]))
        cells.append([compared, *(_difference(name, row.get(name)) for name in names)])
        if tested:
            cells[-1].append(format_p_value(row["mcnemar"]) if "mcnemar" in row else "")
        unclear = metric not in row or verdict(metric, row[metric]) == "unclear"
        cells[-1].append(message("no" if unclear else "yes"))
    heads: list[str] = [message("Difference"), *map(figure_heading, names), *([message("McNemar p")] if tested else [])]
    heads.append(message("Significant"))
    caption = message(
        "Paired differences on the same n = {rows}, in percentage points, with 95 % intervals. A difference in "
        "{figure} is significant where its interval excludes zero."
        if any(figure_of(name).percent for name in names)
        else "Paired differences on the same n = {rows}, with 95 % intervals. A difference in {figure} is significant "
        "where its interval excludes zero; of errors (MAE, RMSE) less is better.",
        figures.population(evaluation, items=False),
        figure_title(metric),
    )
    return Table(heads, cells, caption, frozenset(range(1, len(heads) - 1)))


def _figures_of(metric: str, rows: Sequence[Row]) -> list[str]:
    """The figures that any of these models or differences has, the main one first."""
    return [name for name in dict.fromkeys((metric, *(key for row in rows for key in row))) if name not in NO_FIGURES]


def _score(name: str, value: Any) -> str | Cell:
    if isinstance(value, Mapping):
        return Cell(format_figure(name, value["value"]), format_range(name, value))
    return "" if value is None else format_figure(name, value)


def _difference(name: str, value: Any) -> str | Cell:
    return Cell(format_difference(name, value["value"]), format_difference_range(name, value)) if value else ""


def errors(found: Results) -> Iterable[Block | None]:
    """Where the model errs: the confusions, and each label."""
    evaluation = found.get("evaluation") or {}
    if not evaluation:
        return
    yield figures.confusion(evaluation)
    yield figures.scatter(evaluation)
    yield _confusions(evaluation)
    rows = [row | {"f1": _f1(row)} for row in evaluation.get("per_label") or []]
    columns: Columns = {
        "label": "Label",
        "precision": ("Precision", format_percent),
        "recall": ("Recall", format_percent),
        "f1": ("F1", str),
        "support": ("n", console.count),
    }
    items = ITEMS.get(evaluation["metric"], "rows") if evaluation["unit"] == "sentence" else "rows"
    caption = message(
        "Precision: of the {items} predicted with a label, the share that is correct. Recall: of the {items} with a "
        "true label, the share predicted. F1: their harmonic mean with its 95 % interval. n: {items} with that true "
        "label.",
        message(items),
    )
    yield table(rows, columns, caption)
    parts = [row | {"part": message(PARTS[row["part"]])} for row in evaluation.get("parts") or []]
    columns = {
        "part": "Questions of which",
        "answer_f1": ("Answer F1", format_percent),
        "exact_match": ("Exact match", format_percent),
        "rows": ("n", console.count),
    }
    yield table(parts, columns, message("Mean scores of the parts of the questions."))


def _f1(row: Row) -> Cell | None:
    if row.get("f1") is None:
        return None
    low, high = row.get("f1_low"), row.get("f1_high")
    interval = "" if low is None or high is None else format_range("f1", {"low": low, "high": high})
    return Cell(format_percent(row["f1"]), interval)


def _confusions(evaluation: Results) -> Table | None:
    """The most frequent confusions, where there is no matrix to show them all."""
    labels, rows = evaluation.get("labels") or [], evaluation.get("confusions") or []
    if evaluation.get("confusion") and len(labels) <= figures.MAX_MATRIX:
        return None
    none = message("nothing")
    cells = [row | {key: none if row[key] is None else row[key] for key in ("true", "predicted")} for row in rows]
    columns: Columns = {
        "true": "True label",
        "predicted": "Predicted",
        "count": ("Times", console.count),
        "share": ("Share of the true label", format_percent),
    }
    caption = message("The {count} most frequent confusions among {labels} labels.", len(rows), len(labels))
    return table(cells, columns, caption)


def predictions(found: Results) -> Iterable[Block | None]:
    """Real rows: with their labels as a table, with coloured spans, or questions with the answers marked."""
    rows = (found.get("samples") or {}).get("predictions") or []
    if answered := [row for row in rows if "question" in row]:
        yield _answers(answered)
    spanned = [row for row in rows if "spans" in row and "question" not in row]
    if spanned:
        yield _sentences(spanned, found)
    cells = []
    for row in rows:
        if "spans" not in row:
            mark = None if isinstance(row["label"], float) else _mark(row["label"] == row["predicted"])
            cells.append(row | {"text": short(row["text"]), "verdict": mark})
    columns: Columns = {
        "text": "Text",
        "label": "True label",
        "predicted": "Predicted",
        "probability": ("Probability", format_percent),
        "verdict": "Verdict",
    }
    yield table(cells, columns, message("Real test rows. The probability is the model's own."))


def _mark(correct: bool) -> str:
    return message("✓ correct" if correct else "✗ wrong")


def short(text: str) -> str:
    """A text cut to MOST_CHARACTERS."""
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"


Spans = list[tuple[int, int, str]]


def _sentences(rows: Sequence[Row], found: Results) -> Sentences:
    readings = [(short(row["text"]), _spans(row, "spans"), _spans(row, "predicted")) for row in rows]
    labels = (found.get("evaluation") or {}).get("labels") or []
    labels = dict.fromkeys([*labels, *sorted({span[2] for _, a, b in readings for span in [*a, *b]})])
    colours = {label: 1 + number % COLOURS for number, label in enumerate(labels)}
    shown = []
    for text, gold, predicted in readings:
        bounds = {span[:2] for span in [*gold, *predicted]}
        wrong = {span[:2] for span in set(gold) ^ set(predicted)}
        lines = _lines(message("Predicted"), text, predicted, set(gold), colours)
        if wrong:
            lines += _lines(message("True label"), text, gold, set(predicted), colours)
        mark = message("✗ {wrong} of {spans} wrong", len(wrong), len(bounds)) if wrong else _mark(True)
        shown.append(Sentence(mark, lines))
    return Sentences(shown, message("Real test sentences. Errors are outlined; the true tags are given below."))


def _answers(rows: Sequence[Row]) -> Sentences:
    shown = []
    answer: str = message("answer")
    none, colours = message("nothing"), {answer: 1}
    for row in rows:
        true, predicted = ([(start, stop, answer) for start, stop, _ in row[key]] for key in ("spans", "predicted"))
        others = set(predicted if row["correct"] else true)
        text = row["text"] if predicted else row["answer"] or none  # it lies outside of what is shown, or is none
        lines: list[tuple[str, list[Part]]] = [
            (message("Question"), [Part(row["question"])]),
            (message("Predicted"), _parts(text, predicted, others, colours)),
        ]
        if not row["correct"]:
            text = row["text"] if true else none
            lines.append((message("Correct answer"), _parts(text, true, set(true), colours)))
        shown.append(Sentence(_mark(row["correct"]), lines))
    caption = message(
        "Real test questions, with the context around the answer. Errors are outlined; the correct answer is given "
        "below."
    )
    return Sentences(shown, caption)


def _spans(row: Row, key: str) -> Spans:
    """Spans that lie in the text that is shown, in order, those around others first; each [start, stop, label] or
    an object of these."""
    found: Spans = []
    for span in row.get(key) or []:
        start, stop, label = (span["start"], span["end"], span["label"]) if isinstance(span, dict) else span
        if stop <= min(len(row["text"]), MOST_CHARACTERS - 1):
            found.append((start, stop, label))
    return sorted(found, key=lambda span: (span[0], -span[1], span[2]))


def _lines(
    name: str, text: str, spans: Spans, others: set[tuple[int, int, str]], colours: dict[str, int]
) -> list[tuple[str, list[Part]]]:
    """A reading of a sentence; spans inside others, or over them, stand on lines below, each the sentence again."""
    lines: list[tuple[str, list[Part]]] = []
    while spans or not lines:
        layer: Spans = []
        for span in spans:
            if not layer or layer[-1][1] <= span[0]:
                layer.append(span)
        lines.append((message("↳ {line}", name) if lines else name, _parts(text, layer, others, colours)))
        spans = [span for span in spans if span not in layer]
    return lines


def _parts(text: str, spans: Spans, others: set[tuple[int, int, str]], colours: dict[str, int]) -> list[Part]:
    parts, place = [], 0
    for start, stop, label in spans:
        if start > place:
            parts.append(Part(text[place:start]))
        parts.append(Part(text[start:stop], label, colours[label], (start, stop, label) not in others))
        place = stop
    return [*parts, Part(text[place:])] if place < len(text) else parts
