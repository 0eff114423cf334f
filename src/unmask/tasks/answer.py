"""Extractive question answering: the stretch of a context that answers a question, or that there is none.

[CLS] question [SEP] window of the context [SEP], in as many windows as the context needs. Each stretch of at most
`answer_length` pieces is judged once, in the window in which most of the context around it is seen; the best of
all windows is the answer. A window without the answer is taught to point at [CLS], as in BERT.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask import console
from unmask.config import config, dump, setting
from unmask.data.batch import Batch, Row
from unmask.data.memory import Source
from unmask.data.squad import read_questions
from unmask.data.tables import Example, Reference, Unknown
from unmask.errors import UserError
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.tasks import answerscore, overlap
from unmask.tasks.answerhead import AnswerHead, AnswerLearner, AnswerRow, Context, answer_row
from unmask.tasks.answerscore import AnswerEvaluation, Language
from unmask.tasks.answerspans import best_threshold, span_scores
from unmask.tasks.spans import units_of
from unmask.tasks.task import Evidence, Head, Reading, Task, TaskLearner
from unmask.tasks.windows import Pieces, frames
from unmask.text.tokenizer import Encoded, Tokenizer

TOP_K = 5  # answers listed for each question, unless another number is given
AROUND = 80  # characters shown on each side of an answer in a report


@config
class Answer:
    """Settings of question answering."""

    name: Literal["answer"] = "answer"
    length: int = setting(
        default=384, ge=8, description="longest input in tokens; longer contexts are read in windows"
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; a third of length if not given"
    )
    question_length: int = setting(
        default=64,
        ge=1,
        description="longest question in tokens, at most half of length; longer ones are cut",
    )
    answer_length: int = setting(default=30, ge=1, description="longest answer in tokens")
    language: Literal["auto", "en", "zh"] = setting(
        default="auto",
        description="whose rules answers are scored by: words without articles, or characters; auto: found in the text",
    )

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.length - 3:
            raise ValueError(
                f"stride {self.stride} leaves tokens out: at most length - 3 = {self.length - 3}"
            )

    @property
    def task(self) -> type[Task[Any]]:
        return AnswerTask

    @property
    def asked(self) -> int:
        """The longest question in pieces: at least half of the room is for the context."""
        return min(self.question_length, (self.length - 3) // 2)


@dataclass(frozen=True)
class FoundAnswer:
    """A stretch of a context, `text = context[start:stop]`; empty where the context does not answer the question.

    score: its probability among all stretches that may be answers.
    """

    text: str
    start: int
    stop: int
    score: float

    def __bool__(self) -> bool:
        return self.stop > self.start

    def __repr__(self) -> str:
        return (
            f"FoundAnswer(text={self.text!r}, start={self.start}, stop={self.stop}, score={self.score:.2f})"
        )


@dataclass(frozen=True)
class _Found:
    """The best stretches of a context, the best first: (score, start, stop) in characters; `none`: the score that
    there is no answer; total: the logarithm of the sum of all, exponentiated."""

    best: list[tuple[float, int, int]]
    none: float
    total: float

    @property
    def doubt(self) -> float:
        """How much better no answer is than the best one."""
        return self.none - self.best[0][0]


class AnswerTask(Task[list[FoundAnswer]]):
    """How questions become rows, and what is said of their tokens becomes answers.

    unanswerable: whether "no answer" is a prediction, as it is where training questions have none; it is given
    where it is better than the best answer by more than `threshold`, which is chosen on the dev questions.
    """

    settings: Answer
    metric = "answer_f1"
    kind = "answers"
    ranks = True
    baseline = "overlap"
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "table")

    def __init__(
        self, settings: Answer, tokenizer: Tokenizer, unanswerable: bool, threshold: float = 0.0
    ) -> None:
        super().__init__(settings, tokenizer, ())
        self.unanswerable, self.threshold = unanswerable, threshold
        self.calibrates = unanswerable

    @classmethod
    def build(cls, settings: Answer, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        without = sum(example.answers == () for example in train)
        if without == len(train):
            raise UserError(
                f"{train[0].source}: there is nothing to learn",
                given=f"{len(train):,} questions without a single answer",
            )
        return cls(settings, tokenizer, without > 0)

    @classmethod
    def restore(cls, settings: Answer, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["unanswerable"], schema["threshold"])

    def schema(self) -> dict[str, Any]:
        facts = {"labels": [], "unanswerable": self.unanswerable, "threshold": self.threshold}
        return {**dump(self.settings), **facts}

    @property
    def public(self) -> tuple[str | None, list[str]]:
        return "BertForQuestionAnswering", ["start", "stop"]

    @classmethod
    def read(cls, path: Source, reading: Reading) -> list[Example]:
        return cls._read(path, reading, True, reading.answer_starts)

    def read_test(self, path: Source, reading: Reading) -> list[Example]:
        """Scores need no places, so that of several places of an answer any will do."""
        return self._read(path, reading, True, "first")

    def read_new(self, path: Source, reading: Reading) -> list[Example]:
        return self._read(path, reading, False, "first")

    @staticmethod
    def _read(
        path: Source, reading: Reading, answers: bool, starts: Literal["given", "first"]
    ) -> list[Example]:
        return read_questions(
            path,
            columns=reading.columns,
            on_error=reading.on_error,
            require_answers=answers,
            encoding=reading.encoding,
            format=reading.format,
            starts=starts,
        )

    @classmethod
    def known(
        cls, examples: Sequence[Example], labels: Iterable[str], of: str, unknown: Unknown = "stop"
    ) -> list[Example]:
        """All of them: there are no labels."""
        return list(examples)

    @classmethod
    def cut_at(cls, settings: Answer) -> tuple[str, int]:
        return "task.question_length", settings.asked

    def encode(self, examples: Sequence[Example]) -> list[Row]:
        """The windows of each question's context. Raises UserError for a question without a context."""
        for example in examples:
            if example.pair is None:
                raise UserError(
                    f"{example.place}: a question needs a context to answer it from",
                    given=example.text,
                    allowed="a pair: (question, context)",
                )
        questions = [Pieces.of(one) for one in self.tokenizer.encode_batch([e.text for e in examples])]
        most = self.settings.asked
        self.truncated = sum(len(question) > most for question in questions)
        texts = list(dict.fromkeys(example.pair or "" for example in examples))
        encoded = zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        contexts = {text: context_of(text, one) for text, one in encoded}
        rows: list[Row] = []
        for number, (example, question) in enumerate(zip(examples, questions, strict=True)):
            context = contexts[example.pair or ""]
            wanted = None
            if example.answers is not None:
                wanted = _pieces_of(example.answers[0], context) if example.answers else (-1, -1)
            rows += self._rows(Pieces(question.ids[:most], question.firsts), context, wanted, number)
        self._report([(example, contexts[example.pair or ""]) for example in examples if example.answers])
        return rows

    def _report(self, answered: Sequence[tuple[Example, Context]]) -> None:
        """Says how many answers can never be found as they are."""
        partly, long = [], []
        for example, context in answered:
            answer = (example.answers or ())[0]
            first, last = _pieces_of(answer, context)
            bounds = (int(context.bounds[first, 0]), int(context.bounds[last, 1])) if first >= 0 else None
            if bounds != (answer.start, answer.stop):
                partly.append(example.id)
            elif last - first >= self.settings.answer_length:
                long.append(example.id)
        if partly:
            console.remark(
                f"{len(partly):,} of {len(answered):,} answers begin or end inside a piece, of which only the "
                f"whole can be found (the first: question {partly[0]})"
            )
        if long:
            console.remark(
                f"{len(long):,} of {len(answered):,} answers are longer than {self.settings.answer_length:,} tokens "
                f"(task.answer_length) and cannot be found (the first: question {long[0]})"
            )

    def _rows(
        self, question: Pieces, context: Context, wanted: tuple[int, int] | None, owner: int
    ) -> Iterator[AnswerRow]:
        """wanted: the first and the last piece of the answer; it is taught where a window holds it whole."""
        length, stride = self.settings.length, self.settings.stride or max(1, self.settings.length // 3)
        for one in frames(self.tokenizer, context.pieces, question, length, stride, first=False):
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if wanted is not None:
                inside = one.window.start <= wanted[0] and wanted[1] < one.window.stop
                place = [piece - one.window.start + one.place if inside else 0 for piece in wanted]
                targets["answer"] = np.array([place])
            yield AnswerRow(
                one.ids,
                one.segments,
                one.flags,
                owner,
                owner=owner,
                targets=targets,
                context=context,
                window=one.window,
                place=one.place,
            )

    def head(self, encoder: EncoderConfig) -> AnswerHead:
        return AnswerHead(encoder)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[Row]) -> TaskLearner:
        return AnswerLearner(encoder, self.head(encoder.config))

    def evidence(self, outputs: Tensor, batch: Batch) -> list[Evidence]:
        """(tokens, 2) for each window: the scores of starts and stops."""
        return np.split(outputs.float().cpu().numpy(), np.cumsum(batch.spans.lengths)[:-1].tolist())

    def calibrate(
        self, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> None:
        """Finds the threshold that brings the most F1 on these questions, as the scorer of SQuAD 2.0 does."""
        if self.unanswerable:
            found = self._found(examples, rows, evidence, 1)
            self.threshold = self._best_threshold(examples, found)

    def _best_threshold(self, examples: Sequence[Example], found: Sequence["_Found"]) -> float:
        known = [number for number, one in enumerate(found) if one.best]
        if not known:
            return self.threshold
        right = self.reference([examples[number] for number in known])
        said = [_text(examples[number], *found[number].best[0][1:]) for number in known]
        answered, none = (answerscore.scores(right, some)[:, 0] for some in (said, [""] * len(known)))
        return best_threshold(np.array([found[number].doubt for number in known]), answered, none)

    def judge(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> dict[str, float]:
        """Where there may be no answer: with the threshold that is best for these questions."""
        found = self._found(examples, rows, evidence, 1)
        threshold = self._best_threshold(examples, found) if self.unanswerable else 0.0
        said = [
            ""
            if not one.best or (self.unanswerable and one.doubt > threshold)
            else _text(example, *one.best[0][1:])
            for example, one in zip(examples, found, strict=True)
        ]
        means = answerscore.scores(self.reference(examples), said).mean(0).tolist()
        lost = [
            np.logaddexp.reduce(scores.astype(np.float64), axis=0) - scores[row.targets["answer"][0], [0, 1]]
            for row, scores in zip(rows, evidence, strict=True)
        ]
        figures = {
            f"{self.name}.{name}": value for name, value in zip(answerscore.FIGURES, means, strict=True)
        }
        return {"answer.loss": float(np.mean(lost)), **figures}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[Row],
        evidence: Sequence[Evidence],
        top_k: int | None = None,
    ) -> list[list[FoundAnswer]]:
        """The best answers to each question, the best first; that there is none stands first where it is predicted."""
        result = []
        most = TOP_K if top_k is None else top_k
        found = self._found(examples, rows, evidence, most)
        for example, one in zip(examples, found, strict=True):
            answers = [
                FoundAnswer(_text(example, start, stop), start, stop, float(np.exp(score - one.total)))
                for score, start, stop in one.best
            ]
            if self.unanswerable or not answers:
                none = FoundAnswer("", 0, 0, float(np.exp(one.none - one.total)) if answers else 0.0)
                first = not answers or one.doubt > self.threshold
                place = 0 if first else max(1, sum(a.score >= none.score for a in answers))
                answers.insert(place, none)
            result.append(answers[:most])
        return result

    def _found(
        self, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence], most: int
    ) -> list[_Found]:
        """The best `most` stretches of each example, from all its windows; none of a context without pieces."""
        parts: dict[int, list[tuple[AnswerRow, Evidence]]] = {}
        for row, said in zip(map(answer_row, rows), evidence, strict=True):
            parts.setdefault(row.owner, []).append((row, said))
        result = []
        for number in range(len(examples)):
            windows = parts.get(number, [])
            if not windows:
                result.append(_Found([], 0.0, 0.0))
                continue
            bounds = windows[0][0].context.bounds
            scores = span_scores(windows, self.settings.answer_length)
            # the lowest of the windows, as in BERT: one that holds the answer speaks against there being none
            none = min(float(said[0].sum()) for _, said in windows)
            total = float(np.logaddexp.reduce(scores, axis=None))
            if self.unanswerable:
                total = float(np.logaddexp(total, none))
            best: dict[tuple[int, int], float] = {}
            for place in np.argsort(-scores, axis=None, kind="stable"):
                first, more = divmod(int(place), scores.shape[1])
                if len(best) == most or scores[first, more] == -np.inf:
                    break
                characters = int(bounds[first, 0]), int(bounds[first + more, 1])
                best.setdefault(characters, float(scores[first, more]))
            result.append(_Found([(score, *span) for span, score in best.items()], none, total))
        return result

    def best(self, prediction: list[FoundAnswer]) -> FoundAnswer:
        return prediction[0]

    @property
    def _language(self) -> Language | None:
        return None if self.settings.language == "auto" else self.settings.language

    def score(
        self, examples: Sequence[Example], predictions: Sequence[list[FoundAnswer]], seed: int = 0
    ) -> AnswerEvaluation:
        return answerscore.evaluation(self.reference(examples), self.compared(examples, predictions), seed)

    def reference(self, examples: Sequence[Example]) -> list[Any]:
        return [answerscore.reference(example, self._language) for example in examples]

    def compared(self, examples: Sequence[Example], predictions: Sequence[list[FoundAnswer]]) -> list[Any]:
        return [prediction[0].text for prediction in predictions]

    def right(self, examples: Sequence[Example], predictions: Sequence[list[FoundAnswer]]) -> list[bool]:
        found = answerscore.scores(self.reference(examples), self.compared(examples, predictions))
        return [exact == 1 for exact in found[:, 1].tolist()]

    def guess(self, examples: Sequence[Example]) -> tuple[str, list[Any]]:
        spans = [overlap.nearest(example.text, example.pair or "") for example in examples]
        found = [_text(example, *span) for example, span in zip(examples, spans, strict=True)]
        return "the words beside those of the question", found

    def sample(self, example: Example, prediction: list[FoundAnswer]) -> dict[str, Any]:
        """The part of the context around the true answer, else the predicted one; bounds count its characters."""
        true = [(answer.start, answer.stop) for answer in (example.answers or ())[:1]]
        said = [(one.start, one.stop) for one in prediction[:1] if one]
        context = example.pair or ""
        middle = next(iter([*true, *said]), (0, 0))
        low, high = max(0, middle[0] - AROUND), min(len(context), middle[1] + AROUND)
        shown = {
            name: [
                [max(a, low) - low, min(b, high) - low, "answer"] for a, b in spans if a < high and b > low
            ]
            for name, spans in (("spans", true), ("predicted", said))
        }
        (right,) = self.right([example], [prediction])
        answers = {"answer": prediction[0].text, "right": right}
        return {"question": example.text, "text": context[low:high], **shown, **answers}

    def record(self, example: Example, prediction: list[FoundAnswer], every: bool) -> dict[str, Any]:
        """`answer` is "" and its bounds null where there is none; `every`: with the other answers."""
        first = {"id": example.id, "line": example.line, **_plain(prediction[0], "answer")}
        return first | ({"answers": [_plain(one, "text") for one in prediction]} if every else {})

    def columns(self, every: bool) -> list[str]:
        return ["id", "line", "answer", "score", "start", "stop"]

    def lines(self, example: Example, prediction: list[FoundAnswer], every: bool) -> list[list[object]]:
        """The best answer; one line for each where all are asked for."""
        shown = prediction if every else prediction[:1]
        return [[example.id, example.line, *_plain(one, "answer").values()] for one in shown]


