"""Real rows to look at: what a model fills into blanks, and what it predicts, right and wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from unmask.data.hashing import hash_integers
from unmask.data.rows.example import Example
from unmask.metrics import correct
from unmask.metrics.retrieval import Pool, Similarity, ranked
from unmask.runtime.predictor import Predictor
from unmask.tasks import Task
from unmask.tasks.embed import pool_of
from unmask.tasks.task import TargetKind
from unmask.text.chinese import RUN

SAMPLE = 31  # what a hash is for
SHORTEST = 4  # letters of a word worth hiding; a Chinese character is always one
TEXT = 300  # characters of a text in a report
CONTEXT_CHARACTERS = 80  # on each side of an answer in a report
CONTEXT = 40  # tokens of a passage
FILLS = 6  # passages with a blank
EACH = 5  # rows predicted right, and as many predicted wrong


def sample_fills(predictor: Predictor, texts: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Passages of some texts with one word hidden, chosen by hash, and the tokens proposed for it.

    The word is a single token, so that the model can find it; in Chinese it is one character.
    """
    rows: list[dict[str, Any]] = []
    order = sorted(range(len(texts)), key=lambda number: int(hash_integers(seed, SAMPLE, number)[0]))
    for number in order:
        if len(rows) == FILLS:
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
        rows.append({"text": passage, "mask_token": mask, "masked_word": text[start:stop], "candidates": candidates})
    return rows


def _is_maskable(word: str) -> bool:
    return word.isalpha() and (len(word) >= SHORTEST or RUN.match(word) is not None)


@dataclass(frozen=True)
class _Rows:
    """Examples, the predictions of a task for them, the same in the form in which they are compared, and which are
    right."""

    examples: Sequence[Example]
    predictions: Sequence[Any]
    comparable: Sequence[Any]
    correct: Sequence[bool]
    similarity: Similarity | None  # of vectors

    @cached_property
    def first(self) -> tuple[Pool, list[int]]:
        """The second texts of all examples, and for each the example whose second text is nearest to its first one."""
        pool, pairs = pool_of(self.examples), np.stack(self.predictions)
        return pool, ranked(pool, pairs[:, 0], pairs[:, 1], self.similarity)[1]


def predictions(task: Task[Any], examples: Sequence[Example], made: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the first examples predicted right, and the first predicted wrong, as a report shows them; those with
    nothing in them are passed over. made: predictions of the task."""
    reference, comparable = task.reference(examples), task.comparable(examples, made)
    hits = correct(task.kind, task.metric_for(examples), reference, comparable)
    rows = _Rows(examples, made, comparable, hits, getattr(task, "similarity", None))
    telling = [number for number in range(len(examples)) if reference[number] or comparable[number]]
    right, wrong = ([number for number in telling if hits[number] is hit][:EACH] for hit in (True, False))
    return [SAMPLES[task.kind](rows, number) for number in right + wrong]


def _text(rows: _Rows, number: int) -> dict[str, Any]:
    """A text with its labels or number, and the predicted ones."""
    example = rows.examples[number]
    return {"text": example.text[:TEXT], "label": example.target, "predicted": rows.comparable[number]}


def _label(rows: _Rows, number: int) -> dict[str, Any]:
    """The same with the probability of the predicted label."""
    return _text(rows, number) | {"probability": round(rows.predictions[number][0].score, 4)}


def _spans(rows: _Rows, number: int) -> dict[str, Any]:
    """A text with its spans, in characters."""
    example = rows.examples[number]
    true, predicted = (
        [[span.start, span.end, span.label] for span in spans]
        for spans in (example.spans or (), rows.predictions[number])
    )
    return {"text": example.text, "spans": true, "predicted": predicted}


def _answer(rows: _Rows, number: int) -> dict[str, Any]:
    """The part of the context around the true answer, else the predicted one; bounds count its characters."""
    example, prediction = rows.examples[number], rows.predictions[number]
    true = [(answer.start, answer.end) for answer in (example.answers or ())[:1]]
    predicted = [(one.start, one.end) for one in prediction[:1] if one]
    start, end = next(iter(true + predicted), (0, 0))
    low, high = max(0, start - CONTEXT_CHARACTERS), end + CONTEXT_CHARACTERS
    spans, marked = (
        [[max(a, low) - low, min(b, high) - low, "answer"] for a, b in some if a < high and b > low]
        for some in (true, predicted)
    )
    texts = {"question": example.text, "text": (example.pair or "")[low:high], "answer": prediction[0].text}
    return {**texts, "spans": spans, "predicted": marked, "correct": rows.correct[number]}


def _vectors(rows: _Rows, number: int) -> dict[str, Any]:
    """A pair with score and cosine, or a text with what belongs to it and what was found first."""
    example = rows.examples[number]
    if example.number is not None:
        text = f"{example.text[:TEXT]} / {(example.pair or '')[:TEXT]}"
        return {"text": text, "label": example.number, "predicted": round(rows.comparable[number], 3)}
    pool, every = rows.first
    first = every[number]
    own = [pool.texts[place] for place in pool.relevant[number]]
    right, found = ((rows.examples[row].pair or "")[:TEXT] for row in (first if first in own else own[0], first))
    return {"text": example.text[:TEXT], "label": right, "predicted": found}


SAMPLES: dict[TargetKind, Callable[[_Rows, int], dict[str, Any]]] = {
    "label": _label,
    "labels": _text,
    "number": _text,
    "tags": _spans,
    "answers": _answer,
    "vectors": _vectors,
}
