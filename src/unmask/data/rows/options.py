"""ReadOptions: how to read a file of rows."""

from dataclasses import fields
from typing import Any, Literal

from unmask.config import config, setting
from unmask.data.rows.schemes import SchemeName
from unmask.data.textfiles import OnError

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll", "fasttext", "brat"]
UnknownLabels = Literal["stop", "skip", "wrong"]
Starts = Literal["given", "first"]
SpanOffsets = Literal["auto", "characters", "utf-16", "bytes"]


@config
class ReadOptions:
    """How to read rows: columns, tags, format, encoding, and rows that cannot be used."""

    text_column: str | None = setting(default=None, description="column of the text; default: detected by its name")
    pair_column: str | None = setting(default=None, description="column of the second text of a pair")
    label_column: str | None = setting(default=None, description="column of the label; default: detected by its name")
    label_separator: str | None = setting(
        default=None, description="separator of several labels in one field; default: detected"
    )
    label_columns: str | None = setting(
        default=None,
        description="columns of 0 and 1, one for each label, or the labels of the places of a multi-hot list",
    )
    missing_labels: str | None = setting(
        default=None,
        description="values that stand for no label, separated by commas; such rows are skipped; default: detected",
    )
    token_column: str | None = setting(
        default=None, description="column of the tokens in CoNLL: number (from 1) or name; default: the first"
    )
    tag_column: str | None = setting(
        default=None, description="column of the tags in CoNLL: number (-1: the last) or name; default: the last"
    )
    scheme: Literal["auto", SchemeName] = setting(
        default="auto", description="tag scheme of CoNLL; auto: detected and reported"
    )
    span_offsets: SpanOffsets = setting(
        default="auto",
        description="unit of span offsets; auto: detected by the text beside the spans, characters where there is none",
    )
    on_error: OnError = setting(
        default="stop", description="a row that cannot be read: stop, or skip it and report how many"
    )
    format: Format = setting(
        default="auto", description="format of the files; auto: detected from content and name, and reported"
    )
    encoding: str | None = setting(
        default=None, description="encoding of the files; default: UTF-8, or UTF-16 or GB18030 if detected"
    )
    unknown_labels: UnknownLabels | None = setting(
        default=None,
        description="a dev or test row with a new label: stop, skip, or count as wrong; default: as on_error",
    )
    answer_starts: Starts = setting(
        default="given", description="an answer that occurs several times, not at answer_start: stop, or use the first"
    )

    @property
    def unknown(self) -> UnknownLabels:
        """What becomes of a row with a label that a model does not have."""
        return self.unknown_labels or self.on_error

    @property
    def changed(self) -> dict[str, Any]:
        """The settings of reading that differ from their defaults."""
        plain = ReadOptions()
        names = (one.name for one in fields(plain))
        return {name: value for name in names if (value := getattr(self, name)) != getattr(plain, name)}


@config
class DataSettings:
    """Settings of reading that stand beside no recipe, as `data.key=value`."""

    data: ReadOptions = setting(default_factory=ReadOptions, description="how to read rows")
