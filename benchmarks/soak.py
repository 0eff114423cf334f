"""Does a long run keep its memory? Ten thousand steps of a small network on real text, with checkpoints.

`python -m benchmarks.soak --corpus DIR` prints, at even marks, what the process holds and how fast it is. It
fails (exit status 1) where the second half of the run adds more than `--allowed` MiB.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.child import held_bytes
from unmask.console import SILENT
from unmask.train import pretrain as module
from unmask.train.pretrain import pretrain
from unmask.train.recipe import PretrainRecipe, parse_recipe

MARKS = 20
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--corpus", required=True, help="a folder made by `unmask corpus build`")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--allowed", type=float, default=2.0, help="MiB that the second half may add")
    arguments = parser.parse_args()
    recipe = parse_recipe(PretrainRecipe, values_of(arguments.corpus, arguments.steps), (), "the benchmark")
    held: list[float] = []

    class Watching(module.PretrainTrainer):
        """Reads the memory where the run evaluates, so that all marks see the same state of affairs."""

        def _evaluate(self, step: object) -> None:
            super()._evaluate(step)  # type: ignore[arg-type]
            self.run.checkpoints.wait()
            held.append(held_bytes() / MIB)
            print(
                f"step {self.state.step:>6}  {held[-1]:8.1f} MiB  {self.state.seconds:7.1f} s",
                flush=True,
            )

    setattr(module, "PretrainTrainer", Watching)  # noqa: B010
    with tempfile.TemporaryDirectory(prefix="unmask-soak-") as folder:
        pretrain(recipe, output=Path(folder) / "run", progress=SILENT)
    grown = held[-1] - held[len(held) // 2 - 1]
    print(f"the second half added {grown:+.1f} MiB (allowed {arguments.allowed:g})")
    return int(grown > arguments.allowed)


def values_of(corpus: str, steps: int) -> dict[str, object]:
    return {
        "data": {"corpus": corpus, "max_length": 64, "tokens_per_step": 512},
        "model": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2},
        "train": {
            "budget": f"{steps} steps",
            "evaluations": MARKS,
            "optimizer": {"name": "adamw"},
            "ema": 0.1,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
