"""Labelled data: rows of CSV, TSV and JSON lines (or plain lines of text) as examples, checked and split.

Which columns hold the text, a second text and the label is guessed from their names, and said; `Columns`
overrides the guess.
"""

import hashlib
import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unmask import console
from unmask.config import config, setting
from unmask.data import encodings
from unmask.data.delimited import csv_records, read_rows
from unmask.data.labels import LabelKind, Truth, report_unknown, separator_of, strata, with_truth
from unmask.data.textfiles import (
    STDIN,
    Faults,
    OnError,
    kind_of,
    name_of,
    open_text,
    read_objects,
)
from unmask.errors import UserError, closest

PAIRS = (
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question", "context"),
    ("question", "answer"),
    ("query", "passage"),
    ("anchor", "positive"),
)
TEXTS = (
    "text",
    "sentence",
    "content",
    "review",
    "document",
    "body",
    "comment",
    "tweet",
    "message",
    "utterance",
    "headline",
    "abstract",
    "description",
    "question",
    "title",
)
LABELS = (
    "label",
    "category",
    "class",
    "target",
    "sentiment",
    "topic",
    "intent",
    "gold_label",
    "rating",
    "stars",
    "score",
    "similarity",
)
DELIMITERS = ",\t;"  # the first is also what a header without any of them is read with


@config
class Columns:
    """The names of the columns that hold the text, the second text of a pair and the label; None: guessed."""

    text: str | None = setting(
        default=None, description="Column of the text; guessed from its name when not given"
    )
    pair: str | None = setting(
        default=None, description="Column of the second text, where the task is about two"
    )
    label: str | None = setting(
        default=None, description="Column of the label; guessed from its name when not given"
    )
    separator: str | None = setting(
        default=None, description="What stands between several labels in one field; found out when not given"
    )


@dataclass(frozen=True, order=True)
class Span:
    """A labelled stretch of a text: the characters from `start` up to, but without, `stop`."""

    start: int
    stop: int
    label: str


@dataclass(frozen=True, order=True)
class Reference:
    """A right answer to a question: a stretch of its context, from the character `start` on."""

    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


Unknown = Literal["stop", "skip", "wrong"]
"""What becomes of a row with a label that a model does not know: an error, left out, or counted as wrong."""


@dataclass(frozen=True)
class Example:
    """One row. It begins on `line` (from 1) of `source`; rows of one `group` stay together in a split.

    What is true of it is `label`; or `label_set`, sorted, where it may have any number of labels; or `number`. For
    sequence labelling `spans` are the tags, sorted, without overlap save where a task asked for nested ones (then those
    around others come first); `tokens` the character bounds of the given tokens (None for running text). For answering
    `text` is a question and `pair` the context; `answers` are those that are right, empty where the context does not
    answer it (None: not known). `negative`: for vectors of texts, one that `text` is to be told apart from.
    """

    id: str
    text: str
    pair: str | None
    label: str | None
    line: int
    source: str
    group: str | None = None
    spans: tuple[Span, ...] | None = None
    tokens: tuple[tuple[int, int], ...] | None = None
    label_set: tuple[str, ...] | None = None
    number: float | None = None
    answers: tuple[Reference, ...] | None = None
    negative: str | None = None

    @property
    def labels(self) -> set[str]:
        """Its label or labels, or those of its spans."""
        one = set() if self.label is None else {self.label}
        return {span.label for span in self.spans or ()} | one | set(self.label_set or ())

    @property
    def truth(self) -> Truth | None:
        """What is true of the whole row: its label, its labels, or its number."""
        return next((one for one in (self.label, self.label_set, self.number) if one is not None), None)

    @property
    def bare(self) -> "Example":
        """The same without anything that is to be predicted."""
        return replace(self, label=None, label_set=None, number=None, spans=None, answers=None, negative=None)

    def only(self, known: Collection[str]) -> "Example":
        """The same without the labels that are not among these."""
        if self.labels <= set(known):
            return self
        spans = None if self.spans is None else tuple(span for span in self.spans if span.label in known)
        several = None if self.label_set is None else tuple(x for x in self.label_set if x in known)
        return replace(
            self, label=self.label if self.label in known else None, label_set=several, spans=spans
        )

    @property
    def place(self) -> str:
        return f"{self.source}, line {self.line:,}"


