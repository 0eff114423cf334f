"""BERT's vocab.txt: a token on each line, in the order of the ids, read as transformers does."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from unmask import console
from unmask.errors import UserError
from unmask.files import read_text
from unmask.messages import message

_BREAK = re.compile("\r\n|\n|\r")
_MARK = "\ufeff".encode()  # byte order mark
_NOTED = 3  # lines of a remark


def read_tokens(file: Path, added: Iterable[int] = ()) -> list[str]:
    """The tokens of a vocab.txt by id, with remarks on what is left out.

    added: ids of tokens that were added to it. Empty last lines are left out: transformers makes them a token, which no
    text has; before an added token they are reserved tokens. Of a token on several lines, the last one is it, as there;
    the others are reserved tokens. Raises UserError for an empty line before the last token.
    """
    text = read_text(file)
    with file.open("rb") as opened:
        if opened.read(len(_MARK)) == _MARK:
            console.note("{path}: byte order mark at the beginning left out", file)
    lines = _BREAK.split(text.removesuffix("\n").removesuffix("\r"))
    count = next((n for n in range(len(lines), 0, -1) if lines[n - 1]), 0)
    if "" in lines[:count]:
        line = lines.index("") + 1
        raise UserError(
            "{path}, line {line:,}: an empty line in the vocabulary",
            file,
            line,
            allowed="a token on each line",
            hint=message("each line is an id: delete it, or write [unused_line_{line}] in it to keep the ids", line),
        )
    count = max(count, min(min((number for number in added if number >= count), default=0), len(lines)))
    if count < len(lines):
        text = "{path}: empty lines at the end left out: {count}, from line {line:,}"
        console.note(text, file, len(lines) - count, count + 1)
    last = {token: number for number, token in enumerate(lines) if token}
    reserved = {number for number, token in enumerate(lines[:count]) if last.get(token) != number}
    if again := [f"{lines[n]!r} {n + 1:,} {last[lines[n]] + 1:,}" for n in sorted(reserved) if lines[n]]:
        text = "{path}: tokens that are on several lines, the last of which counts: {count} ({lines})"
        console.note(text, file, len(again), ", ".join(again[:_NOTED]))
    return [f"[unused_line_{n + 1}]" if n in reserved else token for n, token in enumerate(lines[:count])]


def note_differences(file: Path, tokens: Sequence[str]) -> None:
    """Remark where the vocab.txt beside a tokenizer.json has other tokens than it. tokens: of the latter, by id."""
    other = file.with_name("vocab.txt")
    if file.name != "tokenizer.json" or not other.is_file():
        return
    lines = _BREAK.split(read_text(other).rstrip("\r\n"))
    pairs = zip(lines, tokens, strict=False)
    place = next((n for n, (line, token) in enumerate(pairs, 1) if line != token), len(tokens) + 1)
    if place <= len(lines):
        text = "{path} is read, not {other}, which differs from it: {token!r} on line {line:,}, not {ours}"
        ours = repr(tokens[place - 1]) if place <= len(tokens) else message("nothing")
        console.note(text, file, other.name, lines[place - 1], place, ours)


def place_of(folder: Path, number: int) -> str:
    """Where the token of an id is in a folder: the line of its vocab.txt, where that is what is read, or the id."""
    file = folder / "vocab.txt"
    if (
        (folder / "tokenizer.json").is_file()
        or not file.is_file()
        or number >= len(_BREAK.split(read_text(file).rstrip("\r\n")))
    ):
        return message("id {number:,}", number)
    return message("{path}, line {line:,}", file, number + 1)
