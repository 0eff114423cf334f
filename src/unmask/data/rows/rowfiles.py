"""Examples as JSON lines that are read again as what they were, with default settings: parts of a split, to look at."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unmask import files
from unmask.data.rows.tables import Example


def to_row(example: Example) -> dict[str, Any]:
    """One example under the names that need no guessing; `source` is the file and line that it came from."""
    texts = {"text": example.text}
    if example.answers is not None:
        texts = {"question": example.text, "context": example.pair or ""}
    elif example.pair is not None:
        texts = {"text_a": example.text, "text_b": example.pair}
    row: dict[str, Any] = {"id": example.id, **texts}
    if example.spans is not None:
        row["spans"] = [[span.start, span.end, span.label] for span in example.spans]
    elif example.answers is not None:
        row["answers"] = [{"text": one.text, "answer_start": one.start} for one in example.answers]
    elif example.target is not None:
        row["label"] = list(example.target) if isinstance(example.target, tuple) else example.target
    if example.tokens is not None:
        row["tokens"] = [list(bounds) for bounds in example.tokens]
    if example.group is not None:
        row["group"] = example.group
    return {**row, "source": example.location}


def write_rows(path: Path, examples: Iterable[Example]) -> None:
    """One JSON object a line, in place only when the file is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, "".join(json.dumps(to_row(one), ensure_ascii=False) + "\n" for one in examples))
