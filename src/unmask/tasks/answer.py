"""Extractive question answering: the span of a context that answers a question, or that there is none.

[CLS] question [SEP] window of the context [SEP], in as many windows as the context needs. Each span of at most
`max_answer_length` tokens is scored once, in the window in which most of the context around it is seen; the best of
all windows is the answer. In a window without the answer the target is [CLS], as in BERT.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from unmask.config import config, setting
from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import Example, ReferenceAnswer
from unmask.errors import UserError
from unmask.messages import message
from unmask.metrics.answers import answer_scores
from unmask.metrics.figures import Floats
from unmask.tasks.alignment import align_words
from unmask.tasks.task import Arrays, Examples, Notes, Outputs, Rows, Task, WindowSettings, split_rows, top_places
from unmask.tasks.windows import TextTokens, WindowInput, best_windows, window_inputs
from unmask.text.chinese import mostly_chinese
from unmask.text.tokenizer import Encoding, Tokenizer

TOP_K = 5  # answers that a prediction holds, unless another number is given
MAX_QUESTION_LENGTH = 64  # tokens, as in BERT


@config
class Answer(WindowSettings):
    """Settings of question answering."""

    name: Literal["answer"] = "answer"
    max_length: int = setting(
        default=384, ge=8, description="maximum length in tokens; longer contexts are read in windows"
    )
    stride: int | None = setting(
        default=None, ge=1, description="tokens from one window to the next; default: a third of max_length"
    )
    max_answer_length: int = setting(default=30, ge=1, description="maximum length of an answer in tokens")

    @property
    def truncates_to(self) -> int:
        """The longest question in tokens: at least half of the room is for the context."""
        return min(MAX_QUESTION_LENGTH, (self.max_length - 3) // 2)

    @property
    def window_stride(self) -> int:
        """The number of tokens from one window to the next."""
        return self.stride or max(1, self.max_length // 3)


@dataclass(frozen=True)
class Context:
    """A context as tokens; bounds (tokens, 2) int64: the characters that a token at either end of an answer brings."""

    tokens: TextTokens
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds)

    @classmethod
    def of(cls, text: str, encoded: Encoding) -> "Context":
        """Make it from the encoding of a text. The first and the last token of a word take what the tokenizer drops
        beside it (accents, vowel points), a token inside it all up to the next one."""
        bounds = np.array(encoded.offsets[1:-1], dtype=np.int64).reshape(-1, 2)
        words = align_words(text, encoded)
        firsts = (words.first_tokens - 1).tolist()
        for (start, stop), first, after in zip(words.offsets.tolist(), firsts[:-1], firsts[1:], strict=True):
            bounds[first, 0] = start
            bounds[first : after - 1, 1] = np.maximum(bounds[first : after - 1, 1], bounds[first + 1 : after, 0])
            bounds[after - 1, 1] = stop
        return cls(TextTokens.from_encoding(encoded), bounds)

    def tokens_of(self, answer: ReferenceAnswer) -> tuple[int, int]:
        """Return the first and the last token that an answer touches; (-1, -1) where it touches none."""
        touched = np.flatnonzero((self.bounds[:, 1] > answer.start) & (self.bounds[:, 0] < answer.end))
        return (int(touched[0]), int(touched[-1])) if len(touched) else (-1, -1)


@dataclass(frozen=True)
class AnswerRow(EncodedRow):
    """A question with a window of its context."""

    context: Context = field(kw_only=True)
    source: WindowInput = field(kw_only=True)


@dataclass(frozen=True)
class Candidates:
    """The best spans of a context, the best first: (score, start, stop) in characters; none: the score of no answer;
    total: log of the sum of the exponentials of all scores."""

    spans: list[tuple[float, int, int]]
    none: float = 0.0
    total: float = 0.0

    @property
    def doubt(self) -> float:
        """How much better no answer scores than the best one."""
        return self.none - self.spans[0][0]


def candidates(text: Outputs, longest: int, count: int, has_unanswerable: bool) -> Candidates:
    """Find the `count` best spans of at most `longest` tokens of a context, none where it has no tokens. text: a
    question with its windows, and the scores (tokens, 2) of starts and stops in each."""
    if not text.rows:
        return Candidates([])
    bounds = text.rows[0].context.bounds
    scores = span_scores(text, longest)
    # the lowest of the windows, as in BERT: one that holds the answer is evidence against there being none
    none = min(float(logits[0].sum()) for logits in text.values)
    total = float(np.logaddexp.reduce(scores, axis=None))
    if has_unanswerable:
        total = float(np.logaddexp(total, none))
    best: dict[tuple[int, int], float] = {}
    looked, flat = 4 * count, scores.ravel()
    while True:  # several spans of tokens may be the same characters
        for place in top_places(flat, looked):
            first, more = divmod(int(place), scores.shape[1])
            if len(best) == count or flat[place] == -np.inf:
                break
            characters = int(bounds[first, 0]), int(bounds[first + more, 1])
            best.setdefault(characters, float(flat[place]))
        if len(best) == count or looked >= len(flat):
            return Candidates([(score, *span) for span, score in best.items()], none, total)
        looked *= 4


def span_scores(text: Outputs, longest: int) -> Floats:
    """Score each span: (tokens, longest), the answer that starts with token i and has j more, start plus stop, in the
    window that shows most around it (`best_windows`); -inf where no window holds it whole."""
    tokens = len(text.rows[0].context)
    bounds = [(row.source.window.start, row.source.window.end) for row in text.rows]
    owner = best_windows(np.arange(tokens + 1), bounds, min(longest, tokens))
    scores = np.full(owner.shape, -np.inf)
    for number, (row, logits, (begin, end)) in enumerate(zip(text.rows, text.values, bounds, strict=True)):
        inner = logits[row.source.text_start :][: end - begin].astype(np.float64)
        first = np.arange(end - begin)[:, None]
        last = np.minimum(first + np.arange(owner.shape[1]), end - begin - 1)
        own = owner[begin:end] == number
        scores[begin:end][own] = (inner[first, 0] + inner[last, 1])[own]
    return scores


def best_threshold(doubts: Floats, answered: Floats, none: Floats) -> float:
    """Find the threshold with the highest mean score, where no answer is given for doubts above it.

    doubts (questions,): how much better no answer scores than the best one; answered, none (questions,): the F1 of
    each question with its answer, and with none. Half-way between two doubts, beyond the first or the last one by 1;
    of thresholds that are equally good the one nearest to 0.
    """
    order = np.argsort(doubts, kind="stable")
    ordered = doubts[order]
    values = none.sum() + np.concatenate([[0.0], np.cumsum((answered - none)[order])])
    between = (ordered[:-1] + ordered[1:]) / 2
    thresholds = np.concatenate([ordered[:1] - 1, between, ordered[-1:] + 1])
    # of equal doubts all or none are answered
    apart = np.concatenate([[True], ordered[:-1] < ordered[1:], [True]])
    values, thresholds = values[apart], thresholds[apart]
    good = np.flatnonzero(values >= values.max() - 1e-9)
    return float(min(thresholds[good], key=abs))


@dataclass(frozen=True)
class AnswerSpan:
    """A span of a context, `text = context[start:end]`; empty where the context does not answer the question.

    score: its probability among all spans that may be answers.
    """

    text: str
    start: int
    end: int
    score: float

    def __bool__(self) -> bool:
        return self.end > self.start


class AnswerTask(Task[list[AnswerSpan]]):
    """Answers to questions about a context.

    has_unanswerable: whether "no answer" is a prediction, as it is where training questions have none; it is given
    where it is better than the best answer by more than the parameter `threshold` (), which is chosen on the dev
    questions.
    """

    settings: Answer
    metric = "answer_f1"
    kind = "answers"
    reads = "answers"
    ranks = True

    def __init__(self, settings: Answer, tokenizer: Tokenizer, has_unanswerable: bool) -> None:
        super().__init__(settings, tokenizer)
        self.has_unanswerable = has_unanswerable
        self.calibrates = "at each evaluation" if has_unanswerable else "never"

    @classmethod
    def build(cls, settings: Answer, tokenizer: Tokenizer, train: Examples) -> Self:
        without = sum(example.answers == () for example in train)
        if without == len(train):
            given = f"{len(train):,} questions without a single answer"
            raise UserError("{source}: nothing to learn", train[0].source, given=given)
        return cls(settings, tokenizer, without > 0)

    @classmethod
    def restore(cls, settings: Answer, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, schema["has_unanswerable"])

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "has_unanswerable": self.has_unanswerable}

    def encode(self, examples: Examples) -> tuple[list[EncodedRow], Notes]:
        """Encode the windows of each question's context. Raises UserError for a question without a context."""
        for example in examples:
            if example.pair is None:
                raise UserError(
                    f"{example.location}: a question needs a context to answer it from",
                    given=example.text,
                    allowed="a pair: (question, context)",
                )
        questions = [TextTokens.from_encoding(one) for one in self.tokenizer.encode_batch([e.text for e in examples])]
        most = self.settings.truncates_to
        truncated = sum(len(question) > most for question in questions)
        texts = list(dict.fromkeys(example.pair or "" for example in examples))
        encoded = zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        contexts = {text: Context.of(text, one) for text, one in encoded}
        rows: list[EncodedRow] = []
        long: list[Example] = []
        for owner, (example, question) in enumerate(zip(examples, questions, strict=True)):
            context, target = contexts[example.pair or ""], None
            if example.answers is not None:
                target = context.tokens_of(example.answers[0]) if example.answers else (-1, -1)
                if target[1] - target[0] >= self.settings.max_answer_length:
                    long.append(example)
            rows += self._rows(TextTokens(question.input_ids[:most], question.word_starts), context, target, owner)
        text = "{count:,} answers are longer than task.max_answer_length (the first: question {first})"
        return rows, Notes(truncated, (message(text, len(long), long[0].id),) if long else ())

    def _rows(
        self, question: TextTokens, context: Context, target: tuple[int, int] | None, owner: int
    ) -> Iterator[AnswerRow]:
        """target: the first and the last token of the answer, which is taught where a window holds it whole."""
        length, stride = self.settings.max_length, self.settings.window_stride
        for one in window_inputs(self.tokenizer, context.tokens, question, length, stride, first=False):
            targets = {}
            if target is not None:
                inside = one.window.start <= target[0] and target[1] < one.window.end
                place = [token - one.window.start + one.text_start if inside else 0 for token in target]
                targets[self.name] = np.array([place])
            yield AnswerRow(*one.parts, owner, owner=owner, targets=targets, context=context, source=one)

    def collect(self, outputs: Arrays, rows: Rows) -> list[npt.NDArray[Any]]:
        """The logits (tokens, 2) of starts and stops of each window."""
        return split_rows(outputs["logits"], [len(row) for row in rows])

    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[list[AnswerSpan]]:
        """Return the best answers to each question, the best first; no answer comes first where it is predicted."""
        threshold = float(parameters.get("threshold", np.zeros(())))
        result, most = [], top_k or TOP_K
        for text in texts:
            one, context = self._candidates(text, most), text.example.pair or ""
            answers = [
                AnswerSpan(context[start:stop], start, stop, float(np.exp(score - one.total)))
                for score, start, stop in one.spans
            ]
            if self.has_unanswerable or not answers:
                none = AnswerSpan("", 0, 0, float(np.exp(one.none - one.total)) if answers else 0.0)
                first = not answers or one.doubt > threshold
                place = 0 if first else max(1, sum(a.score >= none.score for a in answers))
                answers.insert(place, none)
            result.append(answers[:most])
        return result

    def calibrate(self, texts: Sequence[Outputs]) -> dict[str, npt.NDArray[Any]]:
        """Find the threshold with the highest F1 on these questions, as the scorer of SQuAD 2.0 does."""
        pairs = [(text.example, self._candidates(text, 1)) for text in texts]
        known = [(example, one) for example, one in pairs if one.spans]
        if not known:
            return {}
        reference = self.reference([example for example, _ in known])
        answers = [(example.pair or "")[one.spans[0][1] : one.spans[0][2]] for example, one in known]
        answered, none = (answer_scores(reference, some)[:, 0] for some in (answers, [""] * len(known)))
        return {"threshold": np.array(best_threshold(np.array([one.doubt for _, one in known]), answered, none))}

    def _candidates(self, text: Outputs, most: int) -> Candidates:
        """Find the best `most` spans of a context, over all of its windows."""
        return candidates(text, self.settings.max_answer_length, most, self.has_unanswerable)

    def top_prediction(self, prediction: list[AnswerSpan]) -> AnswerSpan:
        return prediction[0]

    def reference(self, examples: Examples) -> list[Any]:
        """Return the right answers to each question, and the language whose rules they are scored by."""
        return [
            {
                "answers": list(dict.fromkeys(answer.text for answer in example.answers or ())),
                "language": "zh" if mostly_chinese([example.text, example.pair or ""]) else "en",
            }
            for example in examples
        ]

    def comparable(self, examples: Examples, predictions: Sequence[list[AnswerSpan]]) -> list[Any]:
        return [prediction[0].text for prediction in predictions]
