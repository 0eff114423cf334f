"""Examples as JSON lines that are read again as what they were, with default settings: parts of a split, to look at."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmask import files
from unmask.data.rows.example import Answers, Example, Labels, Spans
from unmask.data.rows.offsets import ROW_KEY


def row_of(example: Example) -> dict[str, Any]:
    """One example under names that are detected; `source` is the file and line that it came from."""
    target = example.target
    texts = {"text": example.text}
    if isinstance(target, Answers):
        texts = {"question": example.text, "context": example.pair or ""}
    elif example.pair is not None:
        texts = {"text_a": example.text, "text_b": example.pair}
    row: dict[str, Any] = {"id": example.id, **texts}
    if isinstance(target, Spans):
        row["spans"] = [[span.start, span.end, span.label] for span in target]
        row[ROW_KEY] = "characters"
    elif isinstance(target, Answers):
        row["answers"] = [{"text": one.text, "answer_start": one.start} for one in target]
    elif target is not None:
        row["label"] = list(target) if isinstance(target, Labels) else target
    if example.tokens is not None:
        row["tokens"] = [list(bounds) for bounds in example.tokens]
    if example.group is not None:
        row["group"] = example.group
    return {**row, "source": example.location}


def write_rows(path: Path, examples: Iterable[Example]) -> None:
    """One JSON object a line, in place only when the file is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, "".join(json.dumps(row_of(one), ensure_ascii=False) + "\n" for one in examples))
