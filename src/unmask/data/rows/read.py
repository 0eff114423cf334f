"""read_rows: the rows of any file, or of a program, as examples.

file -> records (records.py; converters: readers/, questions.py)
     -> examples (texts.py, tagged.py, questions.py)
"""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from unmask.config import changed
from unmask.data.rows.cells.lists import with_lists
from unmask.data.rows.cells.missing import for_labels
from unmask.data.rows.cells.sentences import with_sentences
from unmask.data.rows.columns import SPANS, TAGS, TOKENS, Records
from unmask.data.rows.example import Example, RowKind
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.questions import question_examples
from unmask.data.rows.readers.accepted import without_rejected
from unmask.data.rows.readers.memory import Source
from unmask.data.rows.readers.records import BY_NAME, Form, read_records
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.tagged import span_examples, tagged_examples, token_columns
from unmask.data.rows.texts import text_examples
from unmask.data.textfiles import ReadLog, inner_suffix
from unmask.errors import UserError
from unmask.messages import Message, message

Use = Literal["train", "test", "predict"]


@dataclass(frozen=True)
class Rows:
    """The rows of one source. notes: sentences for people: what was detected, and what was left out.

    scheme: of the tags, where there are any. sha256: of the file, where it is one. columns: those that are read, by
    role (numbers from 1 in CoNLL); unused: the other ones of texts. resolved: the settings of
    reading that were detected, by which other rows are read alike.
    """

    source: str
    examples: list[Example]
    notes: tuple[str, ...] = ()
    scheme: SchemeName | None = None
    sha256: str | None = None
    columns: Mapping[str, str | int] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    resolved: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Keep Python from looking for cycles, of which rows hold none: that takes a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True)
