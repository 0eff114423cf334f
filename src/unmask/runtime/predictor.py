"""load(folder) -> Predictor: the one way to use a model, for predict, evaluate, fill and everything above."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unmask import console
from unmask.config import changed
from unmask.console import SILENT, Progress
from unmask.data.rows.cells.missing import for_labels
from unmask.data.rows.check import check_targets, check_two_texts
from unmask.data.rows.example import Example
from unmask.data.rows.read import Rows, Use, read_rows
from unmask.data.rows.readers.memory import as_source
from unmask.errors import UserError
from unmask.messages import message
from unmask.metrics import Scores
from unmask.runtime.backend import Backend, Engine, infer, open_engine
from unmask.runtime.fill import FilledMask, fill
from unmask.tasks import Task, restore
from unmask.tasks.span_check import alignment_problems
from unmask.tasks.task import Arrays, Notes, outputs_of, score_predictions


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

    @classmethod
    def from_pretrained(
        cls,
        source: Path | str,
        device: str = "auto",
        *,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        revision: str | None = None,
        allow_unused: bool = False,
    ) -> Self:
        """Open a model for prediction: a model folder or run of ours, a folder in a public layout, or OWNER/NAME of a
        repository on the model hub (with its `revision`).

        backend: torch, onnx or openvino, of which the last two run networks that `unmask export` wrote; precision:
        float32, bfloat16 or int8; auto: the fastest on this machine of those that are there. threads: of onnx and
        openvino. Raises UserError for anything else, and for weights that are not known here, unless they are allowed.
        """
        return cls(
            open_engine(
                source,
                backend,
                precision,
                device=device,
                threads=threads,
                revision=revision,
                allow_unused=allow_unused,
            )
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the whole model folder, atomically: weights, tokenizer, task. It replaces a model folder of ours;
        raises UserError where there is anything else."""
        target = Path(folder)
        if target.is_dir() and any(target.iterdir()) and not (target / "unmask.json").is_file():
            raise UserError("{folder} already exists and is not a model folder", target, hint="choose another name")
        self.engine.save(target)

    @cached_property
    def task(self) -> Task[Any]:
        """The task that the model was fine-tuned for. Raises UserError where it was not."""
        schema = self.manifest.task
        if schema is None:
            raise UserError(
                "{folder} was not fine-tuned for a task",
                self.manifest.folder,
                hint="unmask finetune --model ... --task ... --train FILE",
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
        self, texts: Iterable[str | tuple[str, str] | Example], progress: Progress = SILENT, *, top_k: int | None = None
    ) -> Predictions:
        """Predict for each text (or pair of texts), independent of the others.

        Classification: every label, or the `top_k`, with its probability, the most probable first (`Label`); of numbers
        the number. Tagging: the spans, in order (`LabelledSpan`); where an example has `tokens`, spans begin and end
        with tokens. Answering, of pairs of question and context: the `top_k` answers, 5 if not given, the best first
        (`AnswerSpan`). Vectors: (hidden_size,) float32, of a pair (2, hidden_size).
        """
        examples = [_example(text, number).without_targets for number, text in enumerate(texts)]
        return self._predictions(examples, progress, top_k)

    def encode(
        self, texts: str | Sequence[str], batch_size: int | None = None, normalize_embeddings: bool | None = None
    ) -> npt.NDArray[np.float32]:
        """Compute the vectors of texts, (texts, hidden_size) float32; of a single str (hidden_size,).

        batch_size: texts at a time; if not given, about 8192 tokens. normalize_embeddings: give them the length 1,
        also where the model does not; otherwise they are as the model gives them. Texts longer than `task.max_length`
        are truncated. Raises UserError for a model that was not fine-tuned for vectors.
        """
        if self.task.kind != "vectors":
            raise UserError(
                "{folder} does not produce text vectors",
                self.manifest.folder,
                given=f"a model of the task {self.task.name}",
                allowed="a model of the task embed",
                hint="unmask finetune --model ... --task embed --train FILE",
            )
        given = [texts] if isinstance(texts, str) else list(texts)
        if wrong := [text for text in given if not isinstance(text, str)]:
            raise UserError("encode takes texts", given=repr(wrong[0]), allowed="a str, or a list of str")
        if batch_size is not None and batch_size < 1:
            raise UserError("batch_size cannot be used", given=batch_size, allowed="1 or more")
        size = batch_size or max(1, len(given))
        parts = [self.predict(given[start : start + size]) for start in range(0, len(given), size)]
        found = [vector for part in parts for vector in part] or self.predict([""])  # for the shape of none
        vectors: npt.NDArray[np.float32] = np.stack(found)[: len(given)]
        if normalize_embeddings:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors[0] if isinstance(texts, str) else vectors

    @property
    def _single(self) -> bool | None:
        """Whether the model was trained on single texts; None where that is not stored, or not to the point."""
        pairs = self.manifest.reading.get("pairs") if self.task.reads in ("label", "labels", "number") else None
        return None if pairs is None else not pairs

    def _predictions(self, examples: Sequence[Example], progress: Progress, top_k: int | None = None) -> Predictions:
        if not examples:
            return Predictions()
        if self._single is False:
            check_two_texts(examples)
        rows, notes = self.task.encode(examples)
        collected = infer(self.backend, self.task, rows, progress)
        texts = outputs_of(examples, rows, collected)
        return Predictions(self.task.decode(texts, self.parameters, top_k), notes)

    def read(self, source: Any, use: Use = "test", **settings: Any) -> Rows:
        """Read rows as those that the model was trained on, with other settings of `ReadOptions` where given.

        source: a file, a DataFrame, a `datasets` split or a list of dicts; use: as `read_rows` takes it. Raises
        UserError for rows that cannot be read, and to test for labels that the model does not have, unless
        `unknown_labels` says otherwise.
        """
        trained, kind = self.manifest.read_options, self.task.reads
        options = for_labels(changed(trained, **settings), self.task.labels)
        inherited = trained.changed.keys() - settings.keys()
        labels = self.task.labels if kind == "tags" else ()
        rows = read_rows(as_source(source, "the rows given"), options, kind, use, inherited, labels)
        if self._single and "pair_column" not in settings and any(one.pair is not None for one in rows.examples):
            text = "{source}: of two texts the first is read alone, because {folder} was trained on single texts"
            rows = replace(
                rows,
                examples=[replace(one, pair=None) for one in rows.examples],
                notes=(*rows.notes, message(text, rows.source, self.manifest.folder)),
            )
        if use == "predict":
            return rows
        owner = str(self.manifest.folder)
        examples, notes = check_targets(rows.examples, kind, self.task.labels, owner, options.unknown)
        problems = alignment_problems(examples, self.tokenizer)
        if problems.count:
            text = "{finding} (the first: {first})"
            notes = (*notes, message(text, problems.text(rows.source), problems.first))
        return replace(rows, examples=examples, notes=(*rows.notes, *notes))

    def evaluate(self, file: Any, progress: Progress = SILENT, **settings: Any) -> Scores:
        """Score predictions on labelled rows: a file, a DataFrame, a `datasets` split or a list of dicts.

        settings: of `ReadOptions`, such as label_column="topic", where they differ from those of training. A label that
        the model does not have is a UserError, unless `unknown_labels` says otherwise."""
        rows = self.read(file, "test", **settings)
        for note in rows.notes:
            console.note(note)
        return self.score(rows.examples, progress)[0]

    def score(self, examples: Sequence[Example], progress: Progress = SILENT) -> tuple[Scores, Predictions]:
        """Score labelled examples; return the scores and the predictions. No prediction of a label that the model does
        not know is right: `read` finds such labels."""
        known = [example.keep_labels(self.task.labels) for example in examples]
        predictions = self._predictions(known, progress)  # with their spans: what cannot be aligned is noted
        return score_predictions(self.task, examples, predictions), predictions

    def fill(self, text: str, top_k: int = 5) -> list[list[FilledMask]]:
        """For each [MASK] of the text (or whatever the mask of its tokenizer is), find the most probable tokens.

        Raises UserError for a text without [MASK], or longer than the positions of the model.
        """
        longest = self.manifest.max_position_embeddings
        return fill(self.engine.backend("masked"), self.tokenizer, longest, text, top_k)


load = Predictor.from_pretrained
"""Open a model for prediction."""


def _example(text: str | tuple[str, str] | Example, number: int) -> Example:
    if isinstance(text, Example):
        return text
    first, second = (text, None) if isinstance(text, str) else text
    return Example(first, second, None, str(number), number + 1)
