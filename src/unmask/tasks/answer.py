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
from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.memory import Source
from unmask.data.rows.squad import read_questions
from unmask.data.rows.tables import Example, ReferenceAnswer, UnknownLabels
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import answerscore, overlap
from unmask.tasks.answerhead import AnswerHead, AnswerLearner, AnswerRow, Context, answer_row
from unmask.tasks.answerscore import AnswerEvaluation, Language
from unmask.tasks.answerspans import best_threshold, span_scores
from unmask.tasks.spans import align_words
from unmask.tasks.task import Head, Logits, ReadOptions, Task, TaskLearner
from unmask.tasks.windows import TextTokens, window_inputs
from unmask.text.tokenizer import Encoding, Tokenizer

TOP_K = 5  # answers listed for each question, unless another number is given
CONTEXT_CHARACTERS = 80  # characters shown on each side of an answer in a report


@config
class Answer:
    """Settings of question answering."""

    name: Literal["answer"] = "answer"
    max_length: int = setting(
        default=384, ge=8, description="longest input in tokens; longer contexts are read in windows"
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; a third of length if not given"
    )
    max_question_length: int = setting(
        default=64,
        ge=1,
        description="longest question in tokens, at most half of length; longer ones are cut",
    )
    max_answer_length: int = setting(default=30, ge=1, description="longest answer in tokens")
    language: Literal["auto", "en", "zh"] = setting(
        default="auto",
        description="whose rules answers are scored by: words without articles, or characters; auto: found in the text",
    )

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.max_length - 3:
            raise ValueError(f"stride {self.stride} leaves tokens out: at most length - 3 = {self.max_length - 3}")

    @property
    def task(self) -> type[Task[Any]]:
        return AnswerTask

    @property
    def num_candidates(self) -> int:
        """The longest question in pieces: at least half of the room is for the context."""
        return min(self.max_question_length, (self.max_length - 3) // 2)


@dataclass(frozen=True)
class AnswerSpan:
    """A stretch of a context, `text = context[start:stop]`; empty where the context does not answer the question.

    score: its probability among all stretches that may be answers.
    """

    text: str
    start: int
    end: int
    score: float

    def __bool__(self) -> bool:
        return self.end > self.start

    def __repr__(self) -> str:
        return f"FoundAnswer(text={self.text!r}, start={self.start}, stop={self.end}, score={self.score:.2f})"


@dataclass(frozen=True)
class _Candidates:
    """The best stretches of a context, the best first: (score, start, stop) in characters; `none`: the score that
    there is no answer; total: the logarithm of the sum of all, exponentiated."""

    best: list[tuple[float, int, int]]
    no_answer: float
    total: float

    @property
    def no_answer_margin(self) -> float:
        """How much better no answer is than the best one."""
        return self.no_answer - self.best[0][0]


class AnswerTask(Task[list[AnswerSpan]]):
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

    def __init__(self, settings: Answer, tokenizer: Tokenizer, unanswerable: bool, threshold: float = 0.0) -> None:
        super().__init__(settings, tokenizer, ())
        self.has_unanswerable, self.threshold = unanswerable, threshold
        self.needs_calibration = unanswerable

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
        facts = {"labels": [], "unanswerable": self.has_unanswerable, "threshold": self.threshold}
        return {**dump(self.settings), **facts}

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        return "BertForQuestionAnswering", ["start", "end"]

    @classmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        return cls._read(path, read_options, True, read_options.answer_starts)

    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        """Scores need no places, so that of several places of an answer any will do."""
        return self._read(path, read_options, True, "first")

    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        return self._read(path, read_options, False, "first")

    @staticmethod
    def _read(
        path: Source, read_options: ReadOptions, answers: bool, starts: Literal["given", "first"]
    ) -> list[Example]:
        return read_questions(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            require_answers=answers,
            encoding=read_options.encoding,
            format=read_options.format,
            starts=starts,
        )

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """All of them: there are no labels."""
        return list(examples)

    @classmethod
    def max_length_setting(cls, settings: Answer) -> tuple[str, int]:
        return "task.max_question_length", settings.num_candidates

    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """The windows of each question's context. Raises UserError for a question without a context."""
        for example in examples:
            if example.pair is None:
                raise UserError(
                    f"{example.location}: a question needs a context to answer it from",
                    given=example.text,
                    allowed="a pair: (question, context)",
                )
        questions = [TextTokens.from_encoding(one) for one in self.tokenizer.encode_batch([e.text for e in examples])]
        most = self.settings.num_candidates
        self.truncated = sum(len(question) > most for question in questions)
        texts = list(dict.fromkeys(example.pair or "" for example in examples))
        encoded = zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        contexts = {text: context_of(text, one) for text, one in encoded}
        rows: list[EncodedRow] = []
        for number, (example, question) in enumerate(zip(examples, questions, strict=True)):
            context = contexts[example.pair or ""]
            wanted = None
            if example.answers is not None:
                wanted = _answer_tokens(example.answers[0], context) if example.answers else (-1, -1)
            rows += self._rows(TextTokens(question.input_ids[:most], question.word_starts), context, wanted, number)
        self._report([(example, contexts[example.pair or ""]) for example in examples if example.answers])
        return rows

    def _report(self, answered: Sequence[tuple[Example, Context]]) -> None:
        """Says how many answers can never be found as they are."""
        partly, long = [], []
        for example, context in answered:
            answer = (example.answers or ())[0]
            first, last = _answer_tokens(answer, context)
            bounds = (int(context.offsets[first, 0]), int(context.offsets[last, 1])) if first >= 0 else None
            if bounds != (answer.start, answer.end):
                partly.append(example.id)
            elif last - first >= self.settings.max_answer_length:
                long.append(example.id)
        if partly:
            console.note(
                f"{len(partly):,} of {len(answered):,} answers begin or end inside a piece, of which only the "
                f"whole can be found (the first: question {partly[0]})"
            )
        if long:
            console.note(
                f"{len(long):,} of {len(answered):,} answers are longer than "
                f"{self.settings.max_answer_length:,} tokens "
                f"(task.max_answer_length) and cannot be found (the first: question {long[0]})"
            )

    def _rows(
        self, question: TextTokens, context: Context, answers: tuple[int, int] | None, owner: int
    ) -> Iterator[AnswerRow]:
        """wanted: the first and the last piece of the answer; it is taught where a window holds it whole."""
        length, stride = (
            self.settings.max_length,
            self.settings.stride or max(1, self.settings.max_length // 3),
        )
        for one in window_inputs(self.tokenizer, context.tokens, question, length, stride, first=False):
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if answers is not None:
                inside = one.window.start <= answers[0] and answers[1] < one.window.end
                place = [piece - one.window.start + one.text_start if inside else 0 for piece in answers]
                targets["answer"] = np.array([place])
            yield AnswerRow(
                one.input_ids,
                one.token_type_ids,
                one.flags,
                owner,
                owner=owner,
                targets=targets,
                context=context,
                window=one.window,
                context_start=one.text_start,
            )

    def head(self, encoder: EncoderConfig) -> AnswerHead:
        return AnswerHead(encoder)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> TaskLearner:
        return AnswerLearner(encoder, self.head(encoder.config))

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """(tokens, 2) for each window: the scores of starts and stops."""
        return np.split(outputs.float().cpu().numpy(), np.cumsum(batch.layout.lengths)[:-1].tolist())

    def calibrate(self, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]) -> None:
        """Finds the threshold that brings the most F1 on these questions, as the scorer of SQuAD 2.0 does."""
        if self.has_unanswerable:
            found = self._candidates(examples, rows, logits, 1)
            self.threshold = self._best_threshold(examples, found)

    def _best_threshold(self, examples: Sequence[Example], found: Sequence["_Candidates"]) -> float:
        known = [number for number, one in enumerate(found) if one.best]
        if not known:
            return self.threshold
        right = self.reference([examples[number] for number in known])
        said = [_text(examples[number], *found[number].best[0][1:]) for number in known]
        answered, none = (answerscore.scores(right, some)[:, 0] for some in (said, [""] * len(known)))
        return best_threshold(np.array([found[number].no_answer_margin for number in known]), answered, none)

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        """Where there may be no answer: with the threshold that is best for these questions."""
        found = self._candidates(examples, rows, logits, 1)
        threshold = self._best_threshold(examples, found) if self.has_unanswerable else 0.0
        said = [
            ""
            if not one.best or (self.has_unanswerable and one.no_answer_margin > threshold)
            else _text(example, *one.best[0][1:])
            for example, one in zip(examples, found, strict=True)
        ]
        means = answerscore.scores(self.reference(examples), said).mean(0).tolist()
        lost = [
            np.logaddexp.reduce(scores.astype(np.float64), axis=0) - scores[row.targets["answer"][0], [0, 1]]
            for row, scores in zip(rows, logits, strict=True)
        ]
        figures = {f"{self.name}.{name}": value for name, value in zip(answerscore.FIGURES, means, strict=True)}
        return {"answer.loss": float(np.mean(lost)), **figures}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[list[AnswerSpan]]:
        """The best answers to each question, the best first; that there is none stands first where it is predicted."""
        result = []
        most = TOP_K if top_k is None else top_k
        found = self._candidates(examples, rows, logits, most)
        for example, one in zip(examples, found, strict=True):
            answers = [
                AnswerSpan(_text(example, start, stop), start, stop, float(np.exp(score - one.total)))
                for score, start, stop in one.best
            ]
            if self.has_unanswerable or not answers:
                none = AnswerSpan("", 0, 0, float(np.exp(one.no_answer - one.total)) if answers else 0.0)
                first = not answers or one.no_answer_margin > self.threshold
                place = 0 if first else max(1, sum(a.score >= none.score for a in answers))
                answers.insert(place, none)
            result.append(answers[:most])
        return result

    def _candidates(
        self, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits], limit: int
    ) -> list[_Candidates]:
        """The best `most` stretches of each example, from all its windows; none of a context without pieces."""
        parts: dict[int, list[tuple[AnswerRow, Logits]]] = {}
        for row, said in zip(map(answer_row, rows), logits, strict=True):
            parts.setdefault(row.owner, []).append((row, said))
        result = []
        for number in range(len(examples)):
            windows = parts.get(number, [])
            if not windows:
                result.append(_Candidates([], 0.0, 0.0))
                continue
            bounds = windows[0][0].context.offsets
            scores = span_scores(windows, self.settings.max_answer_length)
            # the lowest of the windows, as in BERT: one that holds the answer speaks against there being none
            none = min(float(said[0].sum()) for _, said in windows)
            total = float(np.logaddexp.reduce(scores, axis=None))
            if self.has_unanswerable:
                total = float(np.logaddexp(total, none))
            best: dict[tuple[int, int], float] = {}
            for place in np.argsort(-scores, axis=None, kind="stable"):
                first, more = divmod(int(place), scores.shape[1])
                if len(best) == limit or scores[first, more] == -np.inf:
                    break
                characters = int(bounds[first, 0]), int(bounds[first + more, 1])
                best.setdefault(characters, float(scores[first, more]))
            result.append(_Candidates([(score, *span) for span, score in best.items()], none, total))
        return result

    def top_prediction(self, prediction: list[AnswerSpan]) -> AnswerSpan:
        return prediction[0]

    @property
    def _language(self) -> Language | None:
        return None if self.settings.language == "auto" else self.settings.language

    def score(
        self, examples: Sequence[Example], predictions: Sequence[list[AnswerSpan]], seed: int = 0
    ) -> AnswerEvaluation:
        return answerscore.evaluation(self.reference(examples), self.comparable(examples, predictions), seed)

    def reference(self, examples: Sequence[Example]) -> list[Any]:
        return [answerscore.reference(example, self._language) for example in examples]

    def comparable(self, examples: Sequence[Example], predictions: Sequence[list[AnswerSpan]]) -> list[Any]:
        return [prediction[0].text for prediction in predictions]

    def is_correct(self, examples: Sequence[Example], predictions: Sequence[list[AnswerSpan]]) -> list[bool]:
        found = answerscore.scores(self.reference(examples), self.comparable(examples, predictions))
        return [exact == 1 for exact in found[:, 1].tolist()]

    def overlap_baseline(self, examples: Sequence[Example]) -> tuple[str, list[Any]]:
        spans = [overlap.nearest_sentence(example.text, example.pair or "") for example in examples]
        found = [_text(example, *span) for example, span in zip(examples, spans, strict=True)]
        return "the words beside those of the question", found

    def sample(self, example: Example, prediction: list[AnswerSpan]) -> dict[str, Any]:
        """The part of the context around the true answer, else the predicted one; bounds count its characters."""
        true = [(answer.start, answer.end) for answer in (example.answers or ())[:1]]
        said = [(one.start, one.end) for one in prediction[:1] if one]
        context = example.pair or ""
        middle = next(iter([*true, *said]), (0, 0))
        low, high = max(0, middle[0] - CONTEXT_CHARACTERS), min(len(context), middle[1] + CONTEXT_CHARACTERS)
        shown = {
            name: [[max(a, low) - low, min(b, high) - low, "answer"] for a, b in spans if a < high and b > low]
            for name, spans in (("spans", true), ("predicted", said))
        }
        (right,) = self.is_correct([example], [prediction])
        answers = {"answer": prediction[0].text, "right": right}
        return {"question": example.text, "text": context[low:high], **shown, **answers}

    def to_record(self, example: Example, prediction: list[AnswerSpan], all_scores: bool) -> dict[str, Any]:
        """`answer` is "" and its bounds null where there is none; `every`: with the other answers."""
        first = {"id": example.id, "line": example.line, **_plain(prediction[0], "answer")}
        return first | ({"answers": [_plain(one, "text") for one in prediction]} if all_scores else {})

    def columns(self, all_scores: bool) -> list[str]:
        return ["id", "line", "answer", "score", "start", "end"]

    def to_rows(self, example: Example, prediction: list[AnswerSpan], all_scores: bool) -> list[list[object]]:
        """The best answer; one line for each where all are asked for."""
        shown = prediction if all_scores else prediction[:1]
        return [[example.id, example.line, *_plain(one, "answer").values()] for one in shown]


