"""Records with questions on texts: `text` of an example is the question, `pair` the context.

`answers` are those that are right, each with the character of the context that it begins with; none where the context
does not answer it.

{"question": "...", "context": "...", "answers": [{"text": "...", "answer_start": 17}]}      a line of JSON
question,context,answer                                                                      a header of CSV
{"data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [{"id": "1", "question": "...", "answers": [...],
    "is_impossible": false}]}]}]}                 SQuAD (v1 and v2, Rajpurkar et al. 2016, 2018)
[{"context_id": "...", "context_text": "...", "qas": [{"query_id": "...", "query_text": "...", "answers": ["..."]}]}]
                                                  CMRC 2018 as it was first distributed (Cui et al. 2019)
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from unmask.advice import advise, option
from unmask.data.rows.cells.lists import parse_cell
from unmask.data.rows.columns import GROUPS, Records, cell, excerpt, text_in, text_or_none
from unmask.data.rows.example import Answers, Example, ReferenceAnswer
from unmask.data.rows.options import Starts
from unmask.data.tables import Row, invalid_json
from unmask.data.textfiles import ReadLog
from unmask.errors import UserError

QUESTIONS = ("question", "query")
CONTEXTS = ("context", "passage", "paragraph", "document", "text")
ANSWERS = ("answers", "answer", "answers.text")
STARTS = ("answer_start", "start", "answers.answer_start")
# of SQuAD, of CMRC 2018 as it was first distributed, of MRQA
QUESTION_KEYS, CONTEXT_KEYS, ID_KEYS = (
    ("question", "query_text"),
    ("context", "context_text"),
    ("id", "query_id", "qid"),
)
MOST_IDS = 100_000  # of rows to predict that are compared
FORM = '[{"text": "...", "answer_start": 17}, ...], or the text alone if it occurs once; [] for no answer'
MOVED = (
    "{source}: {count:,} answers are not at answer_start, but occur only once; that occurrence is "
    "used (the first: {first})"
)
PARSED = "{source}: {count:,} cells with answers hold lists or objects as text, which are parsed (the first: {first})"
FIRST = "{source}: {count:,} answers occur several times; the first occurrence is used (the first: {first})"


def question_examples(records: Records, log: ReadLog, labelled: bool, starts: Starts) -> Iterator[Example]:
    """The questions. Those on one context are one group, so that a split does not part them.

    What `log` may leave out: an empty question or context, an id that occurs twice, an answer that its context does not
    hold, or that stands in several places and not where its start says (`starts`: an error, or the first place).
    Answers found elsewhere are noted, after the last row. Rows to predict have no groups, and their ids are compared
    as far as `MOST_IDS`, so that memory is bounded.
    """
    question = records.required("text", QUESTIONS)
    context = records.required("pair", CONTEXTS, (question,))
    answers = (records.named("label") or records.usual(ANSWERS)) if labelled else None
    columns = {"text_column": question, "pair_column": context, "label_column": answers}
    records.resolved.update({option: name for option, name in columns.items() if name is not None})
    roles = {"question": question, "context": context, "answer": answers}
    log.columns |= {role: name for role, name in roles.items() if name is not None}
    start, about = records.usual(STARTS), records.about((*GROUPS, "title"))
    if labelled:
        records.note_unused(log, (question, context, answers, start, "is_impossible", "title"))
    ids: dict[str, str] = {}
    contexts: dict[str, str] = {}
    elsewhere: dict[str, list[str]] = {MOVED: [], FIRST: [], PARSED: []}

    def example(line: int, row: dict[str, Any]) -> Example:
        where = records.place(line)
        text, pair = text_in(row, question, where), text_in(row, context, where)
        target = None
        if labelled:
            impossible = str(row.get("is_impossible")).strip().lower() in ("true", "1")
            value, begin = (_parsed(cell(row, name), pair) for name in (answers, start))
            elsewhere[PARSED] += [where] if value is not cell(row, answers) else []
            pairs = [] if impossible else _answers(value, begin, where)
            target = Answers(_located(*one, pair, where, starts, elsewhere) for one in pairs)
        meta = about(line, row)
        meta["place"] = records.places.get(line)
        if labelled:
            meta["group"] = meta["group"] or contexts.setdefault(pair, f"#{len(contexts) + 1}")
        if (identity := meta["id"]) in ids:
            raise UserError(f"{where}: the id occurs twice", given=identity, see=ids[identity])
        if labelled or len(ids) < MOST_IDS:
            ids[identity] = where
        return Example(text, pair, target, **meta)

    def examples() -> Iterator[Example]:
        yield from log.usable(records.every_row(), example)
        for text, places in elsewhere.items():
            if places:
                log.note(text, records.source, len(places), places[0])

    return examples()


def _answers(value: Any, start: Any, where: str) -> list[tuple[str, int | None]]:
    """Text and start (None: not given) of each answer, in any of their forms; `start`: of CSV, a field of its own."""
    if value is None or value == "":
        raise UserError(f"{where} has no answers", allowed=FORM)
    if isinstance(value, list) and isinstance(start, list):
        value = {"text": value, "start": start}
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        starts = _start_in(value)
        starts = [None] * len(value["text"]) if starts is None else starts
        if isinstance(starts, list) and len(starts) == len(value["text"]):
            value = [{"text": text, "start": one} for text, one in zip(value["text"], starts, strict=True)]
    elif isinstance(value, str):
        with suppress(ValueError, TypeError):
            start = int(start)
        value = [{"text": value, "start": None if start == "" else start}]
    found = []
    for one in value if isinstance(value, list) else [None]:
        one = {"text": one} if isinstance(one, str) else one if isinstance(one, Mapping) else {}
        text, begin = one.get("text"), _start_in(one)
        if not isinstance(text, str) or not text.strip() or not (begin is None or type(begin) is int):
            raise UserError(f"{where}: not an answer", given=excerpt(one or value), allowed=FORM)
        found.append((text, begin))
    return found


def _parsed(value: Any, context: str) -> Any:
    """A list or object in place of its text in a cell, unless the context holds that text."""
    found = parse_cell(value) if isinstance(value, str) and value.strip() not in context else None
    return value if found is None else found


def _start_in(value: Mapping[str, Any]) -> Any:
    return _first(value, STARTS)


def _located(
    text: str, start: int | None, context: str, where: str, starts: Starts, elsewhere: Mapping[str, list[str]]
) -> ReferenceAnswer:
    """The answer without white space at its ends, where it stands. Raises UserError where that is in doubt.

    elsewhere: what is noted, and the questions of which answers.
    """
    inner = text.strip()
    if start is not None:
        start += len(text) - len(text.lstrip())
        if start >= 0 and context.startswith(inner, start):
            return ReferenceAnswer(inner, start)
    first = context.find(inner)
    if first < 0:
        allowed = "a span of the context, verbatim"
        raise UserError(f"{where}: the answer is not in the context", given=excerpt(inner), allowed=allowed)
    if context.find(inner, first + 1) >= 0:
        if starts != "first":
            begin = "without answer_start" if start is None else f"answer_start {start:,}, where the text differs"
            what = f"{where}: the answer occurs several times in the context"
            hint = advise("{option} takes the first", option("answer_starts", "first"))
            raise UserError(what, given=f"{excerpt(inner)}, {begin}", hint=hint)
        elsewhere[FIRST].append(where)
    elif start is not None:
        elsewhere[MOVED].append(where)
    return ReferenceAnswer(inner, first)


def read_squad(name: str, text: str) -> tuple[list[Row], dict[int, str]]:
    """The questions of SQuAD's JSON, numbered in place of lines, and names of each: article, paragraph, question."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        allowed = 'SQuAD: {"data": [{"paragraphs": [{"context": "...", "qas": [...]}]}]}'
        raise invalid_json(name, 1, error, allowed) from None
    rows: list[Row] = []
    places: dict[int, str] = {}
    for a, article in enumerate(_list(value, "data", name), 1):
        _add_article(article, f"{name}, article {a:,}", rows, places)
    return rows, places


