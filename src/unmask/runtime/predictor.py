"""load(folder) -> Predictor: the one way to use a model, for predict, evaluate, fill and everything above."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from unmask import console
from unmask.config import changed
from unmask.console import SILENT, Progress
from unmask.data.encoded import EncodedRow
from unmask.data.rows.cells.missing import for_labels
from unmask.data.rows.check import check_targets, check_two_texts
from unmask.data.rows.example import Example
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import OpenRows, Rows, Use, open_rows
from unmask.data.rows.readers.memory import as_source
from unmask.data.textfiles import shorten
from unmask.errors import UserError
from unmask.messages import message
from unmask.metrics import Scores
from unmask.runtime.backend import Backend, Engine, infer, open_engine
from unmask.runtime.fill import FilledMask, fill
from unmask.tasks import Task, restore
from unmask.tasks.span_check import alignment_problems
from unmask.tasks.task import Arrays, Notes, outputs_of, score_predictions

BLOCK_ROWS, BLOCK_CHARACTERS = 2048, 2**20  # of the texts that `stream` encodes together

T = TypeVar("T")


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
        return self._predictions(list(_examples(texts)), progress, top_k)

    def stream(
        self, texts: Iterable[str | tuple[str, str] | Example], *, top_k: int | None = None
    ) -> Iterator[tuple[Example, Any]]:
        """Predict, as `predict` does, for any number of texts, one after another, in bounded memory; yield each as an
        example with its prediction, in order. The texts may be a generator: it is read a block ahead, in a thread."""
        for examples, predictions in self.stream_blocks(texts, top_k=top_k):
            yield from zip(examples, predictions, strict=True)

    def stream_blocks(
        self, texts: Iterable[str | tuple[str, str] | Example], *, top_k: int | None = None
    ) -> Iterator[tuple[list[Example], Predictions]]:
        """`stream` in blocks, which depend on the texts alone: `BLOCK_ROWS` of them, or as many as have
        `BLOCK_CHARACTERS`. The next block is read and tokenised while the network computes this one."""
        blocks = _blocks(_examples(texts))

        def encoded() -> tuple[list[Example], list[Any], Notes] | None:
            block = next(blocks, None)
            return None if block is None else (block, *self._encoded(block))

        block = encoded()
        while block is not None:
            following = _in_thread(encoded)
            examples, rows, notes = block
            yield examples, self._decoded(examples, rows, notes, SILENT, top_k)
            block = following.result()

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
        return self._decoded(examples, *self._encoded(examples), progress, top_k)

    def _encoded(self, examples: Sequence[Example]) -> tuple[list[EncodedRow], Notes]:
        if self._single is False:
            check_two_texts(examples)
        return self.task.encode(examples)

    def _decoded(
        self, examples: Sequence[Example], rows: list[EncodedRow], notes: Notes, progress: Progress, top_k: int | None
    ) -> Predictions:
        collected = infer(self.backend, self.task, rows, progress)
        texts = outputs_of(examples, rows, collected)
        return Predictions(self.task.decode(texts, self.parameters, top_k), notes)

    def read(self, source: Any, use: Use = "test", **settings: Any) -> Rows:
        """Read rows as those that the model was trained on, with other settings of `ReadOptions` where given.

        source: a file, a DataFrame, a `datasets` split or a list of dicts; use: as `read_rows` takes it. Raises
        UserError for rows that cannot be read, and to test for labels that the model does not have, unless
        `unknown_labels` says otherwise.
        """
        opened = self.open_rows(source, use, **settings)
        rows = opened.rows
        if use == "predict":
            return rows
        options, kind = self._read_options(settings), self.task.reads
        owner = str(self.manifest.folder)
        examples, notes = check_targets(rows.examples, kind, self.task.labels, owner, options.unknown)
        problems = alignment_problems(examples, self.tokenizer)
        if problems.count:
            text = "{finding} (the first: {first})"
            notes = (*notes, message(text, problems.text(rows.source), problems.first))
        return replace(rows, examples=examples, notes=(*rows.notes, *notes))

    def open_rows(self, source: Any, use: Use = "predict", stack: ExitStack | None = None, **settings: Any) -> OpenRows:
        """Open rows as `read` reads them. stack: what closes the file in the end; with it, the rows of a long file are
        read as they are used, in bounded memory. Raises UserError for rows that cannot be read."""
        trained, kind = self.manifest.read_options, self.task.reads
        options = self._read_options(settings)
        inherited = trained.changed.keys() - settings.keys()
        labels = self.task.labels if kind == "tags" else ()
        rows = open_rows(as_source(source, "the rows given"), options, kind, use, inherited, labels, stack)
        if self._single and "pair_column" not in settings and "pair" in rows.log.columns:
            text = "{source}: of two texts the first is read alone, because {folder} was trained on single texts"
            rows.log.note(text, rows.source, self.manifest.folder)
            firsts = (replace(one, pair=None) for one in rows.examples)
            rows = replace(rows, examples=list(firsts) if rows.whole else firsts)
        return rows

    def _read_options(self, settings: Mapping[str, Any]) -> ReadOptions:
        return for_labels(changed(self.manifest.read_options, **settings), self.task.labels)

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


def _examples(texts: Iterable[str | tuple[str, str] | Example]) -> Iterator[Example]:
    """Texts and pairs as examples without targets. Raises UserError, which counts from 0 as Python does, for anything
    else."""
    for number, text in enumerate(texts):
        if isinstance(text, Example):
            yield text.without_targets
        elif isinstance(text, str):
            yield Example(text, id=str(number), line=number + 1)
        elif isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(one, str) for one in text):
            yield Example(*text, id=str(number), line=number + 1)
        else:
            given = f"{type(text).__name__}: {shorten(repr(text))}"
            allowed = "a str, or a pair (text, pair)"
            raise UserError("texts[{number}] is not a text", number, given=given, allowed=allowed)


def _blocks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    """The examples in blocks of BLOCK_ROWS, or fewer where these have BLOCK_CHARACTERS."""
    block: list[Example] = []
    characters = 0
    for example in examples:
        block.append(example)
        characters += len(example.text) + len(example.pair or "")
        if len(block) >= BLOCK_ROWS or characters >= BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _in_thread(make: Callable[[], T]) -> Future[T]:
    """What `make` gives, made in a thread. Nothing waits for the thread, which may be reading a pipe, in the end."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(make())
        except BaseException as error:  # raised where the result is asked for
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future
