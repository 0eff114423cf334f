"""load(folder) -> Predictor: the one way to use a model, for predict, evaluate, fill and everything above."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask import bundle
from unmask.console import SILENT, Progress
from unmask.data.batch import EncodedRow, groups_by_length, pack
from unmask.data.rows.memory import as_source
from unmask.data.rows.tables import Columns, Example
from unmask.errors import UserError
from unmask.metrics import Scores
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.tasks import ReadOptions, Task, restore
from unmask.tasks.scoring import score_predictions
from unmask.tasks.task import Head, Logits, head_outputs

TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class FilledMask:
    """What may stand at one [MASK]: the piece, its probability, and the text with it filled in."""

    token: str
    score: float
    text: str


def load(
    source: Path | str, device: str = "auto", *, revision: str | None = None, allow_unused: bool = False
) -> "Predictor":
    """Open a model for prediction: a model folder or run of ours, a folder in a public layout, or OWNER/NAME of a
    repository on the model hub (with its `revision`). Raises UserError for anything else, and for weights that are
    not known here, unless they are allowed.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Predictor(bundle.read(source, revision=revision, allow_unused=allow_unused), device)


class Predictor:
    """A model ready for use. What it predicts for a text does not depend on the texts beside it."""

    def __init__(self, opened: bundle.Bundle, device: str = "cpu") -> None:
        self.bundle, self.device = opened, device
        self.tokenizer = opened.tokenizer
        self.encoder: Encoder = opened.encoder(dropout=0.0, shared=True).to(device).eval()
        self.truncated = 0  # texts that were cut short, of all that were predicted

    def __repr__(self) -> str:
        labels = f", {len(self.task.labels)} labels" if self.bundle.task else ""
        return f"Predictor({self.encoder!r}{labels})"

    @cached_property
    def task(self) -> Task[Any]:
        """The task that the model was fine-tuned for. Raises UserError where it was not."""
        schema = self.bundle.task
        if schema is None:
            raise UserError(
                f"{self.bundle.folder} was not fine-tuned for a task",
                to_do="unmask finetune --model ... --task ... --train FILE",
            )
        return restore(schema, self.tokenizer, str(self.bundle.folder / "unmask.json"))

    @cached_property
    def head(self) -> Head:
        head = self.task.head(self.bundle.config)
        for name, module in head.saved_modules().items():
            if not self.bundle.has_head(name):
                raise UserError(
                    f"{self.bundle.folder} has no trained head for {self.task.name}",
                    missing=name,
                    to_do=f"unmask finetune --model {self.bundle.folder} --task {self.task.name} --train FILE",
                )
            self.bundle.load_into(module, name)
        return head.to(self.device).eval()

    def __call__(self, texts: str | Sequence[str | tuple[str, str]], pair: str | None = None) -> Any:
        """What is most probable: the label or labels of a text, its number, the spans in it, or the answer to a
        question; or its vector, of two texts their cosine. For several texts, a list of that. pair: the second text,
        such as the context of the question."""
        if isinstance(texts, str):
            return self.task.top_prediction(self.predict([texts if pair is None else (texts, pair)])[0])
        return [self.task.top_prediction(prediction) for prediction in self.predict(texts)]

    def predict(
        self,
        texts: Iterable[str | tuple[str, str] | Example],
        progress: Progress = SILENT,
        *,
        top_k: int | None = None,
    ) -> list[Any]:
        """A prediction for each text (or pair of texts), independent of the others.

        Classification: every label, or the `top_k`, with its probability, the most probable first (`Label`); of numbers
        the number.
        Tagging: the spans found, in order (`LabelledSpan`); where an example has `tokens`, spans begin and end with
        tokens. Answering, of pairs of question and context: the `top_k` answers, 5 if not given, the best first
        (`FoundAnswer`).
        Vectors: (width,) float32, of a pair (2, width).
        """
        examples = [_example(text, number) for number, text in enumerate(texts)]
        return self._predict([example.without_targets for example in examples], progress, top_k)

    def _predict(self, examples: Sequence[Example], progress: Progress, top_k: int | None = None) -> list[Any]:
        if not examples:
            return []
        rows = self.task.encode(examples)
        self.truncated += self.task.truncated
        evidence = run_logits(self.encoder, self.head, self.task, rows, progress)
        return self.task.decode(self.head, examples, rows, evidence, top_k)

    def evaluate(
        self,
        file: Any,
        columns: Columns | None = None,
        progress: Progress = SILENT,
        *,
        read_options: ReadOptions | None = None,
    ) -> Scores:
        """Score predictions on labelled examples: a file, a DataFrame, a `datasets` split or a list of dicts. A label
        that the model does not know is a UserError, unless `reading` says otherwise."""
        read_options = read_options or ReadOptions(columns=columns or Columns())
        examples = self.task.check_own_labels(
            self.task.read_test(as_source(file, "the rows given"), read_options),
            owner=str(self.bundle.folder),
            unknown=read_options.resolved_unknown_labels,
        )
        return self.score(examples, progress)[0]

    def score(self, examples: Sequence[Example], progress: Progress = SILENT) -> tuple[Scores, list[Any]]:
        """The scores of labelled examples, and what was predicted for each. No prediction of a label that the
        model does not know is right: `task.check` finds such labels."""
        known = [example.keep_labels(self.task.labels) for example in examples]
        predicted = self._predict(known, progress)  # with their spans: what cannot be aligned is said
        return score_predictions(self.task, examples, predicted), predicted

    @cached_property
    def _mlm_head(self) -> MLMHead:
        if not self.bundle.has_head("masked"):
            raise UserError(
                f"{self.bundle.folder} has no masked-language head",
                to_do="give the model folder of a pretraining run",
            )
        head = MLMHead(self.bundle.config)
        self.bundle.load_into(head, "masked")
        return head.to(self.device).eval()

    def fill(self, text: str, top_k: int = 5) -> list[list[FilledMask]]:
        """For each [MASK] of the text (or whatever the mask of its tokenizer is), the most probable pieces; those
        that stand for no text are never proposed.

        Raises UserError for a text without [MASK], or longer than the positions of the model.
        """
        mask, ordinary = self.tokenizer.mask_token, torch.from_numpy(self.tokenizer.text_token_ids)
        encoded = self.tokenizer.encode(text, add_special_tokens=True)
        places = [place for place, number in enumerate(encoded.input_ids) if number == self.tokenizer.mask_token_id]
        if not places:
            raise UserError(f"there is no {mask} in the text", given=text, to_do=f"write {mask} where a word is wanted")
        if len(encoded.input_ids) > self.bundle.config.max_position_embeddings:
            raise UserError(
                "the text is longer than the positions of the model",
                given=f"{len(encoded.input_ids):,} pieces",
                allowed=f"at most {self.bundle.config.max_position_embeddings:,}",
                to_do=f"shorten the text around its {mask}",
            )
        logits = self.masked_logits([self._row(encoded.input_ids, encoded.token_type_ids)], [places])[0]
        top = logits[:, ordinary].softmax(-1).topk(min(top_k, len(ordinary)), dim=-1)
        spots = [encoded.offsets[place] for place in places]
        return [
            [
                self._fill_mask(text, spot, int(number), float(score))
                for number, score in zip(numbers, scores, strict=True)
            ]
            for spot, numbers, scores in zip(spots, ordinary[top.indices], top.values, strict=True)
        ]

    def masked_logits(self, rows: Sequence[EncodedRow], positions: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """For each row the logits (places, vocabulary) at its places."""
        result = []
        with torch.inference_mode():
            for row, spots in zip(rows, positions, strict=True):
                batch = pack([row]).to(self.device)
                hidden = self.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
                result.append(self._mlm_head(hidden[list(spots)], self.encoder).cpu())
        return result

    def _row(self, input_ids: list[int], token_type_ids: list[int]) -> EncodedRow:
        return EncodedRow(np.array(input_ids), np.array(token_type_ids), np.zeros(len(input_ids), dtype=np.uint8), 0)

    def _fill_mask(self, text: str, spot: tuple[int, int], number: int, score: float) -> FilledMask:
        start, stop = spot
        before, word = text[:start], self.tokenizer.token_text(number)
        if word[:1] == " " and (not before or before[-1:].isspace()):
            word = word[1:]  # the blank is there already
        elif word[:1].isspace() or not self.tokenizer.word_start[number]:
            before = before.rstrip()
        return FilledMask(self.tokenizer.display_token(number), score, before + word + text[stop:])


def _example(text: str | tuple[str, str] | Example, number: int) -> Example:
    if isinstance(text, Example):
        return text
    first, second = (text, None) if isinstance(text, str) else text
    return Example(str(number), first, second, None, number + 1, "the texts given")


def run_logits(
    encoder: Encoder, head: Head, task: Task[Any], rows: Sequence[EncodedRow], progress: Progress = SILENT
) -> list[Logits]:
    """What the head says of each row, in order; encoder and head stand as they are, on their device."""
    device = next(encoder.parameters()).device
    result: list[Logits | None] = [None] * len(rows)
    progress.start(len(rows), "rows")
    with torch.inference_mode():
        for group in groups_by_length(rows, TOKENS_PER_BATCH):
            batch = pack([rows[index] for index in group]).to(device)
            outputs = head_outputs(encoder, head, batch)
            for index, evidence in zip(group, task.logits(outputs, batch), strict=True):
                result[index] = evidence
            progress.advance(len(group))
    return [evidence for evidence in result if evidence is not None]


def stream(
    predictor: Predictor, examples: Sequence[Example], batch_size: int, top_k: int | None = None
) -> Iterator[tuple[Example, Any]]:
    """Predictions as they come, `size` examples at a time."""
    for start in range(0, len(examples), batch_size):
        part = examples[start : start + batch_size]
        yield from zip(part, predictor.predict(part, top_k=top_k), strict=True)
