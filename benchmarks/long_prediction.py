"""Does prediction keep its memory over a million rows, and its output over kills at random moments?

`python -m benchmarks.long_prediction` runs `unmask predict` on generated rows with a tiny classifier of its own (one
layer x 32). It prints at even marks how many rows are written and what the process holds, then kills the same command
at random moments until one run ends, and compares the two outputs. It fails (exit status 1) where a mark after the
first `--settled` rows differs from the mean of these marks by more than `--allowed` per cent, or a byte differs.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import conditions
from unmask import bundle
from unmask.console import SILENT
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

WORDS = "river stone bridge lantern winter harbour captain letter garden window silver morning shadow market".split()
MIB = 1 << 20
EVERY = 0.25  # seconds between two looks at a run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_prediction", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=("csv", "jsonl", "txt"), default="csv", help="of the rows")
    parser.add_argument("--kills", type=int, default=20, help="at random moments, about evenly over the run")
    parser.add_argument("--settled", type=int, default=100_000, help="rows before the memory counts")
    parser.add_argument("--allowed", type=float, default=2.0, help="per cent that the memory may differ after these")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.rows <= arguments.settled:
        parser.error(f"--rows {arguments.rows} is not more than --settled {arguments.settled}")
    with tempfile.TemporaryDirectory(prefix="unmask-rows-") as name:
        folder = Path(name)
        model, rows = make_model(folder), folder / f"rows.{arguments.format}"
        write_rows(rows, arguments.rows, arguments.seed)
        begun = time.monotonic()
        held = watch(start(model, rows, folder / "whole.jsonl"), folder / "whole.jsonl")
        seconds = time.monotonic() - begun
        print(f"{arguments.rows:,} rows in {seconds:.1f} s: {arguments.rows / seconds:,.0f} rows/s")
        off = spread([size for count, size in held if count > arguments.settled])
        print(f"memory after {arguments.settled:,} rows within {off:.2f} % of its mean (allowed {arguments.allowed:g})")
        kills = run_with_kills(model, rows, folder / "killed.jsonl", seconds, arguments.kills, arguments.seed)
        same = (folder / "killed.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
        print(f"after {kills} kills the output is {'the same' if same else 'ANOTHER'}, byte for byte")
    return int(off > arguments.allowed or not same)


def make_model(folder: Path) -> Path:
    """A classifier of one layer x 32, trained for a few steps."""
    draw = random.Random(0)
    texts = [sentence(draw) for _ in range(400)]
    tokenizer = Tokenizer.train(texts, vocab_size=96)
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    bundle.write(folder / "pretrained", config, {"encoder": Encoder(config)}, tokenizer, [])
    train = [{"text": text, "label": "water" if "river" in text else "land"} for text in texts]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    overrides = ["task.max_length=32", "train.budget=5 steps"]
    model, data = folder / "pretrained", folder / "train.jsonl"
    return finetune(overrides=overrides, model=model, train=data, output=folder / "run", progress=SILENT).model


def sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(3, 12)))


def write_rows(path: Path, count: int, seed: int) -> None:
    draw, kind = random.Random(seed), path.suffix
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n" if kind == ".csv" else "")
        for number in range(count):
            text = sentence(draw)
            row = {".csv": f"r{number},{text}", ".jsonl": json.dumps({"id": f"r{number}", "text": text}), ".txt": text}
            file.write(row[kind] + "\n")


def start(model: Path, rows: Path, output: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "unmask", "--quiet", "predict", str(model), str(rows), "--output", str(output)]
    path = os.pathsep.join([str(conditions.ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def watch(process: subprocess.Popen[bytes], output: Path, marks: int = 20) -> list[tuple[int, float]]:
    """(rows written, MiB held) each time when more rows are written; prints about `marks` of them."""
    held: list[tuple[int, float]] = []
    while process.poll() is None:
        time.sleep(EVERY)
        rows = written(output)
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # ended
        if rows and (not held or rows > held[-1][0]):
            held.append((rows, pages * os.sysconf("SC_PAGE_SIZE") / MIB))
    for place in range(0, len(held), max(1, len(held) // marks)):
        rows, size = held[place]
        print(f"{rows:>12,} rows  {size:8.1f} MiB", flush=True)
    if process.returncode:
        raise SystemExit(f"unmask predict ended with {process.returncode}")
    return held


def written(output: Path) -> int:
    """How many rows are noted as written."""
    try:
        return int(json.loads(output.with_name(f"{output.name}.part.json").read_bytes())["rows"])
    except (OSError, ValueError):
        return 0


def await_rows(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until more rows are written than before, or the process ends."""
    before = written(output)
    while process.poll() is None and written(output) <= before:
        time.sleep(0.01)


def spread(sizes: list[float]) -> float:
    """By how many per cent of their mean sizes differ from it at most."""
    mean = statistics.mean(sizes)
    return 100 * max(abs(size - mean) for size in sizes) / mean


def run_with_kills(model: Path, rows: Path, output: Path, seconds: float, kills: int, seed: int) -> int:
    """Run the command until it ends, with so many kills on the way at most; how many there were. A kill comes
    within its share of the whole run after rows that are written, each third one at any moment of the start."""
    draw, done = random.Random(seed), 0
    for number in range(kills):
        process = start(model, rows, output)
        try:
            if number % 3 == 2:
                process.wait(draw.uniform(0, 3))
            else:
                await_rows(process, output)
                process.wait(draw.uniform(0, seconds / (kills + 1)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done += 1
        else:
            break
    if not output.exists():
        watch(start(model, rows, output), output, marks=1)
    return done


if __name__ == "__main__":
    sys.exit(main())