def context_of(text: str, encoded: Encoded) -> Context:
    """A context from its encoding. The first and the last piece of a word take what the tokenizer drops beside it
    (accents, vowel points), a piece inside it all up to the next one."""
    pieces = Pieces.of(encoded)
    bounds = np.array(encoded.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
    units = units_of(text, encoded)
    for (start, stop), first, after in zip(
        units.bounds.tolist(), (units.firsts[:-1] - 1).tolist(), (units.firsts[1:] - 1).tolist(), strict=True
    ):
        bounds[first, 0] = start
        bounds[first : after - 1, 1] = np.maximum(bounds[first : after - 1, 1], bounds[first + 1 : after, 0])
        bounds[after - 1, 1] = stop
    return Context(pieces, bounds)


def _pieces_of(answer: Reference, context: Context) -> tuple[int, int]:
    """The first and the last piece that an answer touches; (-1, -1) where it touches none."""
    touched = np.flatnonzero((context.bounds[:, 1] > answer.start) & (context.bounds[:, 0] < answer.stop))
    return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


def _text(example: Example, start: int, stop: int) -> str:
    return (example.pair or "")[start:stop]


def _plain(answer: FoundAnswer, name: str) -> dict[str, Any]:
    start, stop = (answer.start, answer.stop) if answer else (None, None)
    return {name: answer.text, "score": round(answer.score, 6), "start": start, "stop": stop}
