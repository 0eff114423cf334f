"""Decoding of answers: the spans of a context that score best over all of its windows, and when there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmask.tasks.answer.context import AnswerRow
from unmask.tasks.task import Collected, Floats, top_places


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


def candidates(
    windows: Sequence[tuple[AnswerRow, Collected]], longest: int, count: int, has_unanswerable: bool
) -> Candidates:
    """Find the `count` best spans of one context, none of them where it has no tokens. windows: with the scores
    (tokens, 2) of starts and stops."""
    if not windows:
        return Candidates([])
    bounds = windows[0][0].context.bounds
    scores = span_scores(windows, longest)
    # the lowest of the windows, as in BERT: one that holds the answer is evidence against there being none
    none = min(float(logits[0].sum()) for _, logits in windows)
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


def span_scores(windows: Sequence[tuple[AnswerRow, Collected]], longest: int) -> Floats:
    """Score each span: (tokens, longest), the answer that starts with token i and has j more, start plus stop.

    windows: those of one context, with the scores of their tokens. A span is scored in the window in which the nearer
    end of what is read is farthest from it (the ends of the context are no ends in this sense), of several in the
    first. -inf where no window holds it whole.
    """
    tokens = len(windows[0][0].context)
    longest = min(longest, tokens)
    scores = np.full((tokens, longest), -np.inf)
    seen = np.full(scores.shape, -1)
    for row, logits in windows:
        begin, end = row.window.start, row.window.end
        count = end - begin
        width = min(longest, count)
        inner = logits[row.place : row.place + count].astype(np.float64)
        first = np.arange(count)[:, None]
        last = first + np.arange(width)
        inside = last < count
        last = np.minimum(last, count - 1)
        before = first if begin else np.full_like(first, tokens)
        after = count - 1 - last if end < tokens else np.full_like(last, tokens)
        around = np.where(inside, np.minimum(before, after), -1)
        block = (slice(begin, end), slice(width))
        better = around > seen[block]
        scores[block][better] = (inner[first, 0] + inner[last, 1])[better]
        seen[block][better] = around[better]
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
