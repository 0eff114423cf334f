"""A text file to token shards on disk: `unmask corpus build` beside the shortest loop that stores the same ids.

The peer reads the same documents, has the tokenizers library encode them in batches and appends the ids to one
file of 16-bit numbers with the places where documents end. Ours also finds where words and sentences start,
counts the pieces, checksums input and output, and can go on after a kill: the ratio is the price of that.
Each timed run reads the file and writes everything anew.
"""

import argparse
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.harness import Benchmark, Prepared, Settings, Side

BATCH = 1000  # documents, as ours


def add_options(parser: argparse.ArgumentParser) -> None:
    texts.add_options(parser, characters=4_000_000)
    texts.add_tokenizer_options(parser)


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    text = texts.arrange(arguments, folder)
    tokenizer = texts.tokenizer_for(arguments, text, folder / "tokenizer")
    settings = {
        "text": str(text.train),
        "tokenizer": str(folder / "tokenizer"),
        "characters": text.about["train"]["characters"],
    }
    return settings, [text.about, {"name": "tokenizer.json", "sha256": tokenizer.sha256}]


def ours(settings: Settings) -> Prepared:
    from unmask.data.corpus import documents as corpus
    from unmask.data.corpus import shards
    from unmask.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_pretrained(settings["tokenizer"])
    out = Path(settings["keep"]) / "corpus"

    def work() -> float:
        shards.build(corpus.read_documents(settings["text"]), tokenizer, out, restart=True)
        return float(settings["characters"])

    return Prepared(work, lambda: {"tokens": shards.Shards.open(out).tokens})


def loop(settings: Settings) -> Prepared:
    import numpy as np
    import tokenizers

    from unmask.data.corpus import documents as corpus

    tokenizer = tokenizers.Tokenizer.from_file(str(Path(settings["tokenizer"]) / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    out = Path(settings["keep"])

    def work() -> float:
        ends: list[int] = [0]
        documents = (document.text for document in corpus.read_documents(settings["text"]))
        with (out / "ids.bin").open("wb") as file:
            while batch := list(islice(documents, BATCH)):
                rows = [each.ids for each in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
                np.fromiter(chain.from_iterable(rows), dtype).tofile(file)
                for row in rows:
                    ends.append(ends[-1] + len(row))
        np.save(out / "ends.npy", np.array(ends))
        return float(settings["characters"])

    return Prepared(work, lambda: {"tokens": int(np.load(out / "ends.npy")[-1])})


BENCHMARK = Benchmark(
    name="pretokenising",
    unit="characters",
    sides=(Side("ours", ours), Side("tokenizers, plain loop", loop)),
    packages=("tokenizers",),
    same=("tokens",),
)
