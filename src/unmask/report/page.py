"""The report of a quick start: results.json and the logs of a run folder in, one html file out.

A page is a list of sections, a section a list of blocks (tables, figures, texts). What the run has no figures
for makes no block, and a section without blocks is left out. All text is escaped by the template.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from unmask import console, files
from unmask.errors import UserError, missing_extra
from unmask.report import figures, summary
from unmask.report.figures import Figure
from unmask.report.words import catalogue, percent, percent_range, points, points_range

FORMAT = 1
KIND = "quickstart"
ROWS_OF_TASK = ("train_rows", "train_rows_used", "dev_rows", "test_rows")
MOST_PAIRS = 20
MOST_CHARACTERS = 320  # of one example text

Results = dict[str, Any]
Words = dict[str, str]


@dataclass(frozen=True)
class Table:
    """Cells of plain text. `numbers` are the columns set to the right; `strong` is a row to point out."""

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""
    numbers: frozenset[int] = frozenset()
    strong: int | None = None
    total: bool = False  # whether the last row is a sum
    kind: str = "table"


@dataclass(frozen=True)
class Code:
    """Lines to copy, or a file to unfold where `title` is given."""

    text: str
    title: str = ""
    kind: str = "code"


Block = Table | Figure | Code


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: list[Block]


def write_report(run: Path) -> Path:
    """Write report.html into a run folder that holds results.json, and return its path.

    Raises UserError where results.json is absent or of another format, or jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise missing_extra("jinja2", "report", "the report page") from None
    run = Path(run)
    results = _results(run / "results.json")
    words = catalogue(results.get("language") or "en")
    templates = resources.files("unmask.report") / "templates"
    style = (templates / "style.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((templates / "quickstart.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        words=words,
        language=results.get("language") or "en",
        title=results.get("title") or words["untitled"],
        command=results.get("command"),
        created=_moment(results.get("created")),
        summary=summary.paragraphs(results, words),
        figures=summary.key_figures(results, words),
        sections=_sections(results, run, words),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    path = run / "report.html"
    files.write_text(path, page)
    return path


def _results(path: Path) -> Results:
    results = files.read_json(path)
    form = results.get("format") if isinstance(results, dict) else None
    kind = results.get("kind") if isinstance(results, dict) else None
    if form != FORMAT or kind != KIND:
        raise UserError(
            f"{path} is not something that a report can be made from",
            given=f"format {form}, kind {kind}",
            allowed=f"format {FORMAT}, kind {KIND}, as `unmask quickstart` writes it",
            to_do="run the quick start again with this version of unmask",
        )
    return results  # type: ignore[no-any-return]


def _moment(created: str | None) -> str | None:
    """An ISO time to the minute; what is none is shown as it is."""
    try:
        return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M %Z}".rstrip() if created else None
    except ValueError:
        return created


def _sections(results: Results, run: Path, words: Words) -> list[Section]:
    blocks: dict[str, Iterable[Block | None]] = {
        "steps": [_steps(results, words)],
        "data": _data(results, words),
        "pretraining": _pretraining(results, run, words),
        "finetuning": _finetuning(results, run, words),
        "results": _evaluation(results, words),
        "errors": _errors(results, words),
        "fills": [_fills(results, words)],
        "predictions": [_predictions(results, words)],
        "repeat": _repeat(results, run, words),
    }
    sections = (
        Section(name, words[name], [block for block in some if block]) for name, some in blocks.items()
    )
    return [section for section in sections if section.blocks]


def _log(run: Path, entry: Results) -> figures.Rows:
    """The rows of the log that an entry names; none where there is no such file."""
    path = run / entry["log"] if entry.get("log") else None
    return files.read_jsonl(path) if path and path.is_file() else []


def _table(
    rows: Sequence[Results], columns: dict[str, Any], words: Words, caption: str = "", **settings: Any
) -> Table | None:
    """A table of the given columns (key: how to show it); columns that no row has are left out."""
    used = {key: show for key, show in columns.items() if any(row.get(key) is not None for row in rows)}
    cells = [["" if row.get(key) is None else show(row[key]) for key, show in used.items()] for row in rows]
    numbers = frozenset(number for number, show in enumerate(used.values()) if show is not str)
    heads = [words[key] for key in used]
    return Table(heads, cells, caption, numbers, **settings) if rows and used else None


