"""Real rows to look at: what a model fills into blanks, and what it predicts, right and wrong."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from unmask.data.hashing import hash_integers
from unmask.data.rows.tables import Example
from unmask.metrics import correct
from unmask.predict import Predictor
from unmask.tasks import Task
from unmask.text.chinese import RUN

SAMPLE = 31  # what a hash is for
SHORTEST = 4  # letters of a word worth hiding; a Chinese character is always one
CONTEXT = 40  # pieces of a passage


def sample_fills(predictor: Predictor, texts: Sequence[str], seed: int, count: int = 6) -> list[dict[str, Any]]:
    """Passages of some texts with one word hidden, chosen by hash, and the pieces proposed for it.

    The word is a single piece, so that the model can find it; in Chinese it is one character.
    """
    rows: list[dict[str, Any]] = []
    order = sorted(range(len(texts)), key=lambda number: int(hash_integers(seed, SAMPLE, number)[0]))
    for number in order:
        if len(rows) == count:
            break
        text = texts[number]
        encoded = predictor.tokenizer.encode(text, max_length=CONTEXT)
        sizes = Counter(encoded.word_ids)
        places = [
            place
            for place, (start, stop) in enumerate(encoded.offsets)
            if sizes[encoded.word_ids[place]] == 1
            and encoded.input_ids[place] != predictor.tokenizer.unk_token_id
            and _is_maskable(text[start:stop])
        ]
        if len(places) < 3:
            continue
        start, stop = encoded.offsets[places[int(hash_integers(seed, SAMPLE, number, 1)[0]) % len(places)]]
        end = encoded.offsets[-2][1]  # the last is [SEP]
        mask = predictor.tokenizer.mask_token
        passage = f"{text[:start]}{mask}{text[stop:end]}"
        proposed = predictor.fill(passage)[0]
        candidates = [{"token": fill.token, "probability": round(fill.score, 4)} for fill in proposed]
        rows.append({"text": passage, "mask": mask, "hidden": text[start:stop], "candidates": candidates})
    return rows


def _is_maskable(word: str) -> bool:
    return word.isalpha() and (len(word) >= SHORTEST or RUN.match(word) is not None)


def predictions(
    task: Task[Any], examples: Sequence[Example], found: Sequence[Any], each: int = 5
) -> list[dict[str, Any]]:
    """The first examples predicted right, and the first predicted wrong; those with nothing in them are passed over."""
    reference, said = task.reference(examples), task.comparable(examples, found)
    hits = correct(task.kind, task.metric_for(examples), reference, said)
    rows = []
    for right in (True, False):
        chosen = [number for number, truth in enumerate(reference) if hits[number] is right and (truth or said[number])]
        rows += task.samples(chosen[:each], examples, found)
    return rows
