"""The rows of any kind of file, or of a program, as records: column -> value, with the place of each.

The format is detected from the name and the first bytes of a file; where these differ, or the name tells nothing,
a note says so. The option `format` overrides it.
"""

import json
import re
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from unmask.config import changed
from unmask.data import foreign
from unmask.data.rows import columns
from unmask.data.rows.columns import Records
from unmask.data.rows.options import Format, ReadOptions
from unmask.data.rows.questions import flat_questions, is_nested, read_squad
from unmask.data.rows.readers import annotations
from unmask.data.rows.readers.brat import SUFFIX, is_brat, read_brat
from unmask.data.rows.readers.conll import ConllReader
from unmask.data.rows.readers.fasttext import fasttext_rows, is_fasttext
from unmask.data.rows.readers.memory import PARQUET, MemoryRows, Source, read_parquet
from unmask.data.tables import DELIMITERS, Row, json_array, json_lines, table_rows
from unmask.data.textfiles import STDIN, ReadLog, TextFile, display_name, inner_suffix
from unmask.errors import UserError
from unmask.messages import message

FORMATS: dict[Format, tuple[str, tuple[str, ...]]] = {  # title and suffixes
    "csv": ("a CSV table", (".csv",)),
    "tsv": ("a table separated by tabs", (".tsv",)),
    "jsonl": ("JSON lines", (".jsonl", ".ndjson")),
    "json": ("a JSON array", (".json",)),
    "label-studio": ("an export of Label Studio", ()),
    "parquet": ("Parquet", (".parquet",)),
    "txt": ("plain text, one a line", (".txt",)),
    "conll": ("CoNLL", (".conll", ".conllu", ".conll03", ".bio", ".iob", ".iob2", ".bioes", ".bmes")),
    "fasttext": ("lines of fastText", ()),
    "brat": ("documents of brat", (SUFFIX,)),
}
BY_NAME = {suffix: format for format, (_, suffixes) in FORMATS.items() for suffix in suffixes}
Form = Literal["texts", "tokens", "questions"]
_ARRAY, _OBJECT = re.compile(r"\[\s*[{\]]"), re.compile(r'\{[ \t]*["}]')
_TEXT = r'\[\s*"(?:[^"\\]|\\.)*"\s*,\s*\{'  # as spaCy has it: ["text", {"entities": [...]}]
_SPACY = re.compile(_TEXT), re.compile(rf"\[\s*{_TEXT}")  # one a line, and in an array


def read_records(
    source: Source, options: ReadOptions, log: ReadLog, form: Form, labelled: bool, inherited: Collection[str]
) -> Records:
    """The records of a file, or of rows in memory; a file is opened once.

    form: what the rows are to be: texts with their labels, tokens or texts with tags or spans, questions on contexts.
    labelled: leave out what nobody has annotated, where the format says so. inherited: settings that were made for
    another file. Raises UserError where there is no row, and for CoNLL that is to be texts.
    """
    name, format, sha256 = display_name(source), None, None
    rows: Iterable[Row]
    places: dict[int, str] = {}
    with ExitStack() as stack:
        if isinstance(source, MemoryRows):
            rows = list(enumerate(source.rows, 1))
        elif _is_brat(source, options := for_file(options, str(source), inherited), form):
            rows, places, sha256 = read_brat(Path(source), options.encoding, labelled, log)
            log.note("{name}: {format}, {rows:,} entries", name, message(FORMATS["brat"][0]), len(rows))
        else:
            file = TextFile(source, stack)
            format = detect_format(file, options, log, form)
            lines = file.lines(log, options.encoding)
            is_array = format == "json" or (format == "label-studio" and file.opening(options.encoding)[:1] == "[")
            if format == "parquet":
                rows = read_parquet(name, file.stream)
            elif format == "squad":
                rows, places = read_squad(name, _whole(file, log, options.encoding))
            elif is_array:
                rows = json_array(name, _whole(file, log, options.encoding), log)
            elif format in ("jsonl", "label-studio"):
                rows = json_lines(name, lines, log)
            elif format == "fasttext":
                rows = fasttext_rows(lines)
            elif format == "txt":
                rows = ((line, {"text": text}) for line, text in lines if text.strip())
            elif format == "conll":
                rows = ConllReader(name, options, labelled, inherited, log).rows(lines)
            else:
                rows = table_rows(name, lines, log, format == "tsv")
            rows, sha256 = list(rows), file.sha256()
    annotated: tuple[str, ...] = ()
    if rows and form == "questions" and is_nested(rows):
        rows, places = flat_questions(name, rows, log)
    elif rows and format in (None, "json", "jsonl", "label-studio"):
        known = annotations.LABEL_STUDIO if format == "label-studio" else annotations.detect(rows)
        if known is not None:
            log.note("{name}: {format}, {rows:,} entries", name, message(known.title), len(rows))
            rows, names = known.convert(name, rows, labelled, log)
            annotated = tuple(one for one in names if form == "texts" or one not in annotations.OF_TEXTS)
    if not rows:
        raise UserError(f"{name} contains no rows", given=log.first and f"skipped: {log.first.message}")
    return Records(name, rows, options, inherited, annotated, places, sha256)


