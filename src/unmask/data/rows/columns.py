"""Records, the rows of one source as column -> value, and which of their columns holds the text, the label, the tokens.

An option names a column; else the names that such columns usually have decide. Names are compared in lower case; the
first of a list that is there is taken.
"""

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NoReturn

from unmask.advice import option, to_change
from unmask.data.rows.options import ReadOptions
from unmask.data.tables import Row
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import join, message

Role = Literal["text", "pair", "label", "token", "tag"]

PAIRS = tuple(
    tuple(pair.split("+"))
    for pair in "text_a+text_b text1+text2 text_1+text_2 sentence1+sentence2 sentence_a+sentence_b premise+hypothesis "
    "question1+question2 query1+query2 question+sentence question+passage question+context question+answer "
    "query+passage query+positive "
    "anchor+positive 文本1+文本2 句子1+句子2 问题1+问题2 前提+假设 问题+答案 问题+回答".split()
)
TEXTS = tuple(
    "text sentence content review document body comment comment_text tweet message utterance headline abstract "
    "description question title 文本 正文 内容 句子 评论 评价 文章 留言 描述 问题 标题 data text_a".split()
)
LABELS = tuple(
    "label category class target sentiment topic intent gold_label rating stars score similarity labels "
    "标签 类别 分类 类型 情感 意图 主题 评分".split()
)
SPANS = ("spans", "entities", "labels", "label", "实体", "标签")
TOKENS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "pos_tags", "upos", "labels", "label")
IDS = ("id", "编号")
NEGATIVES = ("negative", "hard_negative", "负例")
GROUPS = ("group", "分组")
# not noted as not used: what identifies rows, and columns of our own split files
UNSAID = {
    *IDS,
    "idx",
    "index",
    "guid",
    "uid",
    "line",
    "source",
    "tokens",
    "span_offsets",
    "",
    "unnamed: 0",
}
SHOWN = 8  # columns in a note


