"""load(folder) -> Predictor: the one way to use a model, for predict, evaluate, fill and everything above."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask.console import SILENT, Progress
from unmask.data.rows.columns import Columns
from unmask.data.rows.memory import as_source
from unmask.data.rows.tables import Example
from unmask.errors import UserError
from unmask.metrics import Scores
from unmask.runtime.backend import Backend, Engine, open_engine
from unmask.runtime.batching import infer
from unmask.runtime.fill import FilledMask, fill, masked_logits
from unmask.tasks import ReadOptions, Task, restore
from unmask.tasks.scoring import score_predictions
from unmask.tasks.task import Arrays, Notes


def load(
    source: Path | str,
    device: str = "auto",
    *,
    engine: str = "torch",
    revision: str | None = None,
    allow_unused: bool = False,
) -> "Predictor":
    """Open a model for prediction: a model folder or run of ours, a folder in a public layout, or OWNER/NAME of a
    repository on the model hub (with its `revision`). Raises UserError for anything else, and for weights that are
    not known here, unless they are allowed.
    """
    return Predictor(open_engine(engine, source, device=device, revision=revision, allow_unused=allow_unused))


class Predictions(list[Any]):
    """The predictions for some examples, in order, with the notes of their encoding (`notes.truncated`: how many texts
    were truncated)."""

    def __init__(self, predictions: Iterable[Any] = (), notes: Notes | None = None) -> None:
        super().__init__(predictions)
        self.notes = notes or Notes()


class Predictor:
    """A model ready for use. A prediction does not depend on the texts beside it, and several threads may predict."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.manifest = engine, engine.manifest
        self.tokenizer = engine.manifest.tokenizer

    def __repr__(self) -> str:
        labels = f", {len(self.task.labels)} labels" if self.manifest.task else ""
        return f"Predictor({self.engine!r}{labels})"

    @cached_property
    def task(self) -> Task[Any]:
        """The task that the model was fine-tuned for. Raises UserError where it was not."""
        schema = self.manifest.task
        if schema is None:
            raise UserError(
                f"{self.manifest.folder} was not fine-tuned for a task",
                to_do="unmask finetune --model ... --task ... --train FILE",
            )
        return restore(schema, self.tokenizer, str(self.manifest.folder / "unmask.json"))

    @property
    def backend(self) -> Backend:
        """The network with the head of the task."""
        return self.engine.backend("task")

    @cached_property
    def parameters(self) -> Arrays:
        """The arrays that decoding needs: those of the head, and those that were calibrated."""
        stored = (self.manifest.task or {}).get("parameters", {})
        return {**self.backend.parameters, **{name: np.array(values) for name, values in stored.items()}}

    def __call__(self, texts: str | Sequence[str | tuple[str, str]], pair: str | None = None) -> Any:
        """Predict the label or labels of a text, its number, the spans in it, or the answer to a question; or its
        vector, of two texts their cosine. For several texts, a list of that. pair: the second text, such as the
        context of the question."""
        if isinstance(texts, str):
            return self.task.top_prediction(self.predict([texts if pair is None else (texts, pair)])[0])
        return [self.task.top_prediction(prediction) for prediction in self.predict(texts)]

    def predict(
        self,
        texts: Iterable[str | tuple[str, str] | Example],
        progress: Progress = SILENT,
        *,
        top_k: int | None = None,
    ) -> Predictions:
        """Predict for each text (or pair of texts), independent of the others.

        Classification: every label, or the `top_k`, with its probability, the most probable first (`Label`); of numbers
        the number. Tagging: the spans, in order (`LabelledSpan`); where an example has `tokens`, spans begin and end
        with tokens. Answering, of pairs of question and context: the `top_k` answers, 5 if not given, the best first
        (`AnswerSpan`). Vectors: (hidden_size,) float32, of a pair (2, hidden_size).
        """
        examples = [_example(text, number).without_targets for number, text in enumerate(texts)]
        return self._predictions(examples, progress, top_k)

    def _predictions(self, examples: Sequence[Example], progress: Progress, top_k: int | None = None) -> Predictions:
        if not examples:
            return Predictions()
        rows, notes = self.task.encode(examples)
        collected = infer(self.backend, self.task, rows, progress)
        return Predictions(self.task.decode(examples, rows, collected, self.parameters, top_k), notes)

    def evaluate(
        self,
        file: Any,
        columns: Columns | None = None,
        progress: Progress = SILENT,
        *,
        read_options: ReadOptions | None = None,
    ) -> Scores:
        """Score predictions on labelled examples: a file, a DataFrame, a `datasets` split or a list of dicts. A label
        that the model does not know is a UserError, unless `read_options` says otherwise."""
        options = read_options or ReadOptions(columns=columns or Columns())
        examples = self.task.check_own_labels(
            self.task.read_test(as_source(file, "the rows given"), options),
            owner=str(self.manifest.folder),
            unknown=options.resolved_unknown_labels,
        )
        return self.score(examples, progress)[0]

    def score(self, examples: Sequence[Example], progress: Progress = SILENT) -> tuple[Scores, Predictions]:
        """Score labelled examples; return the scores and the predictions. No prediction of a label that the model does
        not know is right: `task.check_own_labels` finds such labels."""
        known = [example.keep_labels(self.task.labels) for example in examples]
        predictions = self._predictions(known, progress)  # with their spans: what cannot be aligned is noted
        return score_predictions(self.task, examples, predictions), predictions

    def fill(self, text: str, top_k: int = 5) -> list[list[FilledMask]]:
        """For each [MASK] of the text (or whatever the mask of its tokenizer is), find the most probable tokens.

        Raises UserError for a text without [MASK], or longer than the positions of the model.
        """
        longest = self.manifest.max_position_embeddings
        return fill(self.engine.backend("masked"), self.tokenizer, longest, text, top_k)

    def masked_logits(
        self, input_ids: Sequence[int], token_type_ids: Sequence[int], positions: Sequence[int]
    ) -> npt.NDArray[np.float32]:
        """Compute the logits (positions, vocab_size) at positions of one sequence."""
        return masked_logits(self.engine.backend("masked"), input_ids, token_type_ids, positions)


def _example(text: str | tuple[str, str] | Example, number: int) -> Example:
    if isinstance(text, Example):
        return text
    first, second = (text, None) if isinstance(text, str) else text
    return Example(str(number), first, second, None, number + 1, "the texts given")


def stream(
    predictor: Predictor, examples: Sequence[Example], batch_size: int, top_k: int | None = None
) -> Iterator[tuple[Sequence[Example], Predictions]]:
    """Predict `batch_size` examples at a time."""
    for start in range(0, len(examples), batch_size):
        part = examples[start : start + batch_size]
        yield part, predictor.predict(part, top_k=top_k)
