"""Rows against the labels of a model or of other rows."""

from collections import Counter
from collections.abc import Iterable, Sequence

from unmask.advice import advise, option, setting
from unmask.data.rows.example import Example, RowKind
from unmask.data.rows.options import UnknownLabels
from unmask.data.rows.tagged import listed
from unmask.data.textfiles import ReadLog, shorten
from unmask.errors import UserError, did_you_mean, suggest
from unmask.messages import message


def check_targets(
    examples: Sequence[Example], kind: RowKind, labels: Iterable[str], of: str, unknown: UnknownLabels = "stop"
) -> tuple[list[Example], tuple[str, ...]]:
    """The examples whose labels are among these, the labels of `of` (a file or a model), and notes.

    Numbers and answers have no labels. Raises UserError for pairs that `check_pairs` refuses, for a row without a
    target, and for the first other label; unknown="skip" leaves such rows out, "wrong" keeps those with other labels,
    and both note how many.
    """
    if kind == "pairs":
        check_pairs(examples)
    if kind in ("pairs", "number", "answers"):
        return list(examples), ()
    allowed = set(labels)
    log = ReadLog("skip" if unknown == "skip" else "stop", "unknown_labels")
    strange = Counter(label for example in examples for label in example.labels - allowed)
    if unknown == "wrong" and strange:
        counts = ", ".join(f"{label} ({strange[label]:,})" for label in sorted(strange))
        log.note("counted as wrong, because {of} was not trained with these labels: {counts}", of, counts)
        allowed |= set(strange)

    def checked(_: int, example: Example) -> Example:
        if example.target is None:
            raise UserError("{place} has no label", example.location)
        new = min(example.labels - allowed, default=None)
        if new is not None:
            skip, wrong = option("unknown_labels", "skip"), option("unknown_labels", "wrong")
            hint = advise("{skip} leaves such rows out, {wrong} counts them as wrong", skip, wrong)
            on = next((span for span in example.spans or () if span.label == new), None)
            raise UserError(
                '{place}: label "{label}" is not among the {count:,} labels of {of}',
                example.location,
                new,
                len(allowed),
                of,
                given=on and f"on {shorten(example.text[on.start : on.end])!r}",
                allowed=listed(sorted(allowed)),
                hint=[did_you_mean(suggest(new, allowed)), hint],
            )
        return example

    kept = list(log.usable(enumerate(examples), checked))
    if examples and not kept:
        what = f"{examples[0].source}: no row is left, because {of} knows the labels of none"
        raise UserError(what, allowed=listed(sorted(allowed)))
    return kept, log.notes


def check_pairs(examples: Sequence[Example]) -> None:
    """Raises UserError where rows are not all pairs, their labels are words, or not all of them or none have scores."""
    check_two_texts(examples)
    words = {example.label for example in examples if example.label is not None}
    if words:
        raise UserError(
            "{source}: labels in words do not say how alike two texts are",
            examples[0].source,
            given=listed(sorted(words)),
            allowed="pairs that belong together, or numbers",
            hint=[
                message("keep only the rows whose texts belong together; others may stand in a column negative"),
                advise("{option} of a column of scores", option("label_column", "NAME")),
                "the task classify learns such labels",
            ],
        )
    without = [example for example in examples if example.number is None]
    if 0 < len(without) < len(examples):
        raise UserError(f"{without[0].location} has no score, but other rows have")


def check_two_texts(examples: Sequence[Example]) -> None:
    """Raises UserError for a single text where pairs are needed."""
    for example in examples:
        if example.pair is None:
            raise UserError(
                f"{example.location} has one text, where two are needed",
                allowed="two texts: columns such as text_a,text_b, or (text, pair)",
                hint=[
                    option("pair_column", "NAME"),
                    advise(
                        "for {loss}: {dev} with pairs to choose by",
                        setting("task.loss=unsupervised"),
                        setting("data.dev=FILE"),
                    ),
                ],
            )