def _is_brat(source: str | Path, options: ReadOptions, form: Form) -> bool:
    return options.format == "brat" or (options.format == "auto" and is_brat(Path(source), form == "tokens"))


def for_file(options: ReadOptions, path: str, inherited: Collection[str]) -> ReadOptions:
    """The options without the format and encoding that were made for a file of another kind.

    Both are kept for a file whose name tells no other format, and never for standard input.
    """
    kept = path != STDIN and BY_NAME.get(inner_suffix(path)) in (None, "txt", options.format)
    away = {} if kept else {"format": "auto", "encoding": None}
    return changed(options, **{name: value for name, value in away.items() if name in inherited})


def detect_format(file: TextFile, options: ReadOptions, log: ReadLog, form: Form) -> Format | Literal["squad"]:
    """The format of a file: as the option says, else by its content and name. Notes one that the name does not tell."""
    named = BY_NAME.get(inner_suffix(file.path))
    found: Format | None = options.format
    if found == "auto":
        opening = file.opening(options.encoding)
        if (known := _foreign(file, "" if named == "conll" else opening)) is not None:
            raise known.error(file.name, file.path)
        if form == "questions" and named == "json" and not opening.startswith("[") and not _is_lines(opening):
            return "squad"
        if form == "tokens" and named in ("txt", "tsv", "csv"):
            named = None  # CoNLL files have these names, too
        found = _by_content(file, named, options.encoding, form)
        if found not in (None, named) and (file.path != STDIN or found != "jsonl"):
            # that standard input holds objects is no surprise
            log.note("{name}: read as {format} (to change: --input-format)", file.name, message(FORMATS[found][0]))
    format = found or named or ("conll" if form == "tokens" else "txt")
    if format == "conll" and form != "tokens":
        hint = "a model of --task tag, or --input-format of what it is"
        raise UserError("{name} is CoNLL, a format for tags of tokens", file.name, hint=hint)
    return format


def _foreign(file: TextFile, opening: str) -> foreign.Foreign | None:
    """The format of a file that is not read, by its first bytes; None for others."""
    return None if file.head.startswith(PARQUET) else foreign.binary(file.head, file.path) or foreign.markup(opening)


def _is_lines(opening: str) -> bool:
    """Whether the first line is an object of its own, and not the whole of SQuAD."""
    with suppress(ValueError):
        first = json.loads(opening.partition("\n")[0])
        return isinstance(first, dict) and "data" not in first
    return False


def _by_content(file: TextFile, named: Format | None, encoding: str | None, form: Form) -> Format | None:
    """What the first bytes of a file show; None where that is nothing, or nothing can be looked at."""
    if file.head.startswith(PARQUET):
        return "parquet"
    if not file.head or named in ("csv", "tsv", "conll", "parquet"):
        return None
    text = file.opening(encoding)
    if _ARRAY.match(text) or _SPACY[1].match(text):
        return "json"
    if _OBJECT.match(text) or _SPACY[0].match(text):
        return "jsonl"
    if is_fasttext(text):
        return "fasttext"
    # a table, where the first line is a header that names a text and a label, or two texts
    line = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=line.count)
    names = {name.strip().strip('"').lower() for name in line.split(delimiter)}
    labelled = not names.isdisjoint(columns.TEXTS) and not names.isdisjoint(columns.LABELS)
    is_header = len(names) > 1 and (labelled or any(names >= set(both) for both in columns.PAIRS))
    if form == "tokens" or named not in (None, "txt") or not is_header:
        return None
    return "tsv" if delimiter == "\t" else "csv"


def _whole(file: TextFile, log: ReadLog, encoding: str | None) -> str:
    """The text of a file as a whole, of which no line is skipped: without it the rest is damaged."""
    strict = ReadLog(option="")
    text = "\n".join(line for _, line in file.lines(strict, encoding))
    log.remarks += strict.remarks
    return text
