"""Records with questions on texts: `text` of an example is the question, `pair` the context.

`answers` are those that are right, each with the character of the context that it begins with; none where the context
does not answer it.

{"question": "...", "context": "...", "answers": [{"text": "...", "answer_start": 17}]}      a line of JSON
question,context,answer                                                                      a header of CSV
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from unmask.data.rows.columns import (
    ANSWERS,
    CONTEXTS,
    GROUPS,
    QUESTIONS,
    STARTS,
    Columns,
    cell,
    excerpt,
    text_in,
)
from unmask.data.rows.example import Answers, Example, ReferenceAnswer
from unmask.data.rows.options import Starts
from unmask.data.rows.readers.records import Records
from unmask.data.rows.texts import meta_of
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

FORM = '[{"text": "...", "answer_start": 17}, ...], or the text alone where it stands once; [] for no answer'


def question_examples(
    records: Records, columns: Columns, log: ReadLog, labelled: bool, starts: Starts
) -> list[Example]:
    """The questions. Those on one context are one group, so that a split does not part them.

    What `log` may leave out: an empty question or context, an id that occurs twice, an answer that its context does not
    hold, or that stands in several places and not where its start says (`starts`: an error, or the first place).
    Answers found elsewhere are noted.
    """
    question = columns.required("text", QUESTIONS)
    context = columns.required("pair", CONTEXTS, (question,))
    answers = (columns.named("label") or columns.known(ANSWERS)) if labelled else None
    start, meta = columns.known(STARTS), meta_of(records, columns, (*GROUPS, "title"))
    ids: dict[str, str] = {}
    contexts: dict[str, str] = {}
    located = _Located(starts)

    def example(line: int, row: dict[str, Any]) -> Example:
        where = records.place(line)
        text, pair = text_in(row, question, where), text_in(row, context, where)
        target = None
        if labelled:
            value = [] if _is_true(row.get("is_impossible")) else cell(row, answers)
            target = _answers(value, cell(row, start), pair, where, located)
        about = meta(line, row)
        about["group"] = about["group"] or contexts.setdefault(pair, f"#{len(contexts) + 1}")
        if (identity := about["id"]) in ids:
            raise UserError(f"{where}: the id occurs twice", given=identity, see=ids[identity])
        ids[identity] = where
        return Example(text, pair, target, **about)

    examples = list(log.usable(records.rows, example))
    located.note(records.source, log)
    return examples


def _answers(value: Any, start: Any, context: str, where: str, located: "_Located") -> Answers:
    if value is None or value == "":
        raise UserError(f"{where} has no answers", allowed=FORM)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # JSON in a field of CSV
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        starts = next((value[key] for key in STARTS if isinstance(value.get(key), list)), None)
        starts = [None] * len(value["text"]) if starts is None else starts
        if len(starts) != len(value["text"]):
            raise _no_answer(where, value)
        value = [{"text": text, "start": start} for text, start in zip(value["text"], starts, strict=True)]
    elif isinstance(value, str):
        value = [{"text": value, "start": _whole(start)}]
    if not isinstance(value, list):
        raise _no_answer(where, value)
    found = []
    for one in value:
        one = {"text": one} if isinstance(one, str) else one
        text = one.get("text") if isinstance(one, Mapping) else None
        begin = next((one[key] for key in STARTS if one.get(key) is not None), None) if text else None
        if not isinstance(text, str) or not text.strip() or not (begin is None or type(begin) is int):
            raise _no_answer(where, one)
        found.append(located.reference(text, begin, context, where))
    return Answers(found)


def _no_answer(where: str, value: Any) -> UserError:
    return UserError(f"{where}: what is given is no answer", given=excerpt(value), allowed=FORM)


class _Located:
    """Finds answers in their contexts, and counts those that stand elsewhere than their starts say."""

    def __init__(self, starts: Starts) -> None:
        self.starts = starts
        self.moved: list[str] = []
        self.first: list[str] = []

    def reference(self, text: str, start: int | None, context: str, where: str) -> ReferenceAnswer:
        """The answer without white space at its ends, where it stands. Raises UserError where that is in doubt."""
        inner = text.strip()
        if start is not None:
            start += len(text) - len(text.lstrip())
            if start >= 0 and context.startswith(inner, start):
                return ReferenceAnswer(inner, start)
        first = context.find(inner)
        if first < 0:
            allowed = "a stretch of the context, letter by letter"
            raise UserError(f"{where}: the answer is not in the context", given=excerpt(inner), allowed=allowed)
        if context.find(inner, first + 1) < 0:
            if start is not None:
                self.moved.append(where)
        elif self.starts == "first":
            self.first.append(where)
        else:
            begin = "without answer_start" if start is None else f"answer_start {start:,}, where something else stands"
            raise UserError(
                f"{where}: the answer stands in several places of the context",
                given=f"{excerpt(inner)}, {begin}",
                hint="data.answer_starts=first takes the first",
            )
        return ReferenceAnswer(inner, first)

    def note(self, source: str, log: ReadLog) -> None:
        if self.moved:
            log.note(
                "{source}: {count:,} answers stand elsewhere than answer_start says, each in one place, "
                "which is taken (the first: {first})",
                source,
                len(self.moved),
                self.moved[0],
            )
        if self.first:
            log.note(
                "{source}: {count:,} answers stand in several places, of which the first is taken (the first: {first})",
                source,
                len(self.first),
                self.first[0],
            )


def _is_true(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1")


def _whole(value: Any) -> Any:
    """A start from a field of CSV as a number; anything else as it is."""
    text = str(value).strip() if isinstance(value, str) else None
    return (int(text) if text.lstrip("-").isdigit() else text or None) if text is not None else value
