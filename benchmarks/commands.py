"""What benchmarks of whole commands share: rows of real data, a small model, and a command in a process of its own.

The rows are those of a file, or of public data: as many as are asked for, evenly out of it; a tenth of them is the
dev set as well. Time, processor seconds and memory are those of the command's process from its start to its end,
imports included.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import conditions, texts
from benchmarks.against import words_of
from benchmarks.harness import Prepared, Settings, environment
from unmask.errors import UserError
from unmask.files import sha256

PUBLIC = {"classify": "reviews", "tag": "zh-pos"}  # default data
SUFFIXES = {"classify": "jsonl", "tag": "conll"}
DEV = 10  # every tenth row


def add_options(parser: argparse.ArgumentParser, rows: int, steps: int) -> None:
    """Options of the task, its rows, the model and fine-tuning."""
    parser.add_argument("--task", choices=tuple(PUBLIC), default="classify", help="(default classify)")
    parser.add_argument(
        "--file", type=Path, help="labelled rows: jsonl of text and label; to tag: CoNLL of token and tag"
    )
    parser.add_argument("--data", metavar="NAME", help="public data (default reviews; to tag: zh-pos)")
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="to fine-tune (default: all-MiniLM-L6-v2, fetched)"
    )
    for name, value, meaning in (
        ("rows", rows, "of the file or data, at most"),
        ("steps", steps, "of fine-tuning"),
        ("batch-size", 32, "rows per step"),
        ("max-length", 128, "tokens of a text at most"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{meaning} (default {value:,})")


def arrange(
    arguments: argparse.Namespace, folder: Path, checkout: Path
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """Write train and dev rows into `folder`; settings for commands of `checkout`.

    Raises UserError where the rows or the model cannot be had.
    """
    from unmask.data.public.models import download_model

    source = arguments.file or texts.fetched(arguments.data or PUBLIC[arguments.task], "--file FILE").train
    if source is None or not source.is_file():
        raise UserError("there are no labelled rows", given=source or arguments.data, hint="--file FILE")
    suffix = SUFFIXES[arguments.task]
    rows = evenly(records_of(source, suffix), arguments.rows)
    train, dev = (folder / f"{part}.{suffix}" for part in ("train", "dev"))
    train.write_text("".join(rows), encoding="utf-8")
    dev.write_text("".join(rows[::DEV]), encoding="utf-8")
    model = (arguments.model or download_model("minilm")).resolve()
    words = words_of(checkout)
    settings = {
        **{name: getattr(arguments, name) for name in ("task", "steps", "batch_size", "max_length", "threads")},
        "rows": len(rows),
        "train": str(train),
        "dev": str(dev),
        "model": str(model),
        "checkout": str(checkout),
        "commands": {"finetune": words.finetune, "predict": words.predict},
    }
    data = {"name": source.name if arguments.file else arguments.data or PUBLIC[arguments.task]}
    return settings, [
        {**data, "rows": len(rows), "sha256": sha256(train)},
        {"name": model.name, "sha256": sha256(model / "config.json")},
    ]


def records_of(path: Path, suffix: str) -> list[str]:
    """The rows of a jsonl file, or the sentences of a CoNLL file, each with the line ends that follow it."""
    text = path.read_text(encoding="utf-8").strip()
    if suffix == "jsonl":
        return [f"{line}\n" for line in text.split("\n")]
    return [f"{sentence}\n\n" for sentence in re.split(r"\n\s*\n", text)]


def evenly(rows: list[str], count: int) -> list[str]:
    """`count` of the rows at equal distances; all, where there are not so many."""
    count = min(count, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def unmask(command: str, settings: Settings, out: Path) -> None:
    """Run a command of the checkout of the settings. Raises UserError where it fails."""
    words = settings["commands"][command].split()
    arguments = [word.format(**settings, out=out) for word in words]
    _execute("unmask", arguments, settings["threads"], Path(settings["checkout"]))


def transformers(command: str, settings: Settings, out: Path) -> None:
    """Run the same command as peer.py has it. Raises UserError where it fails."""
    request = json.dumps({**settings, "out": str(out)})
    _execute("benchmarks.peer", [command, request], settings["threads"], conditions.ROOT)


def _execute(module: str, arguments: list[str], threads: int, checkout: Path) -> None:
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(
        command,
        env=environment(threads, checkout),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise UserError(f"{module} {arguments[0]} ended with status {done.returncode}", hint=done.stdout)


def prepared(
    run: Callable[[str, Settings, Path], None],
    command: str,
    settings: Settings,
    rows: int,
    output: str,
    facts: Callable[[Path], Mapping[str, Any]] = lambda path: {},
) -> Prepared:
    """One run of a command as the work; it writes `output` into an empty folder, and `facts` are read from there."""
    folder = Path(settings["keep"]) / "output"
    seconds: list[float] = []

    def work() -> float:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        begun = time.perf_counter()
        run(command, settings, folder / output)
        seconds.append(time.perf_counter() - begun)
        return float(rows)

    return Prepared(work, lambda: {"seconds": seconds[-1], **facts(folder / output)})
