"""A tiny network learns to answer: the question names a kind of thing, of which each context has one."""

import json
import random
from pathlib import Path

import torch

from reading import questions_of
from unmask import bundle
from unmask.console import SILENT
from unmask.evaluate.baselines import simplest_baseline
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

OTHERS = "stone captain letter garden window morning orchard engine travel whisper thunder village".split()
KINDS = {"winter": ("river", "harbour"), "shadow": ("bridge", "market"), "silver": ("lantern", "candle")}


def write(path: Path, seed: int, contexts: int) -> Path:
    draw, paragraphs = random.Random(seed), []
    for number in range(contexts):
        words, chosen = draw.choices(OTHERS, k=draw.randint(4, 10)), {}
        for question, answers in KINDS.items():
            chosen[question] = draw.choice(answers)
            words.insert(draw.randint(0, len(words)), chosen[question])
        context = " ".join(words)
        asked = [
            {"id": f"{number}-{question}", "question": question, "answers": [{"text": answer}]}
            for question, answer in chosen.items()
        ]
        paragraphs.append({"context": context, "qas": asked})
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def test_questions_on_contexts_never_seen_are_answered(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = EncoderConfig(
        vocab_size=tokenizer.vocab_size,
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    bundle.write(tmp_path / "start", config, {"encoder": Encoder(config)}, tokenizer, [])
    train, test = write(tmp_path / "train.json", 1, 60), write(tmp_path / "test.json", 2, 20)
    settings = ["task.max_length=64", "train.budget=200 steps", "train.optimizer.lr=0.015", "dropout=0"]
    more = ["train.evaluations=2", "data.dev_share=0.2", "data.batch_size=24"]
    data = {"model": tmp_path / "start", "train": train, "output": tmp_path / "run"}
    predictor = finetune(None, [*settings, *more], task="answer", progress=SILENT, **data).predictor()
    found = predictor.evaluate(test)
    examples = questions_of(test, "test")
    plain = predictor.task.reference(examples)
    least = simplest_baseline(predictor.task, [], examples)
    hits = sum(said in right["answers"] for said, right in zip(least.predicted, plain, strict=True))
    assert found.figures["answer_f1"].value > 0.5 > 0.2 > hits / len(examples)
