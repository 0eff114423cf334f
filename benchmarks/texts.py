"""The text that a benchmark reads: files of the user, or public data; the same documents for every side."""

import argparse
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.data.corpus import documents as corpus
from unmask.data.public import datasets as public
from unmask.errors import UserError
from unmask.text.tokenizer import Tokenizer

HELD_OUT = 10  # every tenth document is kept from training
READ_AHEAD = 20  # documents are taken evenly out of the first so many times the characters that are wanted

DEFAULTS = {"en": ("friends", "reviews")}  # natural text, with capitals and punctuation


def add_options(parser: argparse.ArgumentParser, characters: int) -> None:
    """--text, --data, --split, --language, --characters."""
    parser.add_argument(
        "--text", nargs="+", metavar="FILE", help="files of your own: txt, jsonl, csv, also .gz (--split)"
    )
    parser.add_argument("--data", nargs="+", metavar="NAME", help="public data (unmask data list)")
    parser.add_argument(
        "--language", choices=("en", "zh"), default="en", help="of the public data where neither is given"
    )
    parser.add_argument(
        "--split", choices=("blank", "line", "file"), default="blank", help="what parts documents of txt"
    )
    parser.add_argument(
        "--characters", type=int, default=characters, help=f"of the text, about (default {characters:,})"
    )


@dataclass(frozen=True)
class Text:
    """Two plain text files of documents, a blank line after each: nine tenths to train on, and the tenth held out."""

    train: Path
    heldout: Path
    about: dict[str, Any]  # for the record: names, sizes, sha256 of each file


def arrange(arguments: argparse.Namespace, folder: Path) -> Text:
    """Write the chosen documents into `folder`. Raises UserError where there is no text, or too little."""
    documents = list(_evenly(_chosen(arguments), arguments.characters))
    if len(documents) < 2:
        raise UserError(
            "a benchmark needs at least two documents",
            given=f"{len(documents)} in {', '.join(names(arguments))}",
            hint="separate documents by blank lines, or --split line",
        )
    parts: dict[str, list[str]] = {"train": [], "heldout": []}
    for number, document in enumerate(documents):
        parts["heldout" if number % HELD_OUT == 1 else "train"].append(document)
    about: dict[str, Any] = {"name": ", ".join(names(arguments))}
    for part, texts in parts.items():
        data = "".join(f"{text}\n\n" for text in texts).encode()
        (folder / f"{part}.txt").write_bytes(data)
        about[part] = {
            "documents": len(texts),
            "characters": sum(map(len, texts)),
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    return Text(folder / "train.txt", folder / "heldout.txt", about)


def documents_of(path: str | Path) -> list[str]:
    """The documents of a file that `arrange` wrote."""
    return [document.text for document in corpus.read_documents(path)]


def lines_of(path: str | Path) -> Iterator[str]:
    """Its lines, blank ones left out, as a stream."""
    with Path(path).open(encoding="utf-8") as file:
        yield from (line for line in file if line != "\n")


def tokenizer_for(arguments: argparse.Namespace, text: Text, folder: Path) -> Tokenizer:
    """That of --tokenizer, or one trained on the text; saved in `folder`."""
    if arguments.tokenizer:
        tokenizer = Tokenizer.from_pretrained(arguments.tokenizer)
    else:
        tokenizer = Tokenizer.train(lines_of(text.train), vocab_size=arguments.vocabulary, allow_fewer=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def add_tokenizer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokenizer", metavar="DIR", help="default: one trained on the text")
    parser.add_argument("--vocabulary", type=int, default=8192, help="pieces of that one (default 8192)")


def names(arguments: argparse.Namespace) -> list[str]:
    """What is read: files, or names of public data."""
    if arguments.text:
        return [Path(file).name for file in arguments.text]
    if arguments.data:
        return list(arguments.data)
    default = DEFAULTS.get(arguments.language) or tuple(
        name for name, data in public.PUBLIC.items() if data.language == arguments.language
    )
    if not default:
        raise UserError("there is no public data in this language", given=arguments.language, hint="--text FILE")
    return list(default)


def _chosen(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.text:
        paths = list(arguments.text)
    else:
        paths = [str(fetched(name, "--text FILE").text) for name in names(arguments)]
    split: corpus.Split = arguments.split if arguments.text else "blank"
    for document in corpus.read_documents(paths, split=split):
        text = re.sub(r"\n\s*\n", "\n", document.text).strip()
        if text:
            yield text


def fetched(name: str, option: str) -> public.Fetched:
    """Public data of a name. Raises UserError with the option that gives one's own, where they cannot be had."""
    try:
        return public.download(name)
    except UserError as error:
        error.facts["hint"] = f"{option} measures data of your own"
        raise


def _evenly(texts: Iterator[str], characters: int) -> Iterator[str]:
    """Documents of about so many characters in all, evenly out of those that are read."""
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if size >= READ_AHEAD * characters:
            break
    share = min(1.0, characters / max(1, size))
    for number, text in enumerate(held):
        if int((number + 1) * share) > int(number * share):
            yield text
