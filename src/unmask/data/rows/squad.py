"""Questions on texts: SQuAD JSON (v1 and v2, Rajpurkar et al. 2016, 2018), and rows of CSV, TSV and JSON lines.

A question is an `Example`: `text` the question, `pair` the context, `answers` what is right, each with the
character of the context that it begins with; none where the context does not answer it.

    {"data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [{"id": "1", "question": "...",
        "answers": [{"text": "...", "answer_start": 17}], "is_impossible": false}]}]}]}

    {"question": "...", "context": "...", "answers": [{"text": "...", "answer_start": 17}]}      a line of JSON
    question,context,answer                                                                      a header of CSV
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unmask import console
from unmask.data.rows.memory import Rows, Source
from unmask.data.rows.records import FormatOrAuto, detect_format, format_by_name, read_records, starts_with_bracket
from unmask.data.rows.tables import Columns, Example, ReferenceAnswer
from unmask.data.textfiles import Faults, OnError, display_name, open_text
from unmask.errors import UserError, suggest

QUESTIONS = ("question", "query")
CONTEXTS = ("context", "passage", "paragraph", "document", "text")
ANSWERS = ("answers", "answer")
STARTS = ("answer_start", "start")
FORM = '[{"text": "...", "answer_start": 17}, ...], or the text alone where it stands once; [] for no answer'
SHOWN = 60  # characters of a value in a message

AnswerStarts = Literal["given", "first"]
"""Where an answer stands that is not where its start says, or has none: `given`: where it stands if that is one
place, else an error; `first`: the first place."""


@dataclass(frozen=True)
class _Question:
    """One question as the file has it. where: how to call it; answers: not yet checked, None where there are none."""

    where: str
    line: int
    id: str | None
    question: Any
    context: Any
    answers: Any
    start: Any = None  # of an answer that is text alone
    impossible: bool = False
    group: str | None = None


def read_questions(
    path: Source,
    *,
    columns: Columns | None = None,
    on_error: OnError = "stop",
    require_answers: bool = False,
    encoding: str | None = None,
    starts: AnswerStarts = "given",
    format: FormatOrAuto = "auto",
) -> list[Example]:
    """The questions of a SQuAD file (.json), or of rows with the columns question, context and answers.

    columns: their names in rows (text: the question, pair: the context, label: the answers), guessed where None.
    Questions on one context are one group, so that a split does not part them. A UserError names file, article,
    paragraph and question (or the line): an answer that its context does not hold, or that stands in several
    places and not where its start says (`starts`), an id that occurs twice, an empty question or context; or
    such a question is left out and counted with on_error="skip". Answers found elsewhere are counted and said.
    """
    source, faults, found = display_name(path), Faults(on_error), _Located(starts)
    examples: list[Example] = []
    ids: dict[str, str] = {}
    if format == "auto" and not isinstance(path, Rows) and _is_squad(path, encoding):
        given = _squad(path, encoding)
    else:
        given = _rows(path, columns or Columns(), faults, encoding, format)
    groups: dict[str, str] = {}
    for question in given:
        try:
            example = _example(question, source, require_answers, found, groups)
            _check_id(ids, example.id, question.where)
        except UserError as error:
            faults.record(error)
            continue
        examples.append(example)
    faults.report()
    if not examples:
        raise UserError(
            f"{source} holds no question" + (" that can be used" if faults.count else ""),
            the_first=faults.first and faults.first.message,
        )
    found.report(source)
    return examples


def _is_squad(path: str | Path, encoding: str | None) -> bool:
    """Whether a file is one JSON value and no array of records."""
    return format_by_name(path) == "json" and not starts_with_bracket(path, encoding)


def _squad(path: str | Path, encoding: str | None) -> Iterator[_Question]:
    source = display_name(path)
    text = "\n".join(line for _, line in open_text(path, None, encoding))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{source}, line {error.lineno:,} is not valid JSON",
            given=f"{error.msg} at place {error.colno:,}",
            allowed='SQuAD: {"data": [{"paragraphs": [{"context": "...", "qas": [...]}]}]}',
        ) from None
    except RecursionError:
        raise UserError(f"{source} is nested too deeply") from None
    line = 0
    for a, article in enumerate(_list(value, "data", source), 1):
        title = article.get("title") if isinstance(article, dict) else None
        named = f"{source}, article {a:,}" + (f" ({title})" if title else "")
        for p, paragraph in enumerate(_list(article, "paragraphs", named), 1):
            where = f"{named}, paragraph {p:,}"
            for q, qa in enumerate(_list(paragraph, "qas", where), 1):
                line += 1
                if not isinstance(qa, dict):
                    raise _no_squad(f"{where}, question {q:,}", "an object", qa)
                yield _Question(
                    where=f"{where}, question {qa.get('id', q)}",
                    line=line,
                    id=None if qa.get("id") in (None, "") else str(qa["id"]),
                    question=qa.get("question"),
                    context=paragraph.get("context"),
                    answers=qa.get("answers"),
                    impossible=_is_true(qa.get("is_impossible")),
                )


def _list(value: Any, key: str, where: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _no_squad(where, f"a list {key!r}", value)
    return found


def _no_squad(where: str, wanted: str, value: Any) -> UserError:
    given = f"keys {', '.join(value)}" if isinstance(value, dict) else _format_value(value)
    return UserError(
        f"{where} is not as SQuAD has it",
        given=given,
        allowed=wanted,
        other_forms='.jsonl or .csv with "question", "context" and "answers"',
    )


def _rows(
    path: Source, columns: Columns, faults: Faults, encoding: str | None, format: FormatOrAuto
) -> Iterator[_Question]:
    """The questions of rows; which column is which is told by the names that occur anywhere in the file."""
    source = display_name(path)
    records = read_records(path, detect_format(path, format, encoding), faults, encoding)
    names = records.names
    question = _column(source, names, columns.text, QUESTIONS, "question", "--text-column")
    context = _column(
        source,
        [name for name in names if name != question],
        columns.pair,
        CONTEXTS,
        "context",
        "--pair-column",
    )
    if columns.label is not None and columns.label not in names:
        raise _no_column(source, columns.label, names, "--label-column")
    answers = columns.label or next((name for name in ANSWERS if name in names), None)
    start = next((name for name in STARTS if name in names), None)
    for line, row in records.rows:
        identity, group = row.get("id"), row.get("group", row.get("title"))
        yield _Question(
            where=f"{source}, line {line:,}",
            line=line,
            id=None if identity in (None, "") else str(identity),
            question=row.get(question),
            context=row.get(context),
            answers=row.get(answers) if answers else None,
            start=_whole(row.get(start)) if start else None,
            impossible=_is_true(row.get("is_impossible")),
            group=None if group in (None, "") else str(group),
        )


def _column(source: str, names: Sequence[str], given: str | None, known: Sequence[str], what: str, option: str) -> str:
    if given is not None:
        if given not in names:
            raise _no_column(source, given, names, option)
        return given
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[name] for name in known if name in lower), None)
    if found is None:
        raise UserError(
            f"{source}: no column is named like a {what}",
            columns_found=", ".join(names),
            known_names=", ".join(known),
            to_choose=f"{option} NAME",
        )
    return found


def _no_column(source: str, given: str, names: Sequence[str], option: str) -> UserError:
    return UserError(
        f"{source} has no column {given!r}",
        columns_found=", ".join(names),
        did_you_mean=suggest(given, names),
        to_choose=f"{option} NAME",
    )


def _example(
    given: _Question, source: str, require_answers: bool, found: "_Located", groups: dict[str, str]
) -> Example:
    question = _text(given.question, given.where, "question")
    context = _text(given.context, given.where, "context")
    answers = _answers(given)
    if answers is None and require_answers:
        raise UserError(f"{given.where} has no answers", allowed=FORM)
    return Example(
        id=given.id or str(given.line),
        text=question,
        pair=context,
        label=None,
        line=given.line,
        source=source,
        group=given.group or groups.setdefault(context, f"#{len(groups) + 1}"),
        answers=None
        if answers is None
        else tuple(found.reference(text, start, context, given.where) for text, start in answers),
    )


def _text(value: Any, where: str, what: str) -> str:
    if value is None:
        raise UserError(f"{where} has no {what}")
    if not isinstance(value, str):
        raise UserError(f"{where}: the {what} is not text", given=_format_value(value))
    if not value.strip():
        raise UserError(f"{where}: the {what} is empty")
    return value


def _answers(given: _Question) -> list[tuple[str, int | None]] | None:
    """(text, start or None) of each answer as the file has them; [] where there is none, None where none are given."""
    if given.impossible:
        return []
    value = given.answers
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # JSON in a field of CSV
        try:
            value = json.loads(value)
        except ValueError:
            value = given.answers
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        starts = next((value[key] for key in STARTS if isinstance(value.get(key), list)), None)
        starts = [None] * len(value["text"]) if starts is None else starts
        if len(starts) != len(value["text"]):
            raise _no_answers(given.where, value)
        value = [{"text": text, "start": start} for text, start in zip(value["text"], starts, strict=True)]
    elif isinstance(value, str):
        value = [{"text": value, "start": given.start}]
    if not isinstance(value, list):
        raise _no_answers(given.where, value)
    result = []
    for one in value:
        one = {"text": one} if isinstance(one, str) else one
        text = one.get("text") if isinstance(one, Mapping) else None
        start = next((one[key] for key in STARTS if one.get(key) is not None), None) if text else None
        if not isinstance(text, str) or not text.strip() or not (start is None or type(start) is int):
            raise _no_answers(given.where, one)
        result.append((text, start))
    return result


def _no_answers(where: str, value: Any) -> UserError:
    return UserError(f"{where}: what is given is no answer", given=_format_value(value), allowed=FORM)


class _Located:
    """Answers found in their contexts, and how many stood elsewhere than their starts say."""

    def __init__(self, starts: AnswerStarts) -> None:
        self.starts = starts
        self.moved: list[str] = []
        self.first: list[str] = []

    def reference(self, text: str, start: int | None, context: str, where: str) -> ReferenceAnswer:
        """The answer without white space at its ends, where it stands. Raises UserError where that is not told."""
        inner = text.strip()
        if start is not None:
            start += len(text) - len(text.lstrip())
            if start >= 0 and context.startswith(inner, start):
                return ReferenceAnswer(inner, start)
        first = context.find(inner)
        if first < 0:
            raise UserError(
                f"{where}: the answer is not in the context",
                given=_format_value(inner),
                allowed="a stretch of the context, letter by letter",
            )
        if context.find(inner, first + 1) < 0:
            if start is not None:
                self.moved.append(where)
            return ReferenceAnswer(inner, first)
        if self.starts == "first":
            self.first.append(where)
            return ReferenceAnswer(inner, first)
        raise UserError(
            f"{where}: the answer stands in several places of the context",
            given=_format_value(inner),
            answer_start="none" if start is None else f"{start:,}, where something else stands",
            to_take_the_first="data.answer_starts=first",
        )

    def report(self, source: str) -> None:
        if self.moved:
            console.note(
                f"{source}: {len(self.moved):,} answers stand elsewhere than answer_start says, each in one place, "
                f"which is taken (the first: {self.moved[0]})"
            )
        if self.first:
            console.note(
                f"{source}: {len(self.first):,} answers stand in several places, of which the first is taken "
                f"(the first: {self.first[0]})"
            )


def _check_id(ids: dict[str, str], identity: str, where: str) -> None:
    if identity in ids:
        raise UserError(f"{where}: the id occurs twice", given=identity, the_first=ids[identity])
    ids[identity] = where


def _is_true(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1")


def _whole(value: Any) -> Any:
    """A start from a field of CSV as a number; anything else as it is."""
    text = str(value).strip() if isinstance(value, str) else None
    return (int(text) if text.lstrip("-").isdigit() else text or None) if text is not None else value


def _format_value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
