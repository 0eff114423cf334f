"""WordPiece training: ours beside the WordPieceTrainer of the tokenizers library.

Both read the same lines from a file, normalise and cut words alike (BERT's, lower case), and train a vocabulary
of the same size with the same minimum count (fewer pieces where the text supports no more: Chinese, where each
character is a word, is all alphabet; a warning says when the two differ). Timed from the first line read to the
finished vocabulary, once in each process, without warm-up; memory is that of the whole process. Ours uses one
thread whatever --threads says.

On held-out documents the line gives characters per piece, and bits per character of a small masked-LM trained
on each vocabulary: see bits.py for what these are. --judge-seeds 0 leaves the latter out.
"""

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import bits, texts
from benchmarks.harness import Benchmark, Prepared, Settings, Side


def add_options(parser: argparse.ArgumentParser) -> None:
    texts.add_options(parser, characters=4_000_000)
    parser.add_argument("--vocabulary", type=int, default=8192, help="pieces (default 8192)")
    bits.add_options(parser)


def arrange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    text = texts.arrange(arguments, folder)
    settings = {
        "train": str(text.train),
        "heldout": str(text.heldout),
        "vocabulary": arguments.vocabulary,
        "characters": text.about["train"]["characters"],
        **bits.settings_of(arguments),
    }
    return settings, [text.about]


def ours(settings: Settings) -> Prepared:
    from unmask.text.tokenizer import Tokenizer

    made: list[Tokenizer] = []

    def work() -> float:
        lines = texts.lines_of(settings["train"])
        made[:] = [Tokenizer.train(lines, vocab_size=settings["vocabulary"], allow_fewer=True)]
        return float(settings["characters"])

    return Prepared(work, lambda: _facts(made[0], settings))


def library(settings: Settings) -> Prepared:
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    from unmask.text.public import layout
    from unmask.text.tokenizer import Tokenizer

    made: list[tokenizers.Tokenizer] = []

    def work() -> float:
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token=layout.UNK))
        backend.normalizer = layout.normalizer(layout.TokenizerConfig())
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=settings["vocabulary"],
            min_frequency=layout.TokenizerConfig().min_frequency,
            show_progress=False,
            special_tokens=list(layout.SPECIALS),
        )
        backend.train_from_iterator(texts.lines_of(settings["train"]), trainer)
        made[:] = [backend]
        return float(settings["characters"])

    def facts() -> Mapping[str, Any]:
        numbers = made[0].get_vocab()
        tokens = sorted(numbers, key=numbers.__getitem__)
        return _facts(Tokenizer(layout.tokenizer_json(tokens, layout.TokenizerConfig())), settings)

    return Prepared(work, facts)


def _facts(tokenizer: Any, settings: Settings) -> dict[str, Any]:
    from unmask.text.usage import count_usage

    tokenizer.save_pretrained(Path(settings["keep"]) / "tokenizer")
    heldout = count_usage(tokenizer, texts.lines_of(settings["heldout"])).total
    return {
        "vocab_size": tokenizer.vocab_size,
        "vocabulary_sha256": hashlib.sha256("\n".join(tokenizer.tokens).encode()).hexdigest(),
        "characters_per_token": heldout.characters_per_token,
        "unknown_percent": 100 * heldout.unknown_rate,
    }


BENCHMARK = Benchmark(
    name="wordpiece",
    unit="characters",
    sides=(Side("ours", ours), Side("tokenizers", library)),
    packages=("tokenizers", "torch"),
    same=("vocab_size",),
    shown={
        "characters_per_token": "characters per token",
        "unknown_percent": "% unknown",
        "bits_per_character": "held-out bits per character",
    },
    warmup=0,
    repeat=1,
    judge=bits.judge,
)