def is_nested(rows: Sequence[Row]) -> bool:
    """Whether a record holds questions on one context, as CMRC 2018 was first distributed, or articles of SQuAD."""
    return any(isinstance(row.get(key), list) for _, row in rows for key in ("qas", "paragraphs"))


def flat_questions(name: str, rows: Sequence[Row], log: ReadLog) -> tuple[list[Row], dict[int, str]]:
    """The questions of such records, as `read_squad` gives them. What `log` may leave out: one without questions."""
    found: list[Row] = []
    places: dict[int, str] = {}

    rows = [one for one in rows if one[1].keys() != {"header"}]  # as MRQA begins
    list(log.usable(rows, lambda line, row: _add_article(row, f"{name}, line {line:,}", found, places)))
    log.note("{name}: {contexts:,} contexts with {questions:,} questions", name, len(rows), len(found))
    return found, places


def _add_article(article: Any, where: str, rows: list[Row], places: dict[int, str]) -> None:
    """Add the questions of an article of SQuAD, or on one context."""
    if isinstance(article, dict) and "qas" in article:
        _add_questions(article, where, rows, places)
        return
    title = article.get("title") if isinstance(article, dict) else None
    where += f" ({title})" if title else ""
    for number, paragraph in enumerate(_list(article, "paragraphs", where), 1):
        _add_questions(paragraph, f"{where}, paragraph {number:,}", rows, places)


def _add_questions(paragraph: Any, where: str, rows: list[Row], places: dict[int, str]) -> None:
    """Add the questions on one context as rows, with the name of each."""
    for number, question in enumerate(_list(paragraph, "qas", where), 1):
        if not isinstance(question, dict):
            raise _no_squad(f"{where}, question {number:,}", "an object", question)
        row = {"question": _first(question, QUESTION_KEYS), "context": _first(paragraph, CONTEXT_KEYS)}
        row |= {key: question[key] for key in ("answers", "is_impossible") if key in question}
        if (identity := _first(question, ID_KEYS)) is not None:
            row["id"] = identity
        rows.append((len(rows) + 1, row))
        places[len(rows)] = f"{where}, question {text_or_none(identity) or number}"


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _list(value: Any, key: str, where: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _no_squad(where, f"a list {key!r}", value)
    return found


def _no_squad(where: str, allowed: str, value: Any) -> UserError:
    given = f"keys {', '.join(value)}" if isinstance(value, dict) else excerpt(value)
    hint = 'other forms: .jsonl or .csv with "question", "context" and "answers"'
    return UserError(f"{where} is not in the format of SQuAD", given=given, allowed=allowed, hint=hint)
