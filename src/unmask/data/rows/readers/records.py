"""The rows of any kind of file, or of a program, as records: column -> value, with the place of each.

The format is detected from the name and the first bytes of a file; where these differ, or the name tells nothing,
a note says so. The option `format` overrides it.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal

from unmask.advice import advise, option, to_change
from unmask.config import changed
from unmask.data import foreign
from unmask.data.rows import columns
from unmask.data.rows.cells.sentences import holds_sentences
from unmask.data.rows.columns import Records
from unmask.data.rows.options import Format, ReadOptions
from unmask.data.rows.questions import flat_questions, is_nested, read_squad
from unmask.data.rows.readers import annotations, label_studio
from unmask.data.rows.readers.brat import SUFFIX, is_brat, read_brat
from unmask.data.rows.readers.conll import ConllReader, is_conll
from unmask.data.rows.readers.fasttext import fasttext_rows, is_fasttext
from unmask.data.rows.readers.memory import PARQUET, MemoryRows, Source, read_parquet
from unmask.data.rows.readers.token_table import TokenTableReader, is_token_table
from unmask.data.tables import Row, json_array, json_lines, likely_delimiter, named_delimiter, table_rows
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
STREAMED = ("csv", "tsv", "jsonl", "parquet", "txt", "fasttext")  # formats whose rows can be read one by one
FIRST_ROWS, FIRST_CHARACTERS = 10_000, 2**24  # of these, what decides how the others are read
Form = Literal["texts", "tokens", "tokens or texts", "questions"]
# a field that holds a list as text
_LIST = re.compile(r"""(?:^|[,;\t"]) *(?:[\[({]\s*['"\d\[({\]]|array\()""", re.MULTILINE)
_ARRAY, _OBJECT = re.compile(r"\[\s*[{\]]"), re.compile(r'\{[ \t]*["}]')
_TEXT = r'\[\s*"(?:[^"\\]|\\.)*"\s*,\s*\{'  # as spaCy has it: ["text", {"entities": [...]}]
_SPACY = re.compile(_TEXT), re.compile(rf"\[\s*{_TEXT}")  # one a line, and in an array


def read_records(
    source: Source,
    options: ReadOptions,
    log: ReadLog,
    form: Form,
    labelled: bool,
    inherited: Collection[str],
    labels: Collection[str] = (),
    stack: ExitStack | None = None,
) -> Records:
    """The records of a file, or of rows in memory; a file is opened once.

    form: what the rows are to be: texts with their labels, tokens (or texts) with tags or spans, questions on contexts;
    "tokens or texts", to predict, what the content shows. labels: those of tags, as far as they are at hand.
    labelled: leave out what nobody has annotated, where the format says so. inherited: settings that were made for
    another file. stack: what closes the file in the end, where it may stay open: of one in STREAMED more than its
    beginning is read as it is used (`Records.following`). Raises UserError where there is no row, and for CoNLL that is
    to be texts.
    """
    name, format, sha256 = display_name(source), None, None
    rows: Iterable[Row]
    following: Iterable[Row] = ()
    places: dict[int, str] = {}
    with ExitStack() as closing:
        if isinstance(source, MemoryRows):
            rows = list(enumerate(source.rows, 1))
        elif _is_brat(source, options := for_file(options, str(source), inherited), form):
            rows, places, sha256 = read_brat(Path(source), options.encoding, labelled, log)
            log.note("{name}: {format}, {rows:,} entries", name, message(FORMATS["brat"][0]), len(rows))
        else:
            file = TextFile(source, closing if stack is None else stack)
            options = _for_content(options, file, inherited, form, log)
            format = detect_format(file, options, log, form, labels)
            rows = _rows(file, format, options, log, labelled, inherited, places)
            if stack is not None and format in STREAMED:
                rows, following = _beginning(iter(rows))
            else:
                rows, sha256 = list(rows), file.sha256()
    annotated: tuple[str, ...] = ()
    if rows and form == "questions" and is_nested(rows):
        rows, following = [*rows, *following], ()
        rows, places = flat_questions(name, rows, log)
    elif rows and format in (None, "json", "jsonl", "label-studio", "parquet", "csv", "tsv"):
        known = annotations.LABEL_STUDIO if format == "label-studio" else annotations.detect(rows)
        known = None if format in ("csv", "tsv") and known != annotations.LABEL_STUDIO else known
        if known is not None:
            rows, following = [*rows, *following], ()
            log.note("{name}: {format}, {rows:,} entries", name, message(known.title), len(rows))
            rows, names = known.convert(name, rows, labelled, log)
            annotated = tuple(one for one in names if form == "texts" or one not in annotations.OF_TEXTS)
    if not rows:
        raise UserError(f"{name} contains no rows", given=log.first and f"skipped: {log.first.message}")
    return Records(name, rows, options, inherited, annotated, places, sha256, following=following)


def _beginning(rows: Iterator[Row]) -> tuple[list[Row], Iterable[Row]]:
    """The first rows, and those after them: () where there are none."""
    first: list[Row] = []
    characters = 0
    for row in rows:
        first.append(row)
        characters += sum(len(cell) for cell in row[1].values() if isinstance(cell, str))
        if len(first) >= FIRST_ROWS or characters >= FIRST_CHARACTERS:
            return first, rows
    return first, ()


def _rows(
    file: TextFile,
    format: Format | Literal["squad", "token-table"],
    options: ReadOptions,
    log: ReadLog,
    labelled: bool,
    inherited: Collection[str],
    places: dict[int, str],
) -> Iterable[Row]:
    """The rows of a file of this format. places: filled with what to call a row where that is not its line."""
    name, lines = file.name, file.lines(log, options.encoding)
    if format == "parquet":
        return read_parquet(name, file.stream)
    if format == "squad":
        rows, found = read_squad(name, file.text(log, options.encoding))
        places.update(found)
        return rows
    if format == "json" or (format == "label-studio" and file.opening(options.encoding)[:1] == "["):
        return json_array(name, file.text(log, options.encoding), log, places)
    if format in ("jsonl", "label-studio"):
        return json_lines(name, lines, log)
    if format == "fasttext":
        return fasttext_rows(lines)
    if format == "txt":
        return ((line, {"text": text}) for line, text in lines if text.strip())
    if format == "conll":
        return ConllReader(name, options, labelled, inherited, log).rows(lines)
    if format == "token-table":
        tsv = options.format == "tsv" or inner_suffix(file.path) == ".tsv"
        return TokenTableReader(name, options, labelled, inherited, log).rows(lines, tsv)
    return table_rows(name, lines, log, format == "tsv")


def _is_brat(source: str | Path, options: ReadOptions, form: Form) -> bool:
    return options.format == "brat" or (options.format == "auto" and is_brat(Path(source), form == "tokens"))


def for_file(options: ReadOptions, path: str, inherited: Collection[str]) -> ReadOptions:
    """The options without the format that was made for a file of another kind; for standard input also without the
    encoding.

    The format is kept for a file whose name tells no other one, and never for standard input.
    """
    kept = path != STDIN and BY_NAME.get(inner_suffix(path)) in (None, "txt", options.format)
    away: dict[str, str | None] = {} if kept else {"format": "auto"}
    away |= {"encoding": None} if path == STDIN else {}
    return changed(options, **{name: value for name, value in away.items() if name in inherited})


def _for_content(
    options: ReadOptions, file: TextFile, inherited: Collection[str], form: Form, log: ReadLog
) -> ReadOptions:
    """The options without what was made for another file and what the first bytes of this one contradict."""
    if form == "tokens or texts" and options.format == "conll" and "format" in inherited:
        options = changed(options, format="auto")  # texts need no tokens
    if options.encoding is not None and "encoding" in inherited and file.shows_unicode:
        text = "{name} is Unicode: the encoding of the training rows, {encoding}, is not used"
        log.note(text, file.name, options.encoding)
        options = changed(options, encoding=None)
    return options


def detect_format(
    file: TextFile, options: ReadOptions, log: ReadLog, form: Form, labels: Collection[str] = ()
) -> Format | Literal["squad", "token-table"]:
    """The format of a file: as the option says, else by its content and name. Notes one that the name does not tell."""
    named = BY_NAME.get(inner_suffix(file.path))
    found: Format | None = options.format
    tagged, opening = form in ("tokens", "tokens or texts"), file.opening(options.encoding)
    if found == "auto" and (known := _foreign(file, "" if named == "conll" else opening)) is not None:
        raise known.error(file.name, file.path)
    if tagged and found in ("auto", "csv", "tsv") and (found != "auto" or named in (None, "txt", "csv", "tsv")):
        tsv = "tsv" in (found, named)
        texts = columns.TEXTS if form == "tokens or texts" else ()
        if is_token_table(file.first_lines(options.encoding), options, tsv, texts):
            return "token-table"
    if found == "auto" and form == "tokens" and named in (None, "txt", "csv", "tsv"):
        lines = file.first_lines(options.encoding)
        if holds_sentences(lines, named == "tsv"):
            return "tsv" if likely_delimiter(lines, named == "tsv") == "\t" else "csv"
    if found == "auto":
        if form == "questions" and named == "json" and not opening.startswith("[") and not _is_lines(opening):
            return "squad"
        if form == "tokens" and named in ("txt", "tsv", "csv"):
            named = None  # CoNLL files have these names, too
        found = _by_content(file, named, options, form)
        if found is None and form == "tokens" and inner_suffix(file.path) == ".csv":
            lines = file.first_lines(options.encoding)
            found = "csv" if "," in "".join(lines[:1]) and _names_texts(lines) else None
        if found is None and form == "tokens or texts" and named in (None, "txt", "csv", "tsv"):
            lines = file.first_lines(options.encoding)
            found = "conll" if not _names_texts(lines) and is_conll(lines, labels) else None
        if found not in (None, named) and (file.path != STDIN or found != "jsonl"):
            # that standard input holds objects is no surprise
            title = message(FORMATS[found][0])
            log.note(to_change("{name}: read as {format}", file.name, title, by=[option("format")]))
    format = found or named or ("conll" if form == "tokens" else "txt")
    if format == "txt" and form == "texts" and is_conll(file.first_lines(options.encoding), sure=True):
        log.note("{name}: its lines look like CoNLL; each is read as a text, with its tag", file.name)
    if format == "conll" and not tagged:
        hint = ["such rows are for the task tag", advise("{option} of what it is", option("format", "NAME"))]
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


def _by_content(file: TextFile, named: Format | None, options: ReadOptions, form: Form) -> Format | None:
    """What the first bytes of a file show; None where that is nothing, or nothing can be looked at."""
    if file.head.startswith(PARQUET):
        return "parquet"
    if not file.head or named in ("csv", "tsv", "conll", "parquet"):
        return None
    text = file.opening(options.encoding)
    header, _, rest = text.partition("\n")
    if form == "tokens" and _LIST.search(rest):
        names = {name.strip('" \r').lower() for name in re.split("[,;\t]", header)}
        texts, lists = {*columns.TOKENS, *columns.TEXTS}, {*columns.TAGS, *columns.SPANS}
        if (names & texts and names & lists) or label_studio.is_export(dict.fromkeys(names)):
            return "tsv" if "\t" in header else "csv"
    if _ARRAY.match(text) or _SPACY[1].match(text):
        return "json"
    if _OBJECT.match(text) or _SPACY[0].match(text):
        return "jsonl"
    if is_fasttext(text):
        return "fasttext"
    lines = file.first_lines(options.encoding)
    if form == "tokens" or named not in (None, "txt") or not _names_texts(lines, options):
        return None
    return "tsv" if "\t" in (named_delimiter(lines), likely_delimiter(lines)) else "csv"


def _names_texts(lines: Sequence[str], options: ReadOptions | None = None) -> bool:
    """Whether the first line is a header that names a text; with options one that is sure: also a label, another text
    or an id, or a text that the options name otherwise than usual."""
    delimiter = named_delimiter(lines)
    lines = lines[1:] if delimiter else lines
    line = "".join(lines[:1])
    names = {name.strip().strip('"').lower() for name in line.split(delimiter or likely_delimiter(lines))}
    text, pair = not names.isdisjoint(columns.TEXTS), any(names >= set(one) for one in columns.PAIRS)
    if options is not None:
        own = {name.lower() for name in (options.text_column, options.pair_column) if name} & names
        others = {*columns.LABELS, *columns.IDS, (options.label_column or "").lower()} - {""}
        text = not own <= {*columns.TEXTS} or (text and not names.isdisjoint(others))
    return len(names) > 1 and (text or pair)