@dataclass(frozen=True)
class _Chosen:
    """Which column is which, by the names in the file."""

    text: str
    pair: str | None
    label: str | None
    id: str | None
    group: str | None
    negative: str | None


def read_examples(
    path: str | Path,
    *,
    columns: Columns | None = None,
    on_error: OnError = "stop",
    require_labels: bool = False,
    encoding: str | None = None,
    kind: LabelKind | None = "label",
) -> list[Example]:
    """The rows of a .csv, .tsv or .jsonl file (also .gz, .zst); "-" and other files are one text a line.

    Standard input is JSON lines if its first line is an object. Labels are text as written: `1`, `true`.
    kind: what the column of the label holds: one label, any number of labels (a list, or text with a separator),
    or a number; None: what does not matter.
    encoding: of the file; without it UTF-8, and UTF-16 or GB18030 where they are found out.
    A row without text, with another number of fields, or (`require_labels`) without label is a UserError that
    names the line, or is left out and counted with on_error="skip". Raises UserError also for columns that
    are not there or not told by their names, and for files that hold no rows.
    """
    columns, source, faults = columns or Columns(), name_of(path), Faults(on_error)
    rows = list(records(path, faults, encoding))
    if not rows:
        raise UserError(
            f"{source} holds no rows",
            left_out=faults.count or None,
            the_first=faults.first and faults.first.what,
        )
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    chosen = _choose(source, names, columns, require_labels)
    separator = columns.separator
    if kind == "labels" and separator is None and chosen.label is not None:
        separator = separator_of([row.get(chosen.label) for _, row in rows], source)
    examples = []
    for line, row in rows:
        try:
            example = _example(row, chosen, line, source)
            if chosen.label is not None and kind is not None:
                example = with_truth(example, row.get(chosen.label), kind, separator, chosen.label)
            if example.truth is None and require_labels:
                raise UserError(
                    f"{source}, line {line:,} has no label", allowed=f"a value in column {chosen.label!r}"
                )
            examples.append(example)
        except UserError as error:
            faults.found(error)
    faults.report()
    if not examples:
        raise UserError(
            f"{source} holds no row that can be used", the_first=faults.first and faults.first.what
        )
    return examples


def records(path: str | Path, faults: Faults, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, column -> value) of any kind of file."""
    kind = kind_of(path)
    if kind == "jsonl" or (str(path) == STDIN and stdin_is_jsonl(encoding)):
        yield from read_objects(path, faults, encoding)
    elif kind == "txt":
        for line, text in open_text(path, faults, encoding):
            if text.strip():
                yield line, {"text": text}
    else:
        read = read_rows if kind == "tsv" else _csv_rows
        header: list[str] = []
        for line, row in read(path, faults, encoding):
            if header:
                yield line, dict(zip(header, row, strict=True))
            else:
                header = _checked_header(path, line, row)


def stdin_is_jsonl(encoding: str | None = None) -> bool:
    """Whether the first line of standard input is a JSON object; nothing is taken from it."""
    head: bytes = sys.stdin.buffer.peek(1)  # type: ignore[union-attr]
    first, end, _ = encodings.opening(head, encoding).lstrip().partition("\n")
    if not end and first.startswith("{"):
        return True
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


def _checked_header(path: str | Path, line: int, row: Sequence[str]) -> list[str]:
    header = [name.strip() for name in row]
    twice = [name for name, times in Counter(header).items() if times > 1 and name]
    if twice:
        raise UserError(
            f"{name_of(path)}, line {line:,}: two columns are called {twice[0]!r}",
            columns_found=", ".join(header),
            to_do="give every column a name of its own",
        )
    return header


def _csv_rows(path: str | Path, faults: Faults, encoding: str | None) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line each begins on, the header first; that tells the separator."""
    lines = open_text(path, faults, encoding)
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    delimiter = max(DELIMITERS, key="".join(first[1].split('"')[::2]).count)
    width = 0
    for line, fields in csv_records(name_of(path), itertools.chain([first], lines), delimiter, faults):
        width = width or len(fields)
        if len(fields) == width:
            yield line, fields
            continue
        found = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        faults.found(
            UserError(
                f"{name_of(path)}, line {line:,} has {found}, the header has {width}",
                given=_excerpt(delimiter.join(fields)),
                allowed="as many fields in every row; a field that holds the separator stands in quotes",
            )
        )


