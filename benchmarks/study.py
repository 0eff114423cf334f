"""A study: variants of a recipe, each with several seeds, pretrained and then fine-tuned; scored on dev rows.

    python benchmarks/study.py benchmarks/studies/quickstart.yaml --corpus DIR --train train.jsonl --out runs/study

Every run is a run folder, so that a study that was stopped goes on where it was. Test rows are never read.
Prints one Markdown table: mean and standard deviation over seeds. A row of fewer than three seeds is 'screening'.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
import yaml

from unmask import console, files
from unmask.train.finetune import finetune
from unmask.train.pretrain import pretrain
from unmask.train.recipe import FinetuneRecipe, PretrainRecipe, read_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a YAML file: see benchmarks/studies/")
    parser.add_argument("--corpus", required=True, help="a folder made by `unmask corpus build`")
    parser.add_argument("--train", help="labelled rows; without them only pretraining is studied")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console.set_quiet(True)
    study = yaml.safe_load(arguments.study.read_text(encoding="utf-8"))
    rows = []
    for name, variant in study["variants"].items():
        if arguments.only and name not in arguments.only:
            continue
        seeds = arguments.seeds or (variant or {}).get("seeds") or study["seeds"]
        figures = [one(name, variant or {}, study, seed, arguments) for seed in seeds]
        rows.append((name, figures))
        print(table(rows[-1:], header=len(rows) == 1), flush=True)


def one(
    name: str, variant: dict[str, Any], study: dict[str, Any], seed: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """The figures of one variant with one seed; variants that pretrain alike share the pretraining run."""
    settings = [*study.get("pretrain", []), *variant.get("pretrain", [])]
    own = "_".join(variant.get("pretrain", [])).replace("/", "-") or "base"
    settings += [f"data.corpus={json.dumps(arguments.corpus)}", f"seed={seed}"]
    recipe = read_recipe(PretrainRecipe, study["recipes"]["pretrain"], settings)
    done = pretrain(recipe, output=arguments.out / "pretrain" / f"{own}-{seed}")
    figures = {
        "held-out loss": done.heldout_figures["masked.loss"],
        "masked accuracy": done.heldout_figures["masked.accuracy"],
        "tokens/s": done.tokens_per_second,
        **gradients(done.folder),
    }
    if arguments.train is None:
        return figures
    for label, pretrained in (("pretrained", True), ("from scratch", False)):
        settings = [*study.get("finetune", []), *variant.get("finetune", [])]
        settings += [f"data.train={json.dumps(arguments.train)}", f"model={json.dumps(str(done.model))}"]
        settings += [f"seed={seed}", f"pretrained={json.dumps(pretrained)}"]
        tuning = read_recipe(FinetuneRecipe, study["recipes"]["finetune"], settings)
        run = finetune(tuning, output=arguments.out / "finetune" / f"{name}-{label}-{seed}".replace(" ", "-"))
        figures[f"dev accuracy, {label}"] = 100 * run.dev["classify.accuracy"]
        figures[f"seconds, {label}"] = run.seconds
    return figures


def gradients(run: Path) -> dict[str, float]:
    """How long the gradient of the first block is beside that of the last one, at the first step and at the end."""
    log = files.read_jsonl(run / "metrics.jsonl")
    norms = [row["norms"]["gradient"] for row in log if "norms" in row]
    return {
        f"gradient, first / last block, {when}": at[1] / at[-1]
        for when, at in (("begin", norms[0]), ("end", norms[-1]))
    }


def table(rows: list[tuple[str, list[dict[str, float]]]], header: bool) -> str:
    """Markdown: a column for each figure, mean ± standard deviation."""
    columns = list(rows[0][1][0])
    lines = []
    if header:
        lines += ["| variant | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, figures in rows:
        cells = [shown([row[column] for row in figures]) for column in columns]
        note = "" if len(figures) >= 3 else " (screening)"
        lines.append(f"| {name}{note} | {len(figures)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(values: list[float]) -> str:
    if max(values) < 0.01:
        mean = f"{statistics.mean(values):.1g}"
        return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1g}"
    digits = 0 if max(values) >= 1000 else 1 if max(values) >= 10 else 3
    mean = f"{statistics.mean(values):,.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):,.{digits}f}"


if __name__ == "__main__":
    main()
