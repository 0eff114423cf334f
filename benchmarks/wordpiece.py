"""Our WordPiece training beside that of the tokenizers library: seconds, memory, characters per piece.

    python benchmarks/wordpiece.py TEXT.txt.gz --vocabulary 8192 --repeat 3

Both train on nine tenths of the lines of a plain text file (.txt, .gz) and are judged on the tenth that neither saw.
They run in turn, each in a process of its own, with the same number of threads (--threads; ours uses one). Seconds
run from the first line read to the finished vocabulary, without imports. Both read the file alike, and normalise
and cut words in the same way (BERT's, lower case). Peak memory is that of the whole process.
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HELD_OUT = 10  # every tenth line


def lines(path: Path, held_out: bool) -> Iterator[str]:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as file
    ):
        for number, line in enumerate(file):
            if (number % HELD_OUT == 0) == held_out:
                yield line


def train_ours(path: Path, vocabulary: int) -> tuple[float, Any]:
    from unmask.text.tokenizer import Tokenizer

    begun = time.perf_counter()
    tokenizer = Tokenizer.train(lines(path, held_out=False), vocabulary=vocabulary)
    return time.perf_counter() - begun, tokenizer


def train_library(path: Path, vocabulary: int) -> tuple[float, Any]:
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    from unmask.text import layout
    from unmask.text.tokenizer import Tokenizer

    begun = time.perf_counter()
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, min_frequency=2, show_progress=False, special_tokens=list(layout.SPECIALS)
    )
    backend.train_from_iterator(lines(path, held_out=False), trainer)
    seconds = time.perf_counter() - begun
    numbers = backend.get_vocab()
    pieces = sorted(numbers, key=numbers.__getitem__)
    return seconds, Tokenizer(layout.description(pieces, layout.TokenizerConfig()))


TRAINERS = {"ours": train_ours, "library": train_library}


def once(name: str, path: Path, vocabulary: int) -> dict[str, Any]:
    """One training in this process."""
    seconds, tokenizer = TRAINERS[name](path, vocabulary)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    judged = tokenizer.statistics(lines(path, held_out=True))
    return {
        "seconds": seconds,
        "memory": memory,
        "pieces": tokenizer.vocabulary,
        "characters_per_piece": judged.characters_per_piece,
        "unknown_rate": judged.unknown_rate,
    }


def fresh(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
    environment |= {"OMP_NUM_THREADS": str(arguments.threads), "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, __file__, str(arguments.path), "--vocabulary", str(arguments.vocabulary)]
    done = subprocess.run([*command, "--once", name], env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--once", choices=TRAINERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(arguments.once, arguments.path, arguments.vocabulary)))
        return
    load = os.getloadavg()[0]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in TRAINERS}
    for _ in range(arguments.repeat):
        for name in TRAINERS:
            runs[name].append(fresh(name, arguments))
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(runs["ours"], runs["library"], strict=True)]
    parts = [f"ours/library {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
    for name, found in runs.items():
        seconds = [run["seconds"] for run in found]
        parts.append(
            f"{name} {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
            f"{max(run['memory'] for run in found) / 2**20:.0f} MiB, "
            f"{found[0]['characters_per_piece']:.3f} characters per piece, "
            f"{100 * found[0]['unknown_rate']:.3f} % unknown"
        )
    size = f"{arguments.vocabulary:,} pieces, {arguments.threads} threads, load before {load:.2f}"
    print(" | ".join([*parts, size]))


if __name__ == "__main__":
    main()