def _excerpt(text: str) -> str:
    return text.strip() if len(text) <= 70 else text[:67].strip() + "..."


def _choose(source: str, names: Sequence[str], columns: Columns, require_labels: bool) -> _Chosen:
    """The columns as named, else as their names tell; says what was guessed."""
    for given, option in ((columns.text, "text"), (columns.pair, "pair"), (columns.label, "label")):
        if given is not None and given not in names:
            raise UserError(
                f"{source} has no column {given!r}",
                columns_found=", ".join(names),
                did_you_mean=closest(given, names),
                to_choose=f"--{option}-column NAME",
            )
    known = {name.lower(): name for name in reversed(names) if name not in (columns.pair, columns.label)}
    text, pair = columns.text, columns.pair
    if text is None and pair is None:
        both = next((both for both in PAIRS if known.keys() >= set(both)), None)
        if both is not None:
            text, pair = known[both[0]], known[both[1]]
    text = text or next((known[name] for name in TEXTS if name in known), None)
    if text is None:
        raise UserError(
            f"{source}: no column is named like a text",
            columns_found=", ".join(names),
            known_names=", ".join(TEXTS) + "; in pairs " + ", ".join("+".join(both) for both in PAIRS[:4]),
            to_choose="--text-column NAME (and --label-column NAME)",
            if_these_are_no_names="the file has no header: write one as its first line, such as text,label",
        )
    used = {text, pair}
    label = columns.label or next(
        (known[name] for name in LABELS if name in known and known[name] not in used), None
    )
    if label is None and require_labels:
        raise UserError(
            f"{source}: no column is named like a label",
            columns_found=", ".join(names),
            known_names=", ".join(LABELS),
            to_choose="--label-column NAME",
        )
    _say_guess(source, columns, text, pair, label)
    return _Chosen(text, pair, label, known.get("id"), known.get("group"), known.get("negative"))


def _say_guess(source: str, columns: Columns, text: str, pair: str | None, label: str | None) -> None:
    """Remark which columns were taken, unless they are called `text` and `label`, which needs no saying."""
    guessed = []
    if columns.text is None and (text != "text" or pair is not None):
        guessed.append(f"text from {text!r}" + (f" and {pair!r}" if pair and columns.pair is None else ""))
    if columns.label is None and label not in (None, "label"):
        guessed.append(f"label from {label!r}")
    if guessed:
        console.remark(f"{source}: {', '.join(guessed)} (to change: --text-column, --label-column)")


def _example(row: dict[str, Any], chosen: _Chosen, line: int, source: str) -> Example:
    where = f"{source}, line {line:,}"
    given_id = row.get(chosen.id) if chosen.id else None
    group = row.get(chosen.group) if chosen.group else None
    negative = row.get(chosen.negative) if chosen.negative else None
    return Example(
        id=str(line) if given_id in (None, "") else str(given_id),
        text=_text(row, chosen.text, where),
        pair=None if chosen.pair is None else _text(row, chosen.pair, where),
        label=None,
        line=line,
        source=source,
        group=None if group in (None, "") else str(group),
        negative=negative if isinstance(negative, str) and negative.strip() else None,
    )


