"""The sections on test results: figures of every model, paired differences, labels, confusions, example rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from unmask.messages import Message, message
from unmask.metrics import FIGURES
from unmask.report.blocks import Block, Figure, Part, Sentence, Sentences
from unmask.report.chart import COLOURS, Curve, Curves, Dots, Matrix
from unmask.report.formats import figure_axis, figure_heading, figure_title, format_figure, scale_of
from unmask.report.summary import main_model, population, verdict
from unmask.report.tables import Row, table

MAX_MATRIX = 20  # labels; beyond, the most frequent confusions are listed instead
MOST_CHARACTERS = 240  # of one example text
SIDES = {"true_label": "true", "predicted": "predicted"}  # of a confusion

Results = dict[str, Any]
Span = tuple[int, int, str]  # start, stop, label


def results(found: Results) -> Iterator[Block | None]:
    """What every model reaches, as a plot and a table; how they differ on the same rows."""
    evaluation, main = found.get("evaluation"), main_model(found)
    if not evaluation or not main:
        return
    metric, split = evaluation["metric"], str(evaluation.get("split") or "test")
    models = [model | {"model": message(model["name"])} for model in evaluation["models"]]
    strong = evaluation["models"].index(main)
    where = (population(evaluation), message("test") if split == "test" else split)
    caption = message(
        "{figure} on n = {population} ({split}); bars are 95 % intervals.", figure_heading(metric), *where
    )
    dots = [
        (
            model["model"],
            *(scale_of(metric) * model[metric][key] for key in ("value", "low", "high")),
            format_figure(metric, model[metric]["value"]),
        )
        for model in models
    ]
    yield Figure(Dots(dots, figure_axis(metric), strong), caption)
    caption = message(
        "n = {population} ({split}); below each figure its 95 % interval (percentile bootstrap over {unit}).",
        *where,
        message(f"{evaluation['unit']}s"),
    )
    yield table(models, ("model", *_figures_of(metric, models)), caption, strong=strong)
    every = evaluation.get("differences") or []
    names = [name for name in _figures_of(metric, every) if name not in ("precision", "recall")]
    rows = []
    for row in every:
        unclear = metric not in row or verdict(metric, row[metric]) == "unclear"
        compared = message("{first} − {second}", message(row["of"]), message(row["over"]))
        rows.append(row | {"difference": compared, "significant": message("no" if unclear else "yes")})
    caption = message(
        "Paired differences on the same n = {rows}, of shares in percentage points, with 95 % intervals. A difference "
        "in {figure} is significant where its interval excludes zero; of errors (MAE, RMSE) less is better.",
        population(evaluation, items=False),
        figure_title(metric),
    )
    yield table(rows, ("difference", *names, "mcnemar", "significant"), caption, differences=True)


def _figures_of(metric: str, rows: Sequence[Row]) -> list[str]:
    """The figures that any of these models or differences has, the main one first."""
    return list(dict.fromkeys((metric, *(key for row in rows for key in row if key in FIGURES))))


def errors(found: Results) -> Iterator[Block | None]:
    """Where the model errs: the confusions, and each label."""
    evaluation = found.get("evaluation") or {}
    yield from _confusions(evaluation)
    if pairs := evaluation.get("numbers"):
        text = (
            "The number predicted over the true one, for {shown:,} of the {rows:,} test rows; equal on the dashed line."
        )
        points = [Curve("", [(float(true), float(predicted)) for true, predicted in pairs], style="dots")]
        plot = Curves(points, message("true"), message("predicted"), square=True)
        yield Figure(plot, message(text, len(pairs), evaluation["rows"]))
    rows = [
        row | {"f1": {"value": row["f1"], "low": row["f1_low"], "high": row["f1_high"]}}
        for row in evaluation.get("per_label") or []
    ]
    items = "entities" if "entities" in evaluation else "tokens" if "tokens" in evaluation else "rows"
    caption = message(
        "Precision: of the {items} predicted with a label, the share that is correct. Recall: of the {items} with a "
        "true label, the share predicted. F1: their harmonic mean with its 95 % interval. n: {items} with that true "
        "label.",
        message(items),
    )
    yield table(rows, ("label", "precision", "recall", "f1", "support"), caption)
    parts = [row | {"questions": message(row["part"])} for row in evaluation.get("parts") or []]
    caption = message("Mean scores of the parts of the questions.")
    yield table(parts, ("questions", "answer_f1", "exact_match", "rows"), caption)


def _confusions(evaluation: Results) -> Iterator[Block | None]:
    """The confusion matrix of up to MAX_MATRIX labels, else the most frequent confusions."""
    labels, rows = evaluation.get("labels") or [], evaluation.get("confusions") or []
    if evaluation.get("confusion") and 0 < len(labels) <= MAX_MATRIX:
        caption = message(
            "Rows: the true label. Columns: the label predicted. Numbers: test rows. Shade: share of the true label's "
            "rows."
        )
        yield Figure(Matrix(evaluation["confusion"], labels, message("Predicted"), message("True label")), caption)
        return
    cells = [row | {name: row[key] or message("nothing") for name, key in SIDES.items()} for row in rows]
    caption = message("The {count} most frequent confusions among {labels} labels.", len(rows), len(labels))
    yield table(cells, (*SIDES, "count", "share"), caption)


def predictions(found: Results) -> Iterable[Block | None]:
    """Real rows: with their labels as a table, with coloured spans, or questions with the answers marked."""
    rows = (found.get("samples") or {}).get("predictions") or []
    spanned = [row for row in rows if "spans" in row]
    labels = dict.fromkeys((found.get("evaluation") or {}).get("labels") or [])
    labels |= dict.fromkeys(sorted({span[2] for row in spanned for key in ("spans", "predicted") for span in row[key]}))
    colours = {label: 1 + number % COLOURS for number, label in enumerate(labels)}
    caption = message(
        "Real test questions, with the context around the answer. Errors are outlined; the correct answer is given "
        "below."
        if any("question" in row for row in spanned)
        else "Real test sentences. Errors are outlined; the true tags are given below."
    )
    if spanned:
        sentences = [(_answer if "question" in row else _sentence)(row, colours) for row in spanned]
        yield Sentences(sentences, caption)
    cells = []
    for row in rows:
        if "spans" not in row:
            mark = None if isinstance(row["label"], float) else _mark(row["label"] == row["predicted"])
            cells.append(row | {"text": short(row["text"]), "true_label": row["label"], "verdict": mark})
    caption = message("Real test rows. The probability is the model's own.")
    yield table(cells, ("text", "true_label", "predicted", "probability", "verdict"), caption)


def _mark(correct: bool) -> Message:
    return message("✓ correct" if correct else "✗ wrong")


def short(text: str) -> str:
    """A text cut to MOST_CHARACTERS."""
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"


def _sentence(row: Row, colours: Mapping[str, int]) -> Sentence:
    text, gold, predicted = short(row["text"]), _spans(row, "spans"), _spans(row, "predicted")
    lines = _lines("Predicted", text, predicted, gold, colours)
    wrong = {span[:2] for span in set(gold) ^ set(predicted)}
    if not wrong:
        return Sentence(_mark(True), lines)
    verdict = message("✗ {wrong} of {spans} wrong", len(wrong), len({span[:2] for span in [*gold, *predicted]}))
    return Sentence(verdict, lines + _lines("True label", text, gold, predicted, colours))


def _answer(row: Row, colours: Mapping[str, int]) -> Sentence:
    gold, predicted, none = _spans(row, "spans"), _spans(row, "predicted"), message("nothing")
    text = row["text"] if predicted else row["answer"] or none  # it lies outside of what is shown, or is none
    lines: list[tuple[str, list[Part]]] = [(message("Question"), [Part(row["question"])])]
    lines += _lines("Predicted", text, predicted, predicted if row["correct"] else gold, colours)
    if not row["correct"]:
        lines += _lines("Correct answer", row["text"] if gold else none, gold, gold, colours)
    return Sentence(_mark(row["correct"]), lines)


def _spans(row: Row, key: str) -> list[Span]:
    """Spans that lie in the text that is shown, in order, those around others first."""
    end = MOST_CHARACTERS - 1
    named = message if "question" in row else str
    spans = [(start, stop, named(label)) for start, stop, label in row[key] if stop <= min(len(row["text"]), end)]
    return sorted(spans, key=lambda span: (span[0], -span[1], span[2]))


def _lines(
    name: str, text: str, spans: Sequence[Span], right: Sequence[Span], colours: Mapping[str, int]
) -> list[tuple[str, list[Part]]]:
    """A reading of a sentence; spans inside others, or over them, stand on lines below, each the sentence again."""
    lines: list[tuple[str, list[Part]]] = []
    title = message(name)
    while spans or not lines:
        parts, place, rest = [], 0, []
        for span in spans:
            start, stop, label = span
            if start < place:
                rest.append(span)
                continue
            parts += [Part(text[place:start])] if start > place else []
            parts.append(Part(text[start:stop], label, colours[label], span not in right))
            place = stop
        parts += [Part(text[place:])] if place < len(text) else []
        lines.append((message("↳ {line}", title) if lines else title, parts))
        spans = rest
    return lines
