"""What redesign.py trains: data made in code, and the settings of every kind, in the names of 0.1.0."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS = """river stone bridge lantern winter harbour captain letter garden window silver morning shadow market
orchard engine travel whisper mountain feather candle thunder village winding golden broken hollow distant
narrow gentle forgotten brighter carried opened followed answered remembered watched wandered gathered""".split()
MARKS = {"river": "water", "mountain": "stone"}
TEXTS = ["river stone captain winter", "river captain the mountain.", " ".join(WORDS[::-1])]
PAIRS = [("river river letter", "river golden"), ("mountain", " ".join(WORDS))]
QUESTIONS = [("river what?", "lantern river golden stone market."), ("stone what?", " ".join(WORDS) + ".")]
FILLED = ["the river [MASK] the stone.", "[MASK] captain [MASK]"]


def write_data(folder: Path) -> None:
    """Write a corpus and labelled rows: those of the fixtures of tests/conftest.py."""
    data = {"corpus.jsonl": stories(), "table.csv": labelled(), "many_labels.csv": many_labels()}
    data |= {"numbers.csv": numbers(), "pairs.jsonl": pairs(), "nested.jsonl": nested()}
    data |= {"tagged.conll": conll(entity), "plain_tags.conll": conll(part_of_speech)}
    data |= {"questions.json": [questions(False)], "doubtful.json": [questions(True)]}
    for name, lines in data.items():
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (folder / name).write_text("\n".join(texts) + "\n", encoding="utf-8")


def stories() -> list[Any]:
    rows = []
    for number in range(120):
        draw = random.Random(number)
        lengths = (draw.randint(3, 12) for _ in range(1 + number % 12))
        sentences = [" ".join(draw.choices(WORDS, k=length)).capitalize() + "." for length in lengths]
        rows.append({"text": " ".join(sentences)})
    return rows


def labelled() -> list[Any]:
    draw, lines = random.Random(5), ["text,label"]
    for number in range(80):
        mark = list(MARKS)[number % 2]
        words = [word for word in draw.choices(WORDS, k=4) if word not in MARKS] + [mark]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)},{MARKS[mark]}")
    return lines


def many_labels() -> list[Any]:
    draw, lines = random.Random(6), ["text,label"]
    for number in range(80):
        true = [mark for place, mark in enumerate(MARKS) if number >> place & 1]
        words = [word for word in draw.choices(WORDS, k=4) if word not in MARKS] + true
        draw.shuffle(words)
        lines.append(f"{' '.join(words)},{'|'.join(MARKS[mark] for mark in true)}")
    return lines


def numbers() -> list[Any]:
    draw, lines = random.Random(8), ["text_a,text_b,label"]
    for number in range(80):
        times = 1 + number % 4
        words = [word for word in draw.choices(WORDS, k=6) if word != "river"] + ["river"] * times
        draw.shuffle(words)
        lines.append(f"{' '.join(words[:4])},{' '.join(words[4:])},{10 * times}")
    return lines


def pairs() -> list[Any]:
    draw, rows = random.Random(9), []
    for number in range(60):
        mark = WORDS[number % 20]
        first, second = (" ".join([mark, *draw.choices(WORDS[20:], k=2)]) for _ in range(2))
        row = {"text_a": mark if number % 5 == 0 else first, "text_b": second}
        rows.append(row | ({"negative": " ".join(draw.choices(WORDS[20:], k=3))} if number % 3 == 0 else {}))
    return rows


def nested() -> list[Any]:
    draw, rows = random.Random(8), []
    for _ in range(60):
        words = draw.choices(["river", "captain", "winter", "letter"], k=draw.randint(3, 7))
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
        spans = [[s, s + 7, "PERSON"] for s, word in zip(starts, words, strict=True) if word == "captain"]
        following = zip(starts, words, words[1:], strict=False)
        spans += [[s, s + 6 + len(after), "PLACE"] for s, word, after in following if word == "river"]
        rows.append({"text": " ".join(words), "spans": spans})
    return rows


def entity(words: list[str], place: int) -> str:
    if words[place] in ("river", "stone"):
        return "B-PLACE"
    if place and words[place - 1] in ("river", "stone") and words[place] != "captain":
        return "I-PLACE"
    return "B-PERSON" if words[place] == "captain" else "O"


def part_of_speech(words: list[str], place: int) -> str:
    return "PAST" if words[place].endswith("ed") else "NAME" if words[place] < "m" else "THING"


def conll(tag: Callable[[list[str], int], str]) -> list[Any]:
    draw, lines = random.Random(7), []
    for _ in range(60):
        words = draw.choices(WORDS, k=draw.randint(2, 9))
        lines += [f"{word}\t{tag(words, place)}" for place, word in enumerate(words)] + [""]
    return lines


def questions(doubtful: bool) -> dict[str, Any]:
    """SQuAD; doubtful: every third context holds no answer."""
    draw, paragraphs = random.Random(11), []
    others = [word for word in WORDS if word not in ("river", "stone")]
    for number in range(16):
        answer = {mark: draw.choice(others) for mark in ("river", "stone")}
        words = draw.choices(others, k=draw.randint(6, 14))
        known = not doubtful or number % 3 > 0
        words += [part for pair in answer.items() for part in pair] if known else []
        context, qas = " ".join(words) + ".", []
        for which, mark in enumerate(("river", "stone", "river")):
            start = context.rfind(f"{mark} ") + len(mark) + 1
            answers = [{"text": answer[mark], "answer_start": start}] if known else []
            qas.append({"id": f"{number}-{which}", "question": f"{mark} what?", "answers": answers})
        paragraphs.append({"context": context, "qas": qas})
    return {"version": "v2.0", "data": [{"title": "stories", "paragraphs": paragraphs}]}


MASKED, WHOLE, NEXT = {"name": "masked"}, {"name": "masked", "unit": "word"}, {"name": "next_sentence"}
SMALL = {"layers": 1, "width": 16, "heads": 2, "length": 32, "dropout": 0.1}
LEARNED, PRE = {"positions": "learned"}, {"norm": "pre", "gated": True, "layers": 2}
MODERN = PRE | {"positions": "rotary", "pattern": "GL", "window": 4, "rotary_base_local": 1000.0}
MODERNBERT = {"embedding_norm": True, "first_norm": False, "norm_bias": False, "bias": False, "segments": 0}
ARCHITECTURES = {
    "learned": LEARNED,
    "reference attention": {"attention": "reference", "layers": 2},
    "pre-norm": PRE | {"qk_norm": True, "activation": "silu"},
    "local": MODERN,
    "roberta": LEARNED | {"family": "roberta", "segments": 1, "norm_eps": 1e-5},
    "albert": LEARNED | {"family": "albert", "embedding": 8, "blocks": 1, "layers": 2},
    "distilbert": LEARNED | {"family": "distilbert", "segments": 0},
    "electra": LEARNED | {"family": "electra", "embedding": 8, "inner": 24},
    "modernbert": MODERN | MODERNBERT | {"family": "modernbert", "norm_eps": 1e-5},
}
RAMP = {"start": 0.5, "until": 0.5}
# kind -> settings by section; what begins with @ is the model of that kind
PRETRAINING: dict[str, dict[str, Any]] = {
    "masked": {},
    "masked, whole words": {"objectives": [WHOLE]},
    "next_sentence": {"objectives": [NEXT]},
    "masked, next_sentence": {"objectives": [MASKED, NEXT]},
    "whole words, next_sentence": {"objectives": [WHOLE | {"weight": 0.5}, NEXT | {"weight": 2.0}]},
    "masked, shares": {
        "objectives": [MASKED | {"ratio": 0.3, "final_ratio": 0.1, "mask_share": 0.7, "random_share": 0.2}]
    },
    **{f"masked, {name}": {"model": values} for name, values in ARCHITECTURES.items()},
    "masked, local, long": {"model": MODERN | {"length": 192}, "data": {"length": 192}},
    "masked, accumulated": {"train": {"accumulate": 2, "recompute": True, "clip": 0.1}},
    "masked, ramps": {"train": {"batch_ramp": RAMP}, "data": {"length_ramp": RAMP}},
    "masked, muon": {"train": {"optimizer": {"name": "muon"}, "schedule": "cosine", "ema": 0.2}},
    "masked, plateau": {"train": {"optimizer": {"decay": 0.1, "beta2": 0.95}, "schedule": "plateau"}},
    "masked, counts": {"start": {"embeddings": "counts", "neighbour_layers": 1}},
    "masked, continued": {"start": {"model": "@masked"}, "transfer": {"length": 48}},
}
# kind -> task, rows, settings of the task, other settings
FINETUNING: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "classify": ("classify", "table.csv", {}, {}),
    "classify, mean": ("classify", "table.csv", {"pooling": "mean"}, {}),
    "classify, attention": ("classify", "table.csv", {"pooling": "attention"}, {}),
    "classify, mixed": ("classify", "table.csv", {"mix_layers": True}, {}),
    "classify, adaptive": ("classify", "table.csv", {"head": "adaptive"}, {}),
    "classify, auc": ("classify", "table.csv", {"metric": "auc"}, {}),
    "classify, labels": ("classify", "many_labels.csv", {"target": "labels"}, {}),
    "classify, labels, tuned": (
        "classify",
        "many_labels.csv",
        {"target": "labels", "tune_thresholds": True, "metric": "macro_f1"},
        {},
    ),
    "classify, number": ("classify", "numbers.csv", {"target": "number"}, {}),
    "classify, number, error": ("classify", "numbers.csv", {"target": "number", "metric": "rmse"}, {}),
    "tag": ("tag", "tagged.conll", {}, {}),
    "tag, crf": ("tag", "tagged.conll", {"decoder": "crf"}, {}),
    "tag, lstm": ("tag", "tagged.conll", {"lstm": 8}, {}),
    "tag, mixed": ("tag", "plain_tags.conll", {"mix_layers": True}, {}),
    "tag, spans": ("tag", "tagged.conll", {"decoder": "spans"}, {}),
    "tag, spans, nested": ("tag", "nested.jsonl", {"decoder": "spans"}, {}),
    "tag, plain": ("tag", "plain_tags.conll", {}, {}),
    "tag, plain, crf": ("tag", "plain_tags.conll", {"decoder": "crf"}, {}),
    "classify, windows": ("classify", "table.csv", {"length": 8, "long": "windows"}, {}),
    "answer": ("answer", "questions.json", {}, {}),
    "answer, or none": ("answer", "doubtful.json", {}, {}),
    "embed": ("embed", "pairs.jsonl", {}, {}),
    "embed, attention": ("embed", "pairs.jsonl", {"pooling": "attention", "normalise": False}, {}),
    "embed, cls": ("embed", "pairs.jsonl", {"pooling": "cls", "metric": "recall_10"}, {}),
    "embed, scores": ("embed", "numbers.csv", {"loss": "cosine", "pooling": "max"}, {}),
    "embed, unsupervised": ("embed", "pairs.jsonl", {"loss": "unsupervised"}, {}),
    "classify, focal": ("classify", "table.csv", {"loss": "focal"}, {"regularise": {"fgm": 1.0}}),
    "classify, logit-adjusted": ("classify", "table.csv", {"loss": "logit_adjusted"}, {"hide": 0.2}),
    "classify, balanced": (
        "classify",
        "table.csv",
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {},
    ),
    "classify, rates": ("classify", "table.csv", {}, {"transfer": {"layer_decay": 0.5, "head_rate": 3.0}}),
    "classify, redrawn": ("classify", "table.csv", {}, {"transfer": {"reinitialise_layers": 1}}),
    "classify, frozen": ("classify", "table.csv", {}, {"transfer": {"freeze_embeddings": True}}),
    "classify, random": ("classify", "table.csv", {}, {"pretrained": False}),
    "classify, continued": ("classify", "table.csv", {}, {"model": "@classify"}),
    "classify, best": (
        "classify",
        "table.csv",
        {},
        {"train": {"evaluations": 6, "accumulate": 2, "optimizer": {"lr": 0.03}}},
    ),
    "classify, pair objective": ("classify", "table.csv", {}, {"model": "@masked, next_sentence"}),
    "tag, wide": ("tag", "tagged.conll", {"wide": True, "wide_dropout": 0.1, "label_smoothing": 0.1}, {}),
    "tag, crf, rates": ("tag", "tagged.conll", {"decoder": "crf", "head_lr_factor": 3.0, "lstm": 8}, {}),
    "tag, rdrop": ("tag", "tagged.conll", {}, {"regularise": {"rdrop": 1.0}}),
    "answer, modernbert": ("answer", "questions.json", {}, {"model": "@masked, modernbert"}),
    "tag, modernbert": ("tag", "tagged.conll", {}, {"model": "@masked, modernbert"}),
    **{
        f"classify, {name}": ("classify", "table.csv", {}, {"model": f"@masked, {name}"})
        for name in ("roberta", "albert", "distilbert", "electra", "modernbert")
    },
}


def kind_of(name: str) -> str:
    return "pretrain" if name in PRETRAINING else "finetune"


def recipe_of(name: str) -> dict[str, Any]:
    """A complete recipe: 30 steps of small batches. A value @KIND stands for the model of that kind."""
    train = {"budget": "30 steps", "evaluations": 1, "threads": 1, "optimizer": {"lr": 0.01}}
    if name in PRETRAINING:
        given = PRETRAINING[name]
        going_on = "start" in given and "model" in given["start"]
        data = {"corpus": "corpus", "length": 32, "batch_tokens": 256, "heldout": 0.1}
        recipe = {"seed": 1, "data": data, "model": {} if going_on else SMALL, "train": train}
    else:
        task, rows, settings, given = FINETUNING[name]
        train["optimizer"] = {"lr": 0.03 if task == "tag" else 0.01}  # with which something is learnt
        own = {"name": task, "length": 16, **settings}
        recipe = {
            "seed": 1,
            "model": "@masked",
            "task": own,
            "data": {"train": rows, "dev_share": 0.3},
            "train": train,
        }
    for key, value in given.items():
        inner = recipe.get(key)
        recipe[key] = {**inner, **value} if isinstance(inner, dict) else value
    if "optimizer" in given.get("train", {}):
        recipe["train"]["optimizer"] = train["optimizer"] | given["train"]["optimizer"]
    return recipe


def texts_of(name: str) -> list[Any]:
    """What a fine-tuned model predicts."""
    task, rows, *_ = FINETUNING[name]
    return {"answer": QUESTIONS, "embed": [*PAIRS, TEXTS[0]]}.get(task, PAIRS if rows == "numbers.csv" else TEXTS)