def _text(row: dict[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if value is None and column not in row:
        raise UserError(f"{where} has no {column!r}", columns_found=", ".join(row))
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{where}: the text is empty", given=f"column {column!r}")
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} is not text", given=_excerpt(json.dumps(value)))
    return value


def check_labels(
    examples: Sequence[Example],
    known: Iterable[str],
    of: str = "the training data",
    unknown: Unknown = "stop",
) -> list[Example]:
    """The examples whose labels are among `known`, the labels of `of` (a file or a model).

    Raises UserError for the first label that is not; unknown="skip" leaves such rows out, "wrong" keeps them,
    and both say how many. A row of which nothing is known to be true is never kept.
    """
    allowed = set(known)
    if unknown == "wrong":
        strange = Counter(label for example in examples for label in example.labels - allowed)
        report_unknown(strange, of)
        allowed |= set(strange)
        unknown = "stop"
    faults, kept = Faults(unknown), []
    for example in examples:
        new = min(example.labels - allowed, default=None)
        if new is None and example.truth is not None:
            kept.append(example)
            continue
        shown = sorted(allowed)
        what = "has no label" if new is None else f'label "{new}" is not among'
        what += "" if new is None else f" the {len(allowed):,} labels of {of}"
        faults.found(
            UserError(
                f"{example.place}: {what}" if new is not None else f"{example.place} {what}",
                did_you_mean=closest(new or "", allowed),
                allowed=", ".join(shown[:16]) + (", ..." if len(shown) > 16 else ""),
            )
        )
    faults.report()
    if examples and not kept:
        raise UserError(
            f"{examples[0].source}: no row is left, because {of} knows the labels of none",
            allowed=", ".join(sorted(allowed)[:16]),
        )
    return kept


def split(
    examples: Sequence[Example], share: float, seed: int = 0, by_group: bool = True, sample: bool = False
) -> tuple[list[Example], list[Example]]:
    """Hold out `share` (0 to 1) of the rows: (the rest, the held-out rows), each in the order given.

    Stratified by label (`strata`). Rows with the same text, or (`by_group`) of the same group, stay together.
    Which rows are held out depends on the texts and the seed, not on their order. A label is never held out whole,
    save one that always stands beside another in its group; in a `sample` of rows it may be. Raises UserError where
    there are too few rows.
    """
    if not 0 < share < 1:
        raise UserError(f"a share of {share} cannot be held out", allowed="more than 0 and less than 1")
    of_row = strata([example.truth for example in examples])
    parts: dict[str, list[list[int]]] = defaultdict(list)
    for bundle in _bundles(examples, by_group):
        labels = Counter(of_row[index] for index in bundle)
        parts[min(labels, key=lambda label: (-labels[label], label))].append(bundle)
    if sample:
        rare = [label for label, bundles in parts.items() if len(bundles) == 1]
        parts[""] += [bundle for label in rare if label for bundle in parts.pop(label)]
    held: set[int] = set()
    carried = 0.0  # rows that rounding left out so far: small strata together get their share
    for label in sorted(parts):
        ordered = sorted(parts[label], key=lambda bundle: min(_hash(examples[i], seed) for i in bundle))
        target, taken = share * sum(map(len, ordered)) + carried, 0
        for bundle in ordered[:-1]:
            if taken + len(bundle) / 2 <= target:
                held.update(bundle)
                taken += len(bundle)
        carried = target - taken
    if len(parts) == len(examples) > 2:
        raise UserError(
            f"each of the {len(examples):,} rows has a label of its own",
            given=f"{of_row[0]!r}, {of_row[1]!r}, ...",
            to_do="check the label column (--label-column)",
            if_these_are_numbers_to_predict="task.target=number",
        )
    if not held:
        raise UserError(
            f"{len(examples):,} rows are too few to hold out {share:.0%} of them",
            given=f"{len({(e.text, e.pair) for e in examples}):,} different texts; equal ones stay together",
            to_do="give more rows, or a file of their own to evaluate on",
        )
    rest = [example for index, example in enumerate(examples) if index not in held]
    return rest, [example for index, example in enumerate(examples) if index in held]


def _bundles(examples: Sequence[Example], by_group: bool) -> list[list[int]]:
    """Places of rows that must stay together: of one text (and pair), of one group, and chains of both."""
    parent = list(range(len(examples)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str | None, ...], int] = {}
    for index, example in enumerate(examples):
        keys: list[tuple[str | None, ...]] = [("text", example.text, example.pair)]
        if by_group and example.group is not None:
            keys.append(("group", example.group))
        for key in keys:
            parent[root(index)] = root(first.setdefault(key, index))
    bundles: dict[int, list[int]] = defaultdict(list)
    for index in range(len(examples)):
        bundles[root(index)].append(index)
    return list(bundles.values())


def _hash(example: Example, seed: int) -> bytes:
    content = json.dumps([seed, example.text, example.pair], ensure_ascii=True)
    return hashlib.sha256(content.encode()).digest()