def _facts(row: Results, columns: dict[str, Any], words: Words, caption: str = "") -> Table | None:
    """One row as a table of names and values (key: how to show it); what it lacks is left out."""
    cells = [[words[key], show(row[key])] for key, show in columns.items() if row.get(key) is not None]
    return Table([], cells, caption, frozenset({1})) if cells else None


def _pairs_of(values: Results, heads: Sequence[str], caption: str) -> Table | None:
    """Names that are not ours, with their values."""
    cells = [[name, str(value)] for name, value in values.items() if value is not None]
    return Table(list(heads), cells, caption) if cells else None


def _steps(results: Results, words: Words) -> Table | None:
    steps = results.get("steps") or []
    if not steps:
        return None
    rows = [
        [str(step["number"]), step["title"], step.get("summary", ""), console.seconds(step.get("seconds", 0))]
        for step in steps
    ]
    whole = console.seconds(sum(step.get("seconds", 0) for step in steps))
    heads = ["", words["step"], words["did"], words["time"]]
    return Table(heads, [*rows, ["", words["total"], "", whole]], numbers=frozenset({0, 3}), total=True)


def _data(results: Results, words: Words) -> Iterable[Block | None]:
    data = results.get("data") or {}
    columns = {"name": str, "documents": console.count, "size": console.size, "source": str, "licence": str}
    corpora = [row | {"size": row.get("bytes")} for row in data.get("corpora") or []]
    yield _table(corpora, columns, words, words["corpora.caption"])
    task = data.get("task")
    if task:
        labels = task.get("labels")
        columns = {"task": str} | dict.fromkeys(ROWS_OF_TASK, console.count)
        columns |= {"labels": console.count, "source": str, "licence": str}
        row = task | {"task": task.get("name"), "labels": len(labels) if isinstance(labels, list) else labels}
        yield _facts(row, columns, words, words["task.caption"])
    columns = {"vocabulary": console.count, "characters_per_piece": "{:.2f}".format}
    columns["unknown_rate"] = lambda rate: percent(rate, 2)
    yield _facts(results.get("tokenizer") or {}, columns, words, words["tokenizer.caption"])


