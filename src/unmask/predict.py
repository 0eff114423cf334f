"""load(folder) -> Predictor: the one way to use a model, for predict, evaluate, fill and everything above."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import torch

from unmask import bundle
from unmask.config import from_mapping
from unmask.console import SILENT, Progress
from unmask.data.batch import Row, by_length, pack
from unmask.data.tables import Columns, Example, check_labels, read_examples
from unmask.errors import UserError
from unmask.model.encoder import Encoder
from unmask.model.vocabulary import VocabularyHead
from unmask.tasks import Classify, ClassifyTask
from unmask.tasks.classify import ClassifyHead, Evaluation, Label

BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Fill:
    """What may stand at one [MASK]: the piece, its probability, and the text with it filled in."""

    piece: str
    score: float
    text: str


def load(folder: Path | str, device: str = "auto") -> "Predictor":
    """Open a model folder (or a run folder) for prediction. Raises UserError for anything else."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Predictor(bundle.read(folder), device)


class Predictor:
    """A model ready for use. What it predicts for a text does not depend on the texts beside it."""

    def __init__(self, opened: bundle.Bundle, device: str = "cpu") -> None:
        self.bundle, self.device = opened, device
        self.tokenizer = opened.tokenizer
        self.encoder: Encoder = opened.encoder(dropout=0.0).to(device).eval()

    def __repr__(self) -> str:
        labels = f", {len(self.task.labels)} labels" if self.bundle.task else ""
        return f"Predictor({self.encoder!r}{labels})"

    @cached_property
    def task(self) -> ClassifyTask:
        """The task that the model was fine-tuned for. Raises UserError where it was not."""
        schema = self.bundle.task
        if schema is None:
            raise UserError(
                f"{self.bundle.folder} was not fine-tuned for a task",
                to_do="unmask finetune --model ... --task classify --train FILE",
            )
        settings = {key: value for key, value in schema.items() if key != "labels"}
        return ClassifyTask(
            from_mapping(Classify, settings, where="unmask.json"), self.tokenizer, schema["labels"]
        )

    @cached_property
    def head(self) -> ClassifyHead:
        head = self.task.head(self.bundle.config)
        for name, module in head.published().items():
            self.bundle.load_into(module, name)
        return head.to(self.device).eval()

    @overload
    def __call__(self, texts: str) -> Label: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, texts: Sequence[str]) -> list[Label]: ...

    def __call__(self, texts: str | Sequence[str]) -> Label | list[Label]:
        """The most probable label of each text."""
        if isinstance(texts, str):
            return self.predict([texts])[0][0]
        return [labels[0] for labels in self.predict(texts)]

    def predict(
        self, texts: Iterable[str | tuple[str, str] | Example], progress: Progress = SILENT
    ) -> list[list[Label]]:
        """Every label of each text (or pair of texts) with its probability, the most probable first."""
        examples = [_example(text, number) for number, text in enumerate(texts)]
        return self.task.decode(self.probabilities(examples, progress))

    def probabilities(
        self, examples: Sequence[Example], progress: Progress = SILENT
    ) -> npt.NDArray[np.float32]:
        """(examples, labels) float32, rows sum to 1."""
        bare = [dataclasses.replace(example, label=None) for example in examples]
        rows = self.task.encode(bare) if bare else []
        result = np.zeros((len(rows), len(self.task.labels)), dtype=np.float32)
        head = self.head
        progress.start(len(rows), "rows")
        with torch.inference_mode():
            for group in by_length(rows, BATCH_TOKENS):
                batch = pack([rows[index] for index in group]).to(self.device)
                logits = head(self.encoder(batch.ids, batch.spans, batch.segments), batch)
                result[batch.owner.numpy()] = logits.float().softmax(-1).cpu().numpy()
                progress.advance(len(group))
        return result

    def evaluate(
        self, file: Path | str, columns: Columns | None = None, progress: Progress = SILENT
    ) -> Evaluation:
        """Score predictions on a file of labelled rows. A label that the model does not know is a UserError."""
        examples = read_examples(file, columns=columns, require_labels=True)
        return self.score(examples, progress)[0]

    def score(
        self, examples: Sequence[Example], progress: Progress = SILENT
    ) -> tuple[Evaluation, list[Label]]:
        """The evaluation of labelled examples, and the label predicted for each."""
        check_labels(examples, self.task.labels, of=str(self.bundle.folder))
        predicted = [labels[0] for labels in self.task.decode(self.probabilities(examples, progress))]
        wanted = [example.label or "" for example in examples]
        return self.task.score([label.name for label in predicted], wanted), predicted

    @cached_property
    def _masked(self) -> VocabularyHead:
        if not self.bundle.has("masked"):
            raise UserError(
                f"{self.bundle.folder} has no masked-language head",
                to_do="give the model folder of a pretraining run",
            )
        head = VocabularyHead(self.bundle.config)
        self.bundle.load_into(head, "masked")
        return head.to(self.device).eval()

    def fill(self, text: str, best: int = 5) -> list[list[Fill]]:
        """For each [MASK] of the text, the most probable pieces; special pieces are never proposed.

        Raises UserError for a text without [MASK], or longer than the positions of the model.
        """
        encoded = self.tokenizer.encode(text, specials=True)
        places = [place for place, number in enumerate(encoded.ids) if number == self.tokenizer.mask_id]
        if not places:
            raise UserError(
                "there is no [MASK] in the text", given=text, to_do="write [MASK] where a word is wanted"
            )
        if len(encoded.ids) > self.bundle.config.length:
            raise UserError(
                "the text is longer than the positions of the model",
                given=f"{len(encoded.ids):,} pieces",
                allowed=f"at most {self.bundle.config.length:,}",
                to_do="shorten the text around its [MASK]",
            )
        logits = self.masked_logits([self._row(encoded.ids, encoded.segments)], [places])[0].clone()
        logits[:, self.tokenizer.special_ids] = float("-inf")
        ordinary = logits.shape[-1] - len(self.tokenizer.special_ids)
        top = logits.softmax(-1).topk(min(best, ordinary), dim=-1)
        spots = [encoded.offsets[place] for place in places]
        return [
            [
                self._filled(text, spot, int(number), float(score))
                for number, score in zip(numbers, scores, strict=True)
            ]
            for spot, numbers, scores in zip(spots, top.indices, top.values, strict=True)
        ]

    def masked_logits(self, rows: Sequence[Row], places: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """For each row the logits (places, vocabulary) at its places."""
        result = []
        with torch.inference_mode():
            for row, spots in zip(rows, places, strict=True):
                batch = pack([row]).to(self.device)
                hidden = self.encoder(batch.ids, batch.spans, batch.segments)
                result.append(self._masked(hidden[list(spots)], self.encoder).cpu())
        return result

    def _row(self, ids: list[int], segments: list[int]) -> Row:
        return Row(np.array(ids), np.array(segments), np.zeros(len(ids), dtype=np.uint8), 0)

    def _filled(self, text: str, spot: tuple[int, int], number: int, score: float) -> Fill:
        piece = self.tokenizer.piece_of(number)
        start, stop = spot
        word = piece.removeprefix("##")
        before = text[:start].rstrip() if piece.startswith("##") else text[:start]
        return Fill(piece, score, before + word + text[stop:])


def _example(text: str | tuple[str, str] | Example, number: int) -> Example:
    if isinstance(text, Example):
        return text
    first, second = (text, None) if isinstance(text, str) else text
    return Example(str(number), first, second, None, number + 1, "the texts given")


def stream(
    predictor: Predictor, examples: Sequence[Example], size: int
) -> Iterator[tuple[Example, list[Label]]]:
    """Predictions as they come, `size` examples at a time."""
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        yield from zip(part, predictor.predict(part), strict=True)