@dataclass(frozen=True)
class Records:
    """(line, column -> value) of each row of a source, and how its options name the columns.

    inherited: settings of the options that were made for another file: a column that they name need not be here.
    annotated: the columns that hold annotations, where the format says so. places: what to call a row, where that is
    not its line. sha256: of the file, where it is one. resolved: the settings of reading by which the columns were
    read, as far as these were detected. following: the rows of a long file after `rows`, which alone decide how all are
    read; they can be read once.
    """

    source: str
    rows: list[Row]
    options: ReadOptions
    inherited: Collection[str] = ()
    annotated: tuple[str, ...] = ()
    places: Mapping[int, str] = field(default_factory=dict)
    sha256: str | None = None
    resolved: dict[str, str] = field(default_factory=dict)
    following: Iterable[Row] = ()

    @cached_property
    def names(self) -> list[str]:
        """Of the columns, in the order in which they turn up."""
        return list(dict.fromkeys(name for _, row in self.rows for name in row))

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the option `label_columns` lists; a name with a comma stands in quotes."""
        fields = next(csv.reader([self.options.label_columns or ""], skipinitialspace=True), [])
        return tuple(name.strip() for name in fields if name.strip())

    def every_row(self) -> Iterator[Row]:
        """All rows, once."""
        return chain(self.rows, self.following)

    def place(self, line: int) -> str:
        """What to call a row in messages."""
        return self.places.get(line) or f"{self.source}, line {line:,}"

    def named(self, role: Role) -> str | None:
        """The column that an option names. Raises UserError where it is not there."""
        name: str | None = getattr(self.options, f"{role}_column")
        if name is None or name in self.names:
            return name
        if f"{role}_column" in self.inherited:
            return None
        raise UserError(
            f"{self.source} has no column {name!r}",
            allowed=", ".join(self.names),
            hint=[did_you_mean(suggest(name, self.names)), option(f"{role}_column", "NAME")],
        )

    def usual(self, usual: Iterable[str], other_than: Collection[str | None] = ()) -> str | None:
        """The first of the usual names that a column has."""
        written = {name.lower(): name for name in reversed(self.names) if name not in other_than}
        return next((written[name] for name in usual if name in written), None)

    def required(self, role: Role, usual: Sequence[str], other_than: Collection[str | None] = ()) -> str:
        """The column as named, or by its usual names. Raises UserError where there is none."""
        found = self.named(role) or self.usual(usual, other_than)
        return self.missing(role, usual) if found is None else found

    def missing(self, role: Role, usual: Sequence[str], hint: str | None = None) -> NoReturn:
        """Raises the UserError for a column that neither an option nor its name tells. hint: another way out."""
        raise UserError(
            "{file}: no column is named like a {role}",
            self.source,
            role if role == "tag" else usual[0],
            given=", ".join((role == "label" and self.annotated) or self.names),
            allowed=", ".join(usual),
            hint=[hint, option(f"{role}_column", "NAME"), "a file without a header needs one, such as text,label"],
        )

    def holds_spans(self, name: str) -> bool:
        """Whether a column holds lists of lists or objects, such as spans."""
        lists = (row[name] for _, row in self.rows if isinstance(row.get(name), list))
        return any(isinstance(one, list | dict) for values in lists for one in values)

    def texts(self) -> tuple[str, str | None]:
        """The columns of the text and, where there is one, of the second text."""
        text, pair, away = self.named("text"), self.named("pair"), {self.options.label_column, *self.label_names}
        if text is None and pair is None:
            lower = {name.lower(): name for name in reversed(self.names) if name not in away}
            both = next((both for both in PAIRS if lower.keys() >= set(both)), None)
            if both is not None:
                return lower[both[0]], lower[both[1]]
        return text or self.required("text", TEXTS, (pair, *away)), pair

    def labels(self, usual: Sequence[str], other_than: Collection[str | None]) -> str | None:
        """The column of the labels or spans."""
        label = self.named("label")
        if label is None and self.annotated:
            fitting = [one for one in self.annotated if self.holds_spans(one) == (usual == SPANS)] or self.annotated
            others = {*self.names} - {*fitting} | {*other_than}
            return fitting[0] if len(fitting) == 1 else self.usual(usual, others)
        return label or self.usual(usual, other_than)

    def note_detected(self, log: ReadLog, **columns: str | None) -> None:
        """Note which columns were detected, by role; not those that are called as their role (or spans)."""
        log.columns |= {role: name for role, name in columns.items() if name is not None}
        options = {role: getattr(self.options, f"{role}_column") for role in columns}
        absent = [name for role, name in options.items() if columns[role] and name not in (None, columns[role])]
        absent = [] if self.names == ["text"] else absent  # so also plain text
        found = {
            role: name
            for role, name in columns.items()
            if name is not None and ((name not in (role, "spans") and options[role] is None) or options[role] in absent)
        }
        if absent:
            text = "{source} has no column {column!r}, as the training rows had"
            log.note(text, self.source, ", ".join(absent))
        note_columns(log, self.source, **found)
        self.resolved.update({f"{role}_column": name for role, name in columns.items() if name is not None})

    def note_unused(self, log: ReadLog, used: Iterable[str | None]) -> None:
        """Note the columns that are not among those used, save those that identify or group rows."""
        groups = {self.usual(GROUPS), *used}
        names = [name for name in self.names if name not in groups and name.strip().lower() not in UNSAID]
        if names:
            listed = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            log.note("{source}: columns not used: {names}", self.source, listed)

    @property
    def extra(self) -> set[str | None]:
        """The columns that tell of a row what is neither text nor label: its id, its group, a negative."""
        return {self.usual(IDS), self.usual(GROUPS), self.usual(NEGATIVES)}

    def about(self, groups: Sequence[str] = GROUPS) -> Callable[[int, Mapping[str, Any]], dict[str, Any]]:
        """Line and row -> id, group and place of an example."""
        identity, group = self.usual(IDS), self.usual(groups)

        def about(line: int, row: Mapping[str, Any]) -> dict[str, Any]:
            name = text_or_none(cell(row, identity)) or str(line)
            return {"id": name, "group": text_or_none(cell(row, group)), "line": line, "source": self.source}

        return about


def note_columns(log: ReadLog, source: str, **columns: str | int | None) -> None:
    """Note which columns are read, by role."""
    log.columns |= {role: name for role, name in columns.items() if name is not None}
    found = {role: message("{role} column {name!r}", message(role), name) for role, name in columns.items() if name}
    if found:
        options = [option(f"{role}_column") for role in found]
        log.note(to_change("{source}: {columns}", source, join(found.values(), ", "), by=options))


def text_in(row: Mapping[str, Any], column: str, where: str) -> str:
    """The text in a column of a row. Raises UserError where there is none."""
    value = row.get(column)
    if value is None and column not in row:
        raise UserError("{where} has no {column!r}", where, column, given=", ".join(row))
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UserError("{where}: {column!r} is empty", where, column)
    if not isinstance(value, str):
        raise UserError("{where}: {column!r} is not text", where, column, given=excerpt(value))
    return value


def cell(row: Mapping[str, Any], column: str | None) -> Any:
    """The value in a column that need not be there."""
    return None if column is None else row.get(column)


def text_or_none(value: Any) -> str | None:
    """A value such as an id as text; None where it is missing."""
    return None if value in (None, "") else str(value)


def excerpt(value: Any) -> str:
    """The beginning of a value, for messages."""
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
