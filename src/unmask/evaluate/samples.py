"""Real rows to look at: what a model fills into blanks, and what it predicts, right and wrong."""

from collections.abc import Sequence
from typing import Any

from unmask.data.hashing import hashed
from unmask.data.tables import Example
from unmask.predict import Predictor
from unmask.tasks.classify import Label

SAMPLE = 31  # what a hash is for
SHORTEST = 4  # letters of a word worth hiding
WORDS = 24  # of context


def fills(predictor: Predictor, texts: Sequence[str], seed: int, count: int = 6) -> list[dict[str, Any]]:
    """Passages of some texts with one word hidden, chosen by hash, and the pieces proposed for it."""
    rows: list[dict[str, Any]] = []
    order = sorted(range(len(texts)), key=lambda number: int(hashed(seed, SAMPLE, number)[0]))
    for number in order:
        if len(rows) == count:
            break
        words = texts[number].split()[:WORDS]
        known = predictor.tokenizer
        whole = [
            place
            for place, word in enumerate(words)
            if word.isalpha() and len(word) >= SHORTEST and len(known.encode(word).ids) == 3
        ]
        if len(whole) < 3:
            continue
        place = whole[int(hashed(seed, SAMPLE, number, 1)[0]) % len(whole)]
        text = " ".join([*words[:place], "[MASK]", *words[place + 1 :]])
        proposed = predictor.fill(text)[0]
        candidates = [{"piece": fill.piece, "probability": round(fill.score, 4)} for fill in proposed]
        rows.append({"text": text, "hidden": words[place], "candidates": candidates})
    return rows


def predictions(examples: Sequence[Example], found: Sequence[Label], each: int = 5) -> list[dict[str, Any]]:
    """The first rows predicted right, and the first predicted wrong."""
    rows = []
    for right in (True, False):
        chosen = [
            (e, label) for e, label in zip(examples, found, strict=True) if (label.name == e.label) is right
        ]
        rows += [
            {
                "text": example.text[:300],
                "label": example.label,
                "predicted": label.name,
                "probability": round(label.score, 4),
            }
            for example, label in chosen[:each]
        ]
    return rows
