"""The sections on test results: figures of every model, paired differences, labels, confusions, example rows."""

from collections.abc import Iterable, Sequence
from typing import Any

from unmask import console
from unmask.metrics import figure_of
from unmask.report import figures
from unmask.report.blocks import Block, Cell, Columns, Part, Row, Sentence, Sentences, Table, Words, table
from unmask.report.chart import COLOURS
from unmask.report.summary import main_model, verdict
from unmask.report.words import (
    figure_range,
    format_figure,
    format_p_value,
    format_percent,
    gain,
    gain_range,
    percent_range,
    translated,
)

FIGURES = (  # in the order in which tables have them
    "accuracy",
    "exact_match",
    "micro_f1",
    "macro_f1",
    "precision",
    "recall",
    "subset_accuracy",
    "pearson",
    "spearman",
    "mae",
    "rmse",
    "mrr",
    "ndcg_10",
    "recall_1",
    "recall_10",
)
MOST_CHARACTERS = 240  # of one example text

Results = dict[str, Any]


def variant(evaluation: Results) -> str:
    """Which words fit: `accuracy` (labels or a number a row), `tags`, `entity_f1` (spans), `answer_f1`."""
    metric = evaluation.get("metric") or "accuracy"
    if evaluation.get("unit") != "sentence":
        return str(metric) if metric in ("entity_f1", "answer_f1") else "accuracy"
    return "tags" if metric == "accuracy" else str(metric)


def worded(key: str, evaluation: Results, words: Words) -> str:
    """A caption for the kind of rows there is."""
    kind = variant(evaluation)
    items = evaluation.get("entities" if kind == "entity_f1" else "tokens") or 0
    text = words[key if kind == "accuracy" else f"{key}.{kind}"]
    split = figures.split_name(evaluation, words)
    return text.format(rows=console.count(evaluation["rows"]), items=console.count(items), split=split)


def results(found: Results, words: Words) -> Iterable[Block | None]:
    """What every model reaches, as a plot and a table; how they differ on the same rows."""
    evaluation, main = found.get("evaluation"), main_model(found)
    if not evaluation or not main:
        return
    metric, models = evaluation.get("metric") or "accuracy", evaluation["models"]
    yield figures.scores(evaluation, main["name"], words)
    shown = _shown(metric, models)
    cells = [[translated(m["name"], words), *(_score(key, m.get(key), words) for key in shown)] for m in models]
    heads = [words[key] for key in ("model", *shown)]
    caption = worded("models.caption", evaluation, words)
    yield Table(heads, cells, caption, frozenset(range(1, len(heads))), models.index(main))
    yield differences(evaluation, words)


def differences(evaluation: Results, words: Words) -> Table | None:
    """The paired differences of the first model over the others."""
    metric, rows = evaluation.get("metric") or "accuracy", evaluation.get("differences") or []
    if not rows:
        return None
    shown = [key for key in _shown(metric, rows) if key not in ("precision", "recall")]
    tested = any("mcnemar" in row for row in rows)
    cells: list[list[str | Cell]] = []
    for row in rows:
        name = words["against"].format(of=translated(row["of"], words), over=translated(row["over"], words))
        cells.append([name, *(_difference(key, row.get(key), words) for key in shown)])
        if tested:
            cells[-1].append(format_p_value(row["mcnemar"]) if "mcnemar" in row else "")
        unclear = metric not in row or verdict(metric, row[metric]) == "unclear"
        cells[-1].append(words["real.no" if unclear else "real.yes"])
    heads = ["difference", *shown, *(["mcnemar"] if tested else []), "real"]
    unit = "differences.caption" if any(figure_of(key).percent for key in shown) else "differences.plain"
    caption = words[unit].format(rows=console.count(evaluation["rows"]), figure=words[f"inline.{metric}"])
    numbers = frozenset(range(1, len(heads) - 1))
    return Table([words[key] for key in heads], cells, caption, numbers)


def _shown(metric: str, rows: Sequence[Row]) -> list[str]:
    """The figures that any of these models or differences has, the main one first."""
    return [key for key in dict.fromkeys((metric, *FIGURES)) if key == metric or any(key in row for row in rows)]


def _score(key: str, value: Any, words: Words) -> str | Cell:
    if value is None:
        return ""
    if isinstance(value, dict):
        return Cell(format_figure(key, value["value"]), figure_range(key, value, words))
    return format_figure(key, value)


def _difference(key: str, value: Any, words: Words) -> str | Cell:
    return Cell(gain(key, value["value"]), gain_range(key, value, words)) if value else ""


