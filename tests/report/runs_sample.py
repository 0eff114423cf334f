"""Small run folders as training writes them, without training."""

import json
from pathlib import Path
from typing import Any

from unmask import files
from unmask.config import to_yaml
from unmask.evaluate.predictions import Predictions

ROWS = ["a", "b", "a", "b", "a", "a", "b", "b"]


def write_trained(
    folder: Path,
    kind: str = "pretrain",
    *,
    finished: bool = True,
    created: str = "2001-01-01T00:00:00+00:00",
    **recipe: Any,
) -> Path:
    """A run folder of twelve steps; `recipe` replaces settings at the top."""
    folder.mkdir(parents=True)
    pretrain = {
        "seed": 0,
        "data": {"corpus": "texts/corpus"},
        "model": {"num_hidden_layers": 2, "hidden_size": 16},
        "objectives": [{"name": "masked", "mask_prob": 0.15}],
        "train": {"budget": "12 steps"},
    }
    finetune = {
        "seed": 0,
        "init_from": "runs/pretrain/model",
        "pretrained": True,
        "task": {"name": "classify"},
        "data": {"train": "rows.csv", "dev": None, "dev_share": 0.1},
        "train": {"budget": "12 steps"},
    }
    values = {**(pretrain if kind == "pretrain" else finetune), **recipe}
    (folder / "recipe.yaml").write_text(to_yaml(values), encoding="utf-8")
    figures = {"masked.loss": 5.5} if kind == "pretrain" else {"classify.loss": 0.4, "classify.accuracy": 0.9}
    ends: dict[str, Any] = {"steps": 12, "seconds": 6.0}
    if kind == "pretrain":
        ends |= {
            "tokens": 1200,
            "parameters": 1000,
            "heldout_figures": figures,
            "uniform_loss": 6.0,
            "unigram_loss": 5.8,
        }
    else:
        ends |= {"best_step": 8, "train_rows": 90, "dev_rows": 10, "truncated": 0, "dev": figures}
    inputs = {"corpus": "c0"} if kind == "pretrain" else {"model": "m0", "train": "t0"}
    facts = {
        "kind": kind,
        "created": created,
        "environment": {"device": "cpu", "threads": 1},
        "inputs": inputs,
    }
    files.write_json(folder / "run.json", facts | ({"finished": ends} if finished else {}))
    rows: list[dict[str, Any]] = []
    for step in range(1, 13 if finished else 7):
        base = {"step": step, "progress": step / 12, "seconds": step * 0.5, "tokens": step * 100}
        rows.append({**base, "loss": 6 - step / 24})
        if step % 4 == 0:
            rows.append({**base, "evaluation": figures})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def keep(folder: Path, predicted: list[str], *, sha256: str = "ab" * 32, labels: str = "ab") -> Path:
    """Give a run predictions on the eight test rows."""
    return Predictions("classify", "label", "accuracy", "test.csv", sha256, list(labels), ROWS, predicted).save(folder)