def _pretraining(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    objectives = []
    for objective in results.get("objectives") or []:
        settings = [
            f"{key.replace('_', ' ')}: {_shown(value, words)}"
            for key, value in objective.items()
            if key != "name" and value is not None
        ]
        objectives.append({"objective": objective.get("name"), "settings": ", ".join(settings) or None})
    yield _table(objectives, {"objective": str, "settings": str}, words, words["objectives.caption"])
    pretraining = results.get("pretraining")
    if not pretraining:
        return
    columns: dict[str, Any] = dict.fromkeys(
        ("parameters", "train_steps", "tokens", "tokens_per_second"), console.count
    )
    columns |= {"time": console.seconds, "loss": "{:.2f}".format, "heldout_loss": "{:.2f}".format}
    columns["heldout_accuracy"] = percent
    row = pretraining | {"train_steps": pretraining.get("steps"), "time": pretraining.get("seconds")}
    yield _facts(row, columns, words)
    yield figures.pretraining_loss(_log(run, pretraining), pretraining, words)


def _shown(value: object, words: Words) -> str:
    return words["yes" if value else "no"] if isinstance(value, bool) else str(value)


def _finetuning(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    runs = results.get("finetuning") or []
    columns = {
        "start": str,
        "train_steps": console.count,
        "best_step": console.count,
        "time": console.seconds,
    }
    names = {"start": "name", "train_steps": "steps", "time": "seconds"}
    rows = [entry | {key: entry.get(name) for key, name in names.items()} for entry in runs]
    yield _table(rows, columns, words)
    yield from figures.finetuning_curves([(entry, _log(run, entry)) for entry in runs], words)


def _evaluation(results: Results, words: Words) -> Iterable[Block | None]:
    evaluation = results.get("evaluation")
    main = summary.main_model(results)
    if not evaluation or not main:
        return
    models, rows = evaluation["models"], console.count(evaluation["rows"])
    cells = [[model["name"], *_with_interval(model, percent, percent_range, words)] for model in models]
    heads = [words[key] for key in ("model", "accuracy", "interval", "macro_f1", "interval")]
    caption = words["models.caption"].format(split=evaluation.get("split", ""), rows=rows)
    yield Table(heads, cells, caption[:1].upper() + caption[1:], frozenset(range(1, 5)), models.index(main))
    yield figures.accuracies(evaluation, main["name"], words)
    cells = []
    for row in evaluation.get("differences") or []:
        real = "real.no" if summary.verdict(row["accuracy"]) == "unclear" else "real.yes"
        name = words["against"].format(**row)
        cells.append([name, *_with_interval(row, points, points_range, words), words[real]])
    if cells:
        heads = [words[key] for key in ("difference", "accuracy", "interval", "macro_f1", "interval", "real")]
        yield Table(heads, cells, words["differences.caption"].format(rows=rows), frozenset(range(1, 5)))


def _with_interval(row: Results, show: Any, show_range: Any, words: Words) -> list[str]:
    cells = []
    for figure in ("accuracy", "macro_f1"):
        value = row.get(figure)
        cells += [show(value["value"]), show_range(value, words)] if value else ["", ""]
    return cells


def _errors(results: Results, words: Words) -> Iterable[Block | None]:
    evaluation = results.get("evaluation") or {}
    labels, counts = evaluation.get("labels") or [], evaluation.get("confusion") or []
    yield figures.confusion(evaluation, words)
    if len(labels) > figures.MAX_MATRIX:
        yield _pairs(counts, labels, words)
    columns: dict[str, Any] = dict.fromkeys(("precision", "recall", "f1"), percent)
    yield _table(
        evaluation.get("per_label") or [],
        {"label": str, **columns, "n": console.count},
        words,
        words["per_label.caption"],
    )


def _pairs(counts: Sequence[Sequence[int]], labels: Sequence[str], words: Words) -> Table | None:
    """The most frequent confusions."""
    found = [
        (count, -true, -said)
        for true, row in enumerate(counts)
        for said, count in enumerate(row)
        if true != said
    ]
    rows = [
        {
            "true": labels[-true],
            "predicted": labels[-said],
            "rows": count,
            "share": count / sum(counts[-true]),
        }
        for count, true, said in sorted(found, reverse=True)[:MOST_PAIRS]
        if count
    ]
    caption = words["pairs.caption"].format(count=len(rows), labels=len(labels))
    return _table(
        rows, {"true": str, "predicted": str, "rows": console.count, "share": percent}, words, caption
    )


def _fills(results: Results, words: Words) -> Table | None:
    rows = []
    for fill in (results.get("samples") or {}).get("fills") or []:
        guesses = (f"{guess['piece']} {percent(guess['probability'])}" for guess in fill["candidates"])
        text = _short(fill["text"].replace("[MASK]", "_____"))
        rows.append({"text": text, "hidden": fill.get("hidden"), "candidates": " · ".join(guesses)})
    return _table(rows, {"text": str, "hidden": str, "candidates": str}, words, words["fills.caption"])


def _predictions(results: Results, words: Words) -> Table | None:
    rows = []
    for row in (results.get("samples") or {}).get("predictions") or []:
        right = (
            "✓ " + words["verdict.right"]
            if row["label"] == row["predicted"]
            else "✗ " + words["verdict.wrong"]
        )
        rows.append(row | {"text": _short(row["text"]), "true": row["label"], "verdict": right})
    columns = {"text": str, "true": str, "predicted": str, "probability": percent, "verdict": str}
    return _table(rows, columns, words, words["predictions.caption"])


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"


def _repeat(results: Results, run: Path, words: Words) -> Iterable[Block | None]:
    repeat = results.get("repeat") or {}
    if repeat.get("commands"):
        yield Code("\n".join(repeat["commands"]))
    values = {words["seed"]: repeat.get("seed")} | (results.get("environment") or {})
    yield _pairs_of(values, (words["setting"], words["value"]), words["environment.caption"])
    hashes = repeat.get("hashes") or {}
    yield _pairs_of(hashes, (words["file"], words["hash"]), words["hashes.caption"])
    for path in sorted([*run.glob("recipe.yaml"), *run.glob("*/recipe.yaml")]):
        title = words["recipe"].format(file=path.relative_to(run).as_posix())
        yield Code(path.read_text(encoding="utf-8"), title)
