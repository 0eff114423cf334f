"""Text to tokens: our Tokenizer.encode_batch beside that of the tokenizers library, from one tokenizer.json.

Ours calls the library and returns plain lists of input_ids, token_type_ids, offsets, word_ids and
special_tokens_mask. So there are two peers: `tokenizers`, which returns its own objects, most of whose content is
never made into Python values, and `tokenizers, read`, where the same five fields are read out of them. The first
ratio is the whole price of our wrapper, the second the price without the lists. Each timed run encodes the whole
text in batches.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.harness import Benchmark, Prepared, Settings, Side


def add_options(parser: argparse.ArgumentParser) -> None:
    texts.add_options(parser, characters=2_000_000)
    texts.add_tokenizer_options(parser)
    parser.add_argument("--batch", type=int, default=512, help="texts given at once (default 512)")


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    text = texts.arrange(arguments, folder)
    tokenizer = texts.tokenizer_for(arguments, text, folder / "tokenizer")
    settings = {"text": str(text.train), "tokenizer": str(folder / "tokenizer"), "batch": arguments.batch}
    return settings, [text.about, {"name": "tokenizer.json", "sha256": tokenizer.sha256}]


def ours(settings: Settings) -> Prepared:
    from unmask.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(settings["tokenizer"])
    documents = texts.documents_of(settings["text"])
    return _encoding(tokenizer, documents, settings, lambda encoding: encoding.input_ids)


def library(settings: Settings) -> Prepared:
    return _encoding(*_library(settings), settings, lambda encoding: encoding.ids)


def _encoding(tokenizer: Any, documents: list[str], settings: Settings, ids: Callable[[Any], list[int]]) -> Prepared:
    """Ours and the library's have the same method, so both are timed by the same lines."""

    def work() -> float:
        for batch in _batches(documents, settings["batch"]):
            tokenizer.encode_batch(batch)
        return _characters(documents)

    return Prepared(work, lambda: _facts(map(ids, tokenizer.encode_batch(documents))))


def library_read(settings: Settings) -> Prepared:
    tokenizer, documents = _library(settings)

    def work() -> float:
        for batch in _batches(documents, settings["batch"]):
            for encoding in tokenizer.encode_batch(batch):
                _ = encoding.ids, encoding.type_ids, encoding.offsets
                _ = encoding.word_ids, encoding.special_tokens_mask
        return _characters(documents)

    return Prepared(work, lambda: _facts(encoding.ids for encoding in tokenizer.encode_batch(documents)))


def _library(settings: Settings) -> tuple[Any, list[str]]:
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(Path(settings["tokenizer"]) / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # as ours: "[MASK]" in a text is text
    return tokenizer, texts.documents_of(settings["text"])


def _batches(documents: list[str], size: int) -> Iterable[list[str]]:
    yield from (documents[at : at + size] for at in range(0, len(documents), size))


def _characters(documents: list[str]) -> float:
    return float(sum(map(len, documents)))


def _facts(rows: Iterable[list[int]]) -> dict[str, Any]:
    """All ids, as their number and their hash."""
    digest, tokens = hashlib.sha256(), 0
    for ids in rows:
        digest.update(json.dumps(ids).encode())
        tokens += len(ids)
    return {"tokens": tokens, "ids_sha256": digest.hexdigest()}


BENCHMARK = Benchmark(
    name="encoding",
    unit="characters",
    sides=(Side("ours", ours), Side("tokenizers", library), Side("tokenizers, read", library_read)),
    packages=("tokenizers",),
    same=("ids_sha256",),
)