class OpenRows:
    """The rows of one source as they are read, in bounded memory where the format allows it.

    examples: can be read once; those of a short file are a list. log: what is noted as they are read; notes and columns
    as `Rows` has them, of what was read so far.
    """

    source: str
    examples: Iterable[Example]
    log: ReadLog
    records: Records
    scheme: SchemeName | None
    unused: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether all rows were read when the source was opened."""
        return isinstance(self.examples, list)

    @property
    def rows(self) -> Rows:
        """All of them at once."""
        return Rows(
            self.source,
            list(self.examples),
            self.log.notes,
            self.scheme,
            self.records.sha256,
            self.log.columns,
            self.unused,
            self.records.resolved,
        )


def read_rows(
    source: Source,
    options: ReadOptions,
    kind: RowKind,
    use: Use = "train",
    inherited: Collection[str] = (),
    labels: Collection[str] = (),
) -> Rows:
    """The rows of a file of any format (also .gz and .zst; "-" is standard input), or of rows in memory.

    kind: what is true of a row. use: rows to train on have targets; those to test on too, but of an answer that stands
    in several places any will do; those to predict need none, and what they have is not read. inherited: settings of
    the options that were made for another file: columns that they name need not be here, and format and encoding hold
    only for files of no other kind (`records.for_file`). labels: those of a model, by which tags may be recognised.
    A row that cannot be used is a UserError that names file and line, or is left out and counted with
    on_error="skip". Raises UserError also for columns that are not there, and where no row can be used.
    """
    return open_rows(source, options, kind, use, inherited, labels).rows


@_without_collecting()
def open_rows(
    source: Source,
    options: ReadOptions,
    kind: RowKind,
    use: Use = "train",
    inherited: Collection[str] = (),
    labels: Collection[str] = (),
    stack: ExitStack | None = None,
) -> OpenRows:
    """The rows as `read_rows` gives them. stack: what closes the file in the end; to predict, the beginning of a long
    file decides how all of it is read, and the rows after it are read as they are used."""
    log, labelled, scheme = ReadLog(options.on_error), use != "predict", None
    if labelled and options.label_columns and kind not in ("label", "labels") and "label_columns" not in inherited:
        raise UserError("label_columns is for labels of whole texts", allowed="the tasks multilabel and classify")
    form: Form = "questions" if kind == "answers" else "texts"
    if tagged := kind in ("tags", "spans"):
        form = "tokens" if labelled or _has_tokens(source, options, inherited) else "tokens or texts"
    stack = None if labelled else stack
    records = read_records(source, options, log, form, labelled and kind != "pairs", inherited, labels, stack)
    whole = not records.following
    if labelled:
        records = without_rejected(records, log, [options.label_column, "answer" if form == "questions" else None])
    if tagged:
        named = (options.token_column, options.tag_column, options.label_column)
        for name in dict.fromkeys((*TOKENS, *TAGS, *SPANS, *filter(None, named))):
            records = with_lists(records, name, log, strict=False)
        records = with_sentences(records, log) if labelled else records
    examples: Iterable[Example]
    if form == "questions":
        examples = question_examples(records, log, labelled, options.answer_starts if use == "train" else "first")
    elif tagged and token_columns(records) is not None:
        examples, scheme = tagged_examples(records, log, labelled)
    elif form != "tokens":
        examples = text_examples(records, log, kind, labelled)
    else:
        records, whole = replace(records, rows=list(records.every_row()), following=()), True
        examples, scheme = span_examples(records, log, nested=kind == "spans"), "BIO"
    examples = _usable(examples, records.source, log)
    examples = list(examples) if whole else examples
    away = {*log.columns.values(), *records.extra} if form == "texts" else set(records.names)
    unused = tuple(name for name in records.names if name not in away)
    return OpenRows(records.source, examples, log, records, scheme, unused)


def _usable(examples: Iterable[Example], source: str, log: ReadLog) -> Iterator[Example]:
    """The examples. Raises UserError where there is none."""
    example = None
    for example in examples:
        yield example
    if example is None:
        first = log.first and f"skipped: {log.first.message}"
        raise UserError(f"{source} contains no usable row", given=first)


# read_rows, or what caches it
RowReader = Callable[[str, ReadOptions, RowKind, Literal["train", "test"], frozenset[str]], Rows]


def read_parts(
    sources: Mapping[str, str | None], options: ReadOptions, kind: RowKind, read: RowReader = read_rows
) -> tuple[dict[str, Rows], ReadOptions]:
    """Read train, dev and test (None: not given) as a run does, the latter two like train; also the options with what
    was detected in train."""
    train = sources["train"]
    assert train is not None
    rows = {"train": read(train, options, kind, "train", frozenset())}
    options, detected = options_like(options, rows["train"])
    heldout = for_labels(options, {label for one in rows["train"].examples for label in one.labels})
    if (dev := sources.get("dev")) is not None:
        rows["dev"] = read(dev, heldout, kind, "train", detected)
    if (test := sources.get("test")) is not None:
        rows["test"] = read(test, heldout, kind, "test", detected)
    return rows, options


def notes_of(parts: Iterable[Rows]) -> list[str]:
    """The notes on several files; what is the same of them in one, `train.csv, test.csv: ...`, but for counts."""
    sources: dict[str, list[str]] = {}
    notes: dict[str, str] = {}
    for part in parts:
        for note in part.notes:
            key = note if _counts(note) else note.replace(part.source, "\0", 1)
            notes.setdefault(key, note)
            sources.setdefault(key, []).append(part.source)
    return [_with_source(note, sources[key][0], ", ".join(sources[key])) for key, note in notes.items()]


def _counts(note: Any) -> bool:
    """Whether a note has a number of rows or the like."""
    return isinstance(note, Message) and (":,}" in note.template or any(map(_counts, note.values.values())))


def _with_source(note: Any, source: str, sources: str) -> Any:
    """A note that names other sources."""
    if not isinstance(note, Message):
        return sources if note == source else note
    return message(note.template, *(_with_source(value, source, sources) for value in note.values.values()))


def options_like(options: ReadOptions, train: Rows) -> tuple[ReadOptions, frozenset[str]]:
    """How to read other rows as the training rows, and which of these settings were detected in those: the columns, the
    separator of labels, and plain tags, which may look like those of another scheme where they are few."""
    detected = {name: value for name, value in train.resolved.items() if name not in options.changed}
    detected |= {"scheme": "plain"} if train.scheme == "plain" else {}
    return changed(options, **detected), frozenset(detected)


def _has_tokens(source: Source, options: ReadOptions, inherited: Collection[str]) -> bool:
    """Whether rows to predict are CoNLL or have lists of tokens: so the options or the name of the file say."""
    own = options.changed.keys() - set(inherited)
    formats = {options.format if "format" in own else None}
    formats |= {BY_NAME.get(inner_suffix(source))} if isinstance(source, str | Path) else set()
    return "conll" in formats or not own.isdisjoint(("token_column", "tag_column"))
