"""SQuAD JSON (v1 and v2, Rajpurkar et al. 2016, 2018) as records.

{"data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [{"id": "1", "question": "...",
    "answers": [{"text": "...", "answer_start": 17}], "is_impossible": false}]}]}]}
"""

import json
from typing import Any

from unmask.data.rows.columns import excerpt, text_or_none
from unmask.data.tables import Row, invalid_json
from unmask.errors import UserError


def read_squad(name: str, text: str) -> tuple[list[Row], dict[int, str]]:
    """The questions, numbered from 1 in place of lines, and what to call each: article, paragraph and question."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        allowed = 'SQuAD: {"data": [{"paragraphs": [{"context": "...", "qas": [...]}]}]}'
        raise invalid_json(name, 1, error, allowed) from None
    rows: list[Row] = []
    places: dict[int, str] = {}
    for a, article in enumerate(_list(value, "data", name), 1):
        title = article.get("title") if isinstance(article, dict) else None
        named = f"{name}, article {a:,}" + (f" ({title})" if title else "")
        for p, paragraph in enumerate(_list(article, "paragraphs", named), 1):
            where = f"{named}, paragraph {p:,}"
            for q, question in enumerate(_list(paragraph, "qas", where), 1):
                if not isinstance(question, dict):
                    raise _no_squad(f"{where}, question {q:,}", "an object", question)
                row = {"question": question.get("question"), "context": paragraph.get("context")}
                row |= {key: question[key] for key in ("id", "answers", "is_impossible") if key in question}
                rows.append((len(rows) + 1, row))
                places[len(rows)] = f"{where}, question {text_or_none(row.get('id')) or q}"
    return rows, places


def _list(value: Any, key: str, where: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _no_squad(where, f"a list {key!r}", value)
    return found


def _no_squad(where: str, allowed: str, value: Any) -> UserError:
    given = f"keys {', '.join(value)}" if isinstance(value, dict) else excerpt(value)
    hint = 'other forms: .jsonl or .csv with "question", "context" and "answers"'
    return UserError(f"{where} is not as SQuAD has it", given=given, allowed=allowed, hint=hint)
