"""Records: the rows of any kind of file, or of a program, as column -> value, with the place of each.

The format is detected from the name and the first bytes of a file; where these differ, or the name tells nothing,
a note says so. The option `format` overrides it.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from unmask.config import changed
from unmask.data.delimited import DELIMITERS, read_table
from unmask.data.rows import columns
from unmask.data.rows.options import Format, ReadOptions
from unmask.data.rows.readers import conll, label_studio, parquet, squad
from unmask.data.rows.readers.jsonfiles import parse_array
from unmask.data.rows.readers.memory import MemoryRows, Source
from unmask.data.textfiles import STDIN, ReadLog, TextFile, display_name, inner_suffix, objects
from unmask.errors import UserError
from unmask.messages import message

BY_NAME: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "txt",
    **dict.fromkeys((".conll", ".conllu", ".conllup", ".conll03", ".bio", ".iob", ".iob2", ".bioes", ".bmes"), "conll"),
}
TITLES: dict[Format, str] = {
    "csv": "a CSV table",
    "tsv": "a table separated by tabs",
    "jsonl": "JSON lines",
    "json": "a JSON array",
    "label-studio": "an export of Label Studio",
    "parquet": "Parquet",
    "txt": "plain text, one a line",
    "conll": "CoNLL",
}
Row = tuple[int, dict[str, Any]]
Form = Literal["texts", "tokens", "questions"]
LONG = 4000  # characters: more than these may be more than what was looked at


@dataclass(frozen=True)
class Records:
    """(line, column -> value) of each row of a source.

    annotated: the columns that hold annotations, where the format says so. layout: which columns of CoNLL were read.
    places: what to call a row, where that is not its line. sha256: of the file, where it is one.
    """

    source: str
    rows: list[Row]
    annotated: tuple[str, ...] = ()
    layout: str = ""
    places: Mapping[int, str] = field(default_factory=dict)
    sha256: str | None = None

    @property
    def names(self) -> list[str]:
        """Of the columns, in the order in which they turn up."""
        return list(dict.fromkeys(name for _, row in self.rows for name in row))

    def place(self, line: int) -> str:
        return self.places.get(line) or f"{self.source}, line {line:,}"


def read_records(
    source: Source,
    options: ReadOptions,
    log: ReadLog,
    form: Form = "texts",
    labelled: bool = True,
    inherited: Collection[str] = (),
) -> Records:
    """The records of a file, or of rows in memory; a file is opened once.

    form: what the rows are to be: texts with their labels, tokens or texts with tags or spans, questions on contexts.
    labelled: leave out what nobody has annotated, where the format says so. inherited: settings that were made for
    another file. Raises UserError where there is no row, and for CoNLL that is to be texts.
    """
    name, layout, sha256 = display_name(source), "", None
    rows: list[Row] = []
    places: dict[int, str] = {}
    format: Format | Literal["squad"] | None = None
    if isinstance(source, MemoryRows):
        rows = list(enumerate(source.rows, 1))
    else:
        with ExitStack() as stack:
            file = TextFile(source, stack)
            options = for_file(options, file.path, inherited)
            format = detect_format(file, options, log, form)
            if format == "conll":
                reader = conll.ConllReader(name, options, labelled, inherited, log)
                rows, layout = list(reader.rows(file.lines(log, options.encoding))), reader.layout_text
            elif format == "squad":
                rows, places = squad.read_squad(name, _whole(file, log, options.encoding))
            else:
                rows = list(_rows(file, format, log, options.encoding))
            sha256 = file.sha256()
    if not rows:
        raise UserError(f"{name} holds no rows", given=log.first and f"left out: {log.first.message}")
    annotated: tuple[str, ...] = ()
    if format == "label-studio" or (format in ("json", "jsonl") and label_studio.is_export(rows[0][1])):
        log.note("{name}: {format}, {rows:,} entries", name, message(TITLES["label-studio"]), len(rows))
        rows, annotated = label_studio.convert(name, rows, labelled, log)
    return Records(name, rows, annotated, layout, places, sha256)


def for_file(options: ReadOptions, path: str, inherited: Collection[str]) -> ReadOptions:
    """The options without the format and encoding that were made for a file of another kind.

    Both are kept for a file whose name tells no other format, and never for standard input.
    """
    kept = path != STDIN and BY_NAME.get(inner_suffix(path)) in (None, "txt", options.format)
    away = {} if kept else {"format": "auto", "encoding": None}
    return changed(options, **{name: value for name, value in away.items() if name in inherited})


def detect_format(
    file: TextFile, options: ReadOptions, log: ReadLog, form: Form = "texts"
) -> Format | Literal["squad"]:
    """The format of a file: as the option says, else by its content and name. Notes one that the name does not tell."""
    named: Format | None = BY_NAME.get(inner_suffix(file.path))
    if options.format != "auto":
        found: Format | None = options.format
    elif form == "questions" and named == "json" and not file.opening(options.encoding).startswith("["):
        return "squad"
    else:
        if form == "tokens" and named in ("txt", "tsv", "csv"):
            named = None  # CoNLL files have these names, too
        found = _by_content(file, named, options.encoding, form)
        if found not in (None, named) and (file.path != STDIN or found != "jsonl"):
            # that standard input holds objects is no surprise
            log.note("{name}: read as {format} (to change: --input-format)", file.name, message(TITLES[found]))
    format = found or named or ("conll" if form == "tokens" else "txt")
    if format == "conll" and form != "tokens":
        raise UserError(
            f"{file.name} is CoNLL, which holds tags of tokens", hint="--task tag, or --input-format of what it is"
        )
    return format


def _by_content(file: TextFile, named: Format | None, encoding: str | None, form: Form) -> Format | None:
    """What the first bytes of a file show; None where that is nothing, or nothing can be looked at."""
    if file.head.startswith(parquet.MAGIC):
        return "parquet"
    if not file.head or named in ("csv", "tsv", "conll", "parquet"):
        return None
    text = file.opening(encoding)
    line, end, _ = text.partition("\n")
    if text.startswith("["):
        return "json" if text[1:].lstrip()[:1] in ("{", "]") else None
    if text.startswith("{"):
        # of a long first line, or of standard input, only the beginning may be there
        begun = not end and (file.path == STDIN or len(line) > LONG)
        return "jsonl" if begun or _is_object(line) else None
    return _table(line) if form != "tokens" and named in (None, "txt") else None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table(line: str) -> Format | None:
    """CSV or TSV where the first line is a header that names a text and a label, or two texts."""
    delimiter = max(DELIMITERS, key=line.count)
    names = {name.strip().strip('"').lower() for name in line.split(delimiter)}
    labelled = not names.isdisjoint(columns.TEXTS) and not names.isdisjoint(columns.LABELS)
    if len(names) < 2 or not (labelled or any(names >= set(both) for both in columns.PAIRS)):
        return None
    return "tsv" if delimiter == "\t" else "csv"


def _rows(file: TextFile, format: Format, log: ReadLog, encoding: str | None) -> Iterator[Row]:
    if format == "parquet":
        yield from parquet.read_parquet(file.name, file.stream)
    elif format == "json" or (format == "label-studio" and file.opening(encoding).startswith("[")):
        yield from parse_array(file.name, _whole(file, log, encoding), log)
    elif format in ("jsonl", "label-studio"):
        yield from objects(file.name, file.lines(log, encoding), log)
    elif format == "txt":
        yield from ((line, {"text": text}) for line, text in file.lines(log, encoding) if text.strip())
    else:
        table = read_table(file.name, file.lines(log, encoding), log, "tsv" if format == "tsv" else "csv")
        if (first := next(table, None)) is not None:
            header = _header(file.name, *first)
            yield from ((line, dict(zip(header, row, strict=True))) for line, row in table)


def _whole(file: TextFile, log: ReadLog, encoding: str | None) -> str:
    """The text of a file as a whole, of which no line is skipped: without it the rest is damaged."""
    strict = ReadLog()
    try:
        text = "\n".join(line for _, line in file.lines(strict, encoding))
    except UserError as error:
        error.facts.pop("hint", None)
        raise
    for note in strict.remarks:
        log.note(note)
    return text


def _header(name: str, line: int, row: Sequence[str]) -> list[str]:
    header = [column.strip() for column in row]
    twice = [column for column, times in Counter(header).items() if times > 1 and column]
    if twice:
        raise UserError(
            f"{name}, line {line:,}: two columns are called {twice[0]!r}",
            given=", ".join(header),
            hint="give every column a name of its own",
        )
    return header
