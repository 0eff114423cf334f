"""Which stretch of a context answers best, from what was said of its windows; and when none does."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unmask.tasks.answerhead import AnswerRow
from unmask.tasks.task import Logits

Floats = npt.NDArray[np.float64]


def span_scores(windows: Sequence[tuple[AnswerRow, Logits]], max_answer_length: int) -> Floats:
    """(pieces, longest): the score of the answer that starts with piece i and has j more, start plus stop.

    windows: those of one context, with the scores of their tokens. A stretch is judged in the window in which the
    nearer end of what is read is farthest from it (the ends of the context are no ends in this sense), of several
    in the first. -inf where no window holds it whole.
    """
    pieces = len(windows[0][0].context)
    max_answer_length = min(max_answer_length, pieces)
    scores = np.full((pieces, max_answer_length), -np.inf)
    seen = np.full(scores.shape, -1)
    for row, said in windows:
        begin, end = row.window.start, row.window.end
        count = end - begin
        width = min(max_answer_length, count)
        inner = said[row.context_start : row.context_start + count].astype(np.float64)
        first = np.arange(count)[:, None]
        last = first + np.arange(width)
        inside = last < count
        last = np.minimum(last, count - 1)
        before = first if begin else np.full_like(first, pieces)
        after = count - 1 - last if end < pieces else np.full_like(last, pieces)
        around = np.where(inside, np.minimum(before, after), -1)
        block = (slice(begin, end), slice(width))
        better = around > seen[block]
        scores[block][better] = (inner[first, 0] + inner[last, 1])[better]
        seen[block][better] = around[better]
    return scores


def best_threshold(margins: Floats, answered: Floats, none: Floats) -> float:
    """The threshold with the highest mean score, where no answer is given for doubts above it.

    doubts (questions,): how much better no answer is than the best one; answered, none (questions,): what each
    question scores with its answer, and with none. Half-way between two doubts, beyond the first or the last one
    by 1; of thresholds that are equally good the one nearest to 0.
    """
    order = np.argsort(margins, kind="stable")
    ordered = margins[order]
    values = none.sum() + np.concatenate([[0.0], np.cumsum((answered - none)[order])])
    between = (ordered[:-1] + ordered[1:]) / 2
    thresholds = np.concatenate([ordered[:1] - 1, between, ordered[-1:] + 1])
    # of equal doubts all or none are answered
    apart = np.concatenate([[True], ordered[:-1] < ordered[1:], [True]])
    values, thresholds = values[apart], thresholds[apart]
    good = np.flatnonzero(values >= values.max() - 1e-9)
    return float(min(thresholds[good], key=abs))
