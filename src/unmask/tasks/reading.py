"""Reading of rows by the kind of their targets. (It goes to data/rows.)"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from unmask.data.rows.columns import Columns, TagColumns
from unmask.data.rows.conll import check_tags, read_tagged
from unmask.data.rows.labels import with_similarity
from unmask.data.rows.memory import Source
from unmask.data.rows.records import FormatOrAuto, format_by_name
from unmask.data.rows.schemes import SchemeName
from unmask.data.rows.squad import AnswerStarts, read_questions
from unmask.data.rows.tables import Example, UnknownLabels, check_labels, read_examples
from unmask.data.textfiles import OnError
from unmask.errors import UserError


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file of examples: its kind, its columns, how tags are written, its encoding (None: detected),
    what to do with what cannot be read, and with test labels that the model does not know (None: as on_error says);
    where answers stand that occur several times.
    """

    columns: Columns = field(default_factory=Columns)
    tags: TagColumns = field(default_factory=TagColumns)
    scheme: SchemeName | Literal["auto"] = "auto"
    on_error: OnError = "stop"
    encoding: str | None = None
    unknown_labels: UnknownLabels | None = None
    answer_starts: AnswerStarts = "given"
    format: FormatOrAuto = "auto"

    @property
    def resolved_unknown_labels(self) -> UnknownLabels:
        return self.unknown_labels or self.on_error


class Reading:
    """What a task reads its examples with. reads: the kind of their targets."""

    reads: ClassVar[Literal["label", "labels", "number", "tags", "spans", "answers", "pairs"]]
    labels: list[str]

    @classmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples with their labels. Raises UserError naming file and line."""
        if cls.reads in ("tags", "spans"):
            return read_tagged(
                path,
                columns=read_options.tags,
                names=read_options.columns,
                scheme=read_options.scheme,
                on_error=read_options.on_error,
                require_tags=True,
                encoding=read_options.encoding,
                format=read_options.format,
                nested=cls.reads == "spans",
            ).examples
        if cls.reads == "answers":
            return _questions(path, read_options, True, read_options.answer_starts)
        if cls.reads == "pairs":
            examples = read_examples(path, **_shared(read_options))
            return [
                replace(example, group=example.text) if example.group is None and example.number is None else example
                for example in with_similarity(examples, read_options.columns.label, read_options.on_error)
            ]
        kind: Any = cls.reads
        return read_examples(path, require_labels=True, kind=kind, **_shared(read_options))

    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples to evaluate on: with labels, tagged as the training data are."""
        if self.reads == "answers":
            return _questions(path, read_options, True, "first")
        if getattr(self, "tags_every_token", False) and read_options.scheme == "auto":
            read_options = replace(read_options, scheme="plain")
        return self.read(path, read_options)

    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """Examples to predict: labels, where there are any, are not needed."""
        if self.reads == "answers":
            return _questions(path, read_options, False, "first")
        if self.reads not in ("tags", "spans"):
            return read_examples(path, kind=None, **_shared(read_options))
        kind = format_by_name(path) if read_options.format == "auto" else read_options.format
        if kind == "conll" or read_options.tags.token is not None or read_options.tags.tag is not None:
            return read_tagged(
                path,
                columns=read_options.tags,
                scheme="plain",
                on_error=read_options.on_error,
                encoding=read_options.encoding,
                say_tags=False,
                format="conll" if kind == "conll" else read_options.format,
            ).examples
        return read_examples(path, **_shared(read_options))

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """The examples whose labels are among these, those of `owner`."""
        if cls.reads in ("tags", "spans"):
            return check_tags(examples, labels, owner, unknown)
        if cls.reads in ("label", "labels"):
            return check_labels(examples, labels, owner, unknown)
        if cls.reads == "pairs":
            check_pairs(examples)
        return list(examples)

    def check_own_labels(
        self, examples: Sequence[Example], owner: str = "the training data", unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """The same for the labels of the task."""
        return self.check_labels(examples, self.labels, owner, unknown)


def _shared(read_options: ReadOptions) -> dict[str, Any]:
    names = ("columns", "on_error", "encoding", "format")
    return {name: getattr(read_options, name) for name in names}


def _questions(
    path: Source, read_options: ReadOptions, answers: bool, starts: Literal["given", "first"]
) -> list[Example]:
    return read_questions(path, require_answers=answers, starts=starts, **_shared(read_options))


def check_pairs(examples: Sequence[Example]) -> None:
    """Raises UserError where rows are not all pairs, or some have scores and others not."""
    scored = any(example.number is not None for example in examples)
    for example in examples:
        if example.pair is None:
            raise UserError(
                f"{example.location} has one text, where two are needed",
                allowed="pairs, such as text_a,text_b; with a column `score`, or without",
                to_do="--pair-column NAME; for task.loss=unsupervised, data.dev=FILE with pairs to choose by",
            )
        if scored and example.number is None:
            raise UserError(f"{example.location} has no score, but other rows have")