def context_of(text: str, encoded: Encoding) -> Context:
    """A context from its encoding. The first and the last piece of a word take what the tokenizer drops beside it
    (accents, vowel points), a piece inside it all up to the next one."""
    pieces = TextTokens.from_encoding(encoded)
    bounds = np.array(encoded.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
    units = align_words(text, encoded)
    for (start, stop), first, after in zip(
        units.offsets.tolist(),
        (units.first_tokens[:-1] - 1).tolist(),
        (units.first_tokens[1:] - 1).tolist(),
        strict=True,
    ):
        bounds[first, 0] = start
        bounds[first : after - 1, 1] = np.maximum(bounds[first : after - 1, 1], bounds[first + 1 : after, 0])
        bounds[after - 1, 1] = stop
    return Context(pieces, bounds)


def _answer_tokens(answer: ReferenceAnswer, context: Context) -> tuple[int, int]:
    """The first and the last piece that an answer touches; (-1, -1) where it touches none."""
    touched = np.flatnonzero((context.offsets[:, 1] > answer.start) & (context.offsets[:, 0] < answer.end))
    return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


def _text(example: Example, start: int, stop: int) -> str:
    return (example.pair or "")[start:stop]


def _plain(answer: AnswerSpan, name: str) -> dict[str, Any]:
    start, stop = (answer.start, answer.end) if answer else (None, None)
    return {name: answer.text, "score": round(answer.score, 6), "start": start, "end": stop}
