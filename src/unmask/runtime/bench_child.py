"""One backend and precision under measurement, in a process of its own, so that its memory is its own.

`python -m unmask.runtime.bench_child` reads requests and writes answers, one JSON object a line: `open` a model, `time`
calls of a workload, say how much `memory` was held at most. An answer with `error` is a user's mistake.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.console import command
from unmask.data.rows.example import Example
from unmask.errors import UserError, missing_engine
from unmask.messages import to_json
from unmask.runtime.machine import peak_memory, usable_cores
from unmask.runtime.predictor import Predictor, load

TEXTS = 128  # different ones of a workload; batches of fewer texts are drawn from them in turn
CANDIDATES = 4000  # tokens that are tried as words
PROBE = 4  # words


@dataclass(frozen=True)
class Workload:
    """Batches of texts, and the tokens of each batch as the network reads them. length: of the texts in tokens, None
    of real ones; batch_size: texts of a call."""

    length: int | None
    batch_size: int
    batches: list[list[Example]]
    tokens: list[int]

    def to_dict(self) -> dict[str, Any]:
        texts = sum(map(len, self.batches))
        return {"length": self.length, "batch_size": self.batch_size, "tokens_per_text": sum(self.tokens) / texts}


@dataclass
class Child:
    """What the requests work on. calls: how many each workload had, so that the next goes on with its next batch."""

    predictor: Predictor
    workloads: list[Workload]
    calls: dict[int, int] = field(default_factory=dict)

    def time(self, number: int, seconds: float) -> dict[str, Any]:
        """Predict batches of a workload for so many seconds, at least one; the seconds of each call, and the texts and
        tokens of all."""
        work, times, texts, tokens = self.workloads[number], list[float](), 0, 0
        while sum(times) < seconds or not times:
            turn = self.calls.get(number, 0) % len(work.batches)
            self.calls[number] = turn + 1
            begun = time.perf_counter()
            self.predictor.predict(work.batches[turn])
            times.append(time.perf_counter() - begun)
            texts, tokens = texts + len(work.batches[turn]), tokens + work.tokens[turn]
        return {"seconds": times, "texts": texts, "tokens": tokens}


def open_model(request: dict[str, Any]) -> tuple[Child, dict[str, Any]]:
    """Open a model and make its workloads; also the answer: how long loading took, and what the workloads are."""
    begun = time.perf_counter()
    names = ("backend", "precision", "threads", "allow_unused")
    predictor = load(request["model"], **{name: request[name] for name in names})
    _ = predictor.task, predictor.backend
    took = time.perf_counter() - begun
    notes: Sequence[str] = ()
    if request["file"] is None:
        workloads = synthetic_workloads(predictor, request["lengths"], request["batch_sizes"])
    else:
        rows = predictor.read(request["file"], "predict", **request["reading"])
        chosen = np.random.default_rng(0).permutation(len(rows.examples))[: request["rows"]]
        examples = [rows.examples[index].without_targets for index in chosen]
        workloads, notes = _of_rows(predictor, examples, request["batch_sizes"]), rows.notes
    torch = sys.modules.get("torch")  # where it is the engine
    threads = torch.get_num_threads() if torch else request["threads"] or usable_cores()
    answer = {
        "task": predictor.task.name,
        "load_seconds": took,
        "threads": threads,
        "workloads": [one.to_dict() for one in workloads],
        "notes": [to_json(note) for note in notes],
    }
    return Child(predictor, workloads), answer


def synthetic_workloads(predictor: Predictor, lengths: Sequence[int], batch_sizes: Sequence[int]) -> list[Workload]:
    """Texts of random words, with these lengths in tokens (special ones included) up to what the model reads."""
    draw = np.random.default_rng(0)
    longest = min(predictor.manifest.max_position_embeddings, predictor.task.settings.max_length)
    words = _words(predictor, draw)
    special = _tokens(predictor, [_example(predictor, words[:1] * PROBE)]) - PROBE
    made = []
    for length in sorted({min(length, longest) for length in lengths}):
        count = max(2, length - special)
        examples = [_example(predictor, draw.choice(words, count).tolist()) for _ in range(TEXTS)]
        made += [_workload(predictor, length, size, examples) for size in batch_sizes]
    return made


def _of_rows(predictor: Predictor, examples: list[Example], batch_sizes: Sequence[int]) -> list[Workload]:
    """Rows of a file: in batches of these sizes as far as there are so many, and all at once, as `predict` has them."""
    if not examples:
        raise UserError("the file has no rows")
    sizes = sorted({size for size in batch_sizes if size < len(examples)} | {len(examples)})
    return [_workload(predictor, None, size, examples) for size in sizes]


def _workload(predictor: Predictor, length: int | None, size: int, examples: list[Example]) -> Workload:
    repeated = examples * -(-size // len(examples))
    batches = [repeated[start : start + size] for start in range(0, len(repeated) - size + 1, size)]
    return Workload(length, size, batches, [_tokens(predictor, batch) for batch in batches])


def _tokens(predictor: Predictor, examples: Sequence[Example]) -> int:
    """The tokens that the network reads, those of overlapping windows each time."""
    return sum(map(len, predictor.task.encode(examples)[0]))


def _words(predictor: Predictor, draw: np.random.Generator) -> list[str]:
    """Words that are one token each, as far as the vocabulary has such."""
    tokenizer = predictor.tokenizer
    numbers = draw.permutation(tokenizer.text_token_ids)[:CANDIDATES].tolist()
    texts = [text for number in numbers if (text := tokenizer.token_text(number).strip()).isalpha()] or ["a"]
    special = len(tokenizer.encode("").input_ids)
    return [text for text in texts if len(tokenizer.encode(f"{text} {text}").input_ids) == special + 2] or texts


def _example(predictor: Predictor, words: Sequence[str]) -> Example:
    """A text of these words; for a model that reads pairs, the first quarter of them and the others."""
    if predictor.task.reads != "answers" and not predictor.manifest.reading.get("pairs"):
        return Example(" ".join(words))
    cut = max(1, len(words) // 4)
    return Example(" ".join(words[:cut]), " ".join(words[cut:]))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # engines print where they like
    child: Child | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "open":
                child, answer = open_model(request)
            elif request["do"] == "time":
                assert child is not None
                answer = child.time(request["workload"], request["seconds"])
            else:
                answer = {"peak_memory": peak_memory()}
        except UserError as error:
            answer = {"error": error.to_dict()}
        except ModuleNotFoundError as error:
            if not isinstance(known := missing_engine(error), UserError):
                raise
            answer = {"error": known.to_dict()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with command():
        main()
