"""AnswerTask: the span of a context that answers a question, or that there is none.

[CLS] question [SEP] window of the context [SEP], in as many windows as the context needs. Each span of at most
`max_answer_length` tokens is scored once, in the window in which most of the context around it is seen; the best of
all windows is the answer. In a window without the answer the target is [CLS], as in BERT.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from unmask.data.encoded import EncodedRow
from unmask.data.rows.example import Example
from unmask.errors import UserError
from unmask.metrics.answers import answer_scores
from unmask.tasks.answer.context import AnswerRow, Context
from unmask.tasks.answer.settings import Answer
from unmask.tasks.answer.spans import Candidates, best_threshold, candidates
from unmask.tasks.task import Arrays, Collected, Examples, Notes, Rows, Task, Values, split_rows
from unmask.tasks.windows import TextTokens, window_inputs
from unmask.text.chinese import mostly_chinese
from unmask.text.tokenizer import Tokenizer

TOP_K = 5  # answers that a prediction holds, unless another number is given


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

    def __repr__(self) -> str:
        return f"AnswerSpan(text={self.text!r}, start={self.start}, end={self.end}, score={self.score:.2f})"


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
            raise UserError(
                f"{train[0].source}: there is nothing to learn",
                given=f"{len(train):,} questions without a single answer",
            )
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
        most = self.settings.question_tokens
        truncated = sum(len(question) > most for question in questions)
        texts = list(dict.fromkeys(example.pair or "" for example in examples))
        encoded = zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        contexts = {text: Context.of(text, one) for text, one in encoded}
        rows: list[EncodedRow] = []
        for owner, (example, question) in enumerate(zip(examples, questions, strict=True)):
            context = contexts[example.pair or ""]
            target = None
            if example.answers is not None:
                target = context.tokens_of(example.answers[0]) if example.answers else (-1, -1)
            rows += self._rows(TextTokens(question.input_ids[:most], question.word_starts), context, target, owner)
        answered = [(example, contexts[example.pair or ""]) for example in examples if example.answers]
        return rows, Notes(truncated, tuple(self._unreachable(answered)))

    def _unreachable(self, answered: Sequence[tuple[Example, Context]]) -> Iterator[str]:
        """Remark how many answers can never be predicted as they are."""
        partly, long = [], []
        for example, context in answered:
            answer = next(iter(example.answers or ()))
            first, last = context.tokens_of(answer)
            bounds = (int(context.bounds[first, 0]), int(context.bounds[last, 1])) if first >= 0 else None
            if bounds != (answer.start, answer.end):
                partly.append(example.id)
            elif last - first >= self.settings.max_answer_length:
                long.append(example.id)
        if partly:
            yield (
                f"{len(partly):,} of {len(answered):,} answers begin or end inside a token, of which only the whole "
                f"can be predicted (the first: question {partly[0]})"
            )
        if long:
            yield (
                f"{len(long):,} of {len(answered):,} answers are longer than {self.settings.max_answer_length:,} "
                f"tokens (task.max_answer_length) and cannot be predicted (the first: question {long[0]})"
            )

    def _rows(
        self, question: TextTokens, context: Context, target: tuple[int, int] | None, owner: int
    ) -> Iterator[AnswerRow]:
        """target: the first and the last token of the answer, which is taught where a window holds it whole."""
        length = self.settings.max_length
        stride = self.settings.stride or max(1, length // 3)
        for one in window_inputs(self.tokenizer, context.tokens, question, length, stride, first=False):
            targets: dict[str, npt.NDArray[np.generic]] = {}
            if target is not None:
                inside = one.window.start <= target[0] and target[1] < one.window.end
                place = [token - one.window.start + one.text_start if inside else 0 for token in target]
                targets[self.name] = np.array([place])
            yield AnswerRow(
                one.input_ids,
                one.token_type_ids,
                one.flags,
                owner,
                owner=owner,
                targets=targets,
                context=context,
                window=one.window,
                place=one.text_start,
            )

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The logits (tokens, 2) of starts and stops of each window."""
        return split_rows(outputs["logits"], [len(row) for row in rows])

    def decode(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays, top_k: int | None = None
    ) -> list[list[AnswerSpan]]:
        """Return the best answers to each question, the best first; no answer comes first where it is predicted."""
        threshold = float(parameters.get("threshold", np.zeros(())))
        result, most = [], top_k or TOP_K
        every = self._candidates(len(examples), rows, collected, most)
        for example, one in zip(examples, every, strict=True):
            answers = [
                AnswerSpan((example.pair or "")[start:stop], start, stop, float(np.exp(score - one.total)))
                for score, start, stop in one.spans
            ]
            if self.has_unanswerable or not answers:
                none = AnswerSpan("", 0, 0, float(np.exp(one.none - one.total)) if answers else 0.0)
                first = not answers or one.doubt > threshold
                place = 0 if first else max(1, sum(a.score >= none.score for a in answers))
                answers.insert(place, none)
            result.append(answers[:most])
        return result

    def calibrate(
        self, examples: Examples, rows: Rows, collected: Values, parameters: Arrays
    ) -> dict[str, npt.NDArray[Any]]:
        """Find the threshold with the highest F1 on these questions, as the scorer of SQuAD 2.0 does."""
        every = self._candidates(len(examples), rows, collected, 1)
        known = [(example, one) for example, one in zip(examples, every, strict=True) if one.spans]
        if not known:
            return {}
        reference = self.reference([example for example, _ in known])
        texts = [(example.pair or "")[one.spans[0][1] : one.spans[0][2]] for example, one in known]
        answered, none = (answer_scores(reference, some)[:, 0] for some in (texts, [""] * len(known)))
        return {"threshold": np.array(best_threshold(np.array([one.doubt for _, one in known]), answered, none))}

    def _candidates(self, count: int, rows: Rows, collected: Values, most: int) -> list[Candidates]:
        """Find the best `most` spans of each of `count` examples, over all of its windows."""
        windows: list[list[tuple[AnswerRow, Collected]]] = [[] for _ in range(count)]
        for row, logits in zip(rows, collected, strict=True):
            assert isinstance(row, AnswerRow)
            windows[row.owner].append((row, logits))
        longest = self.settings.max_answer_length
        return [candidates(one, longest, most, self.has_unanswerable) for one in windows]

    def top_prediction(self, prediction: list[AnswerSpan]) -> AnswerSpan:
        return prediction[0]

    def reference(self, examples: Examples) -> list[Any]:
        return [self._reference(example) for example in examples]

    def _reference(self, example: Example) -> dict[str, Any]:
        """Return the right answers, and the language whose rules they are scored by."""
        language = self.settings.language
        if language == "auto":
            language = "zh" if mostly_chinese([example.text, example.pair or ""]) else "en"
        answers = list(dict.fromkeys(answer.text for answer in example.answers or ()))
        return {"answers": answers, "language": language}

    def comparable(self, examples: Examples, predictions: Sequence[list[AnswerSpan]]) -> list[Any]:
        return [prediction[0].text for prediction in predictions]