def errors(found: Results, words: Words) -> Iterable[Block | None]:
    """Where the model errs: the confusions, and each label."""
    evaluation = found.get("evaluation") or {}
    if not evaluation:
        return
    yield figures.confusion(evaluation, words)
    yield figures.scatter(evaluation, words)
    yield _confusions(evaluation, words)
    rows = [row | {"f1": _f1(row, words)} for row in evaluation.get("per_label") or []]
    columns: Columns = {
        "label": str,
        "precision": format_percent,
        "recall": format_percent,
        "f1": _same,
        "support": console.count,
    }
    kind = variant(evaluation)
    if rows:
        caption = words["per_label.caption" if kind == "accuracy" else f"per_label.caption.{kind}"]
        yield table(rows, columns, words, caption)
    parts = [row | {"part": words[f"part.{row['part']}"]} for row in evaluation.get("parts") or []]
    columns = {"part": str, "answer_f1": format_percent, "exact_match": format_percent, "rows": console.count}
    yield table(parts, columns, words, words["parts.caption"])


def _same(cell: Any) -> Any:
    return cell


def _f1(row: Row, words: Words) -> Cell | None:
    if row.get("f1") is None:
        return None
    known = {"low": row.get("f1_low"), "high": row.get("f1_high")}
    return Cell(format_percent(row["f1"]), "" if None in known.values() else percent_range(known, words))


def _confusions(evaluation: Results, words: Words) -> Table | None:
    """The most frequent confusions, where there is no matrix to show them all."""
    labels, rows = evaluation.get("labels") or [], evaluation.get("confusions") or []
    if evaluation.get("confusion") and len(labels) <= figures.MAX_MATRIX:
        return None
    none = words["none"]
    cells = [row | {key: none if row[key] is None else row[key] for key in ("true", "predicted")} for row in rows]
    caption = words["pairs.caption"].format(count=len(rows), labels=len(labels))
    columns: Columns = {"true": str, "predicted": str, "count": console.count, "share": format_percent}
    return table(cells, columns, words, caption)


def predictions(found: Results, words: Words) -> Iterable[Block | None]:
    """Real rows: with their labels as a table, with coloured spans, or questions with the answers marked."""
    rows = (found.get("samples") or {}).get("predictions") or []
    if answered := [row for row in rows if "question" in row]:
        yield _answers(answered, words)
    spanned = [row for row in rows if "spans" in row and "question" not in row]
    if spanned:
        yield _sentences(spanned, found, words)
    cells = []
    for row in rows:
        if "spans" not in row:
            right = row["label"] == row["predicted"]
            mark = "✓ " + words["verdict.right"] if right else "✗ " + words["verdict.wrong"]
            verdict = None if isinstance(row["label"], float) else mark  # a number is near or far
            cells.append(row | {"text": short(row["text"]), "true": row["label"], "verdict": verdict})
    columns: Columns = {
        "text": str,
        "true": str,
        "predicted": str,
        "probability": format_percent,
        "verdict": str,
    }
    yield table(cells, columns, words, words["predictions.caption"])


def short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"


Spans = list[tuple[int, int, str]]


def _sentences(rows: Sequence[Row], found: Results, words: Words) -> Sentences:
    readings = [(short(row["text"]), _spans(row, "spans"), _spans(row, "predicted")) for row in rows]
    known = (found.get("evaluation") or {}).get("labels") or []
    labels = list(dict.fromkeys([*known, *sorted({s[2] for _, a, b in readings for s in [*a, *b]})]))
    colours = {label: 1 + number % COLOURS for number, label in enumerate(labels)}
    shown = []
    for text, gold, said in readings:
        bounds = {span[:2] for span in [*gold, *said]}
        wrong = {span[:2] for span in set(gold) ^ set(said)}
        lines = _lines(words["predicted"], text, said, set(gold), colours)
        if wrong:
            lines += _lines(words["true"], text, gold, set(said), colours)
        partly = words["verdict.partly"].format(wrong=len(wrong), items=len(bounds))
        mark = "✗ " + partly if wrong else "✓ " + words["verdict.right"]
        shown.append(Sentence(mark, lines))
    return Sentences(shown, words["predictions.caption.tag"])


def _answers(rows: Sequence[Row], words: Words) -> Sentences:
    shown = []
    for row in rows:
        true, said = ([(start, stop, words["answer"]) for start, stop, _ in row[key]] for key in ("spans", "predicted"))
        others, colours = set(true) if not row["correct"] else set(said), {words["answer"]: 1}
        text = row["text"] if said else row["answer"] or words["none"]  # it lies outside of what is shown, or is none
        lines = [
            (words["question"], [Part(row["question"])]),
            (words["predicted"], _parts(text, said, others, colours)),
        ]
        if not row["correct"]:
            text = row["text"] if true else words["none"]
            lines.append((words["answer.right"], _parts(text, true, set(true), colours)))
        mark = "✓ " + words["verdict.right"] if row["correct"] else "✗ " + words["verdict.wrong"]
        shown.append(Sentence(mark, lines))
    return Sentences(shown, words["predictions.caption.answer"])


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
        lines.append(("↳ " * bool(lines) + name, _parts(text, layer, others, colours)))
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
