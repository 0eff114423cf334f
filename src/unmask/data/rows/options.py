"""ReadOptions: how to read a file of rows."""

from dataclasses import fields
from typing import Any, Literal

from unmask.config import config, setting
from unmask.data.rows.schemes import SchemeName
from unmask.data.textfiles import OnError

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "label-studio", "parquet", "txt", "conll"]
UnknownLabels = Literal["stop", "skip", "wrong"]
Starts = Literal["given", "first"]


@config
class ReadOptions:
    """How to read rows: columns, tags, format, encoding, and rows that cannot be used."""

    text_column: str | None = setting(default=None, description="column of the text; detected by its name if not given")
    pair_column: str | None = setting(default=None, description="column of the second text of a pair")
    label_column: str | None = setting(
        default=None, description="column of the label; detected by its name if not given"
    )
    label_separator: str | None = setting(
        default=None, description="separator of several labels in one field; detected if not given"
    )
    token_column: str | None = setting(
        default=None, description="column of the tokens in CoNLL: number (from 1) or name; the first if not given"
    )
    tag_column: str | None = setting(
        default=None, description="column of the tags in CoNLL: number (-1: the last) or name; the last if not given"
    )
    scheme: Literal["auto", SchemeName] = setting(
        default="auto", description="tag scheme of CoNLL; auto: detected and reported"
    )
    on_error: OnError = setting(
        default="stop", description="a row that cannot be read: stop, or skip it and report how many"
    )
    format: Format = setting(
        default="auto", description="format of the files; auto: detected from content and name, and reported"
    )
    encoding: str | None = setting(
        default=None, description="encoding of the files; UTF-8 if not given, or UTF-16 or GB18030 where detected"
    )
    unknown_labels: UnknownLabels | None = setting(
        default=None,
        description="a dev or test row with a new label: stop, skip, or count as wrong; as on_error if not given",
    )
    answer_starts: Starts = setting(
        default="given", description="an answer in several places, none at its start: stop, or take the first"
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
