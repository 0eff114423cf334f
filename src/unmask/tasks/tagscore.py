"""How sequence labelling is scored: token by token for plain tags, span by span, as conlleval, for chunks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from unmask import metrics
from unmask.data.rows import schemes
from unmask.data.rows.tables import Example, Span
from unmask.metrics import Interval, SentenceCounts
from unmask.tasks.task import ScoreTable

Measure = Literal["accuracy", "entity_f1"]


@dataclass(frozen=True)
class TagEvaluation:
    """Sentences, what was counted in them (tokens or spans), and figures with 95 % bootstrap intervals over
    sentences: accuracy of tokens; or precision, recall and F1 of spans that are right in bounds and label.
    """

    rows: int
    counted: int
    measure: Measure
    figures: Mapping[str, Interval]
    per_label: list[dict[str, Any]]

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {interval}" for name, interval in self.figures.items())
        what = "tokens" if self.measure == "accuracy" else "spans"
        return f"TagEvaluation({self.rows:,} sentences, {self.counted:,} {what}, {figures})"

    @property
    def accuracy(self) -> Interval:
        """Of tokens; KeyError where spans were scored."""
        return self.figures["accuracy"]

    @property
    def f1(self) -> Interval:
        """Of spans, micro-averaged; KeyError where tokens were scored."""
        return self.figures["entity_f1"]

    def tables(self) -> list[ScoreTable]:
        n = "tokens" if self.measure == "accuracy" else "spans"
        rows: list[tuple[object, ...]] = [
            (
                row["label"],
                *(f"{100 * row[key]:.1f}" for key in ("precision", "recall")),
                f"{100 * row['f1']:.1f} [{100 * row['f1_low']:.1f}, {100 * row['f1_high']:.1f}]",
                row["n"],
            )
            for row in self.per_label
        ]
        return [ScoreTable(("label", "precision", "recall", "F1 [95 %]", n), rows)]

    def to_dict(self) -> dict[str, Any]:
        n = "tokens" if self.measure == "accuracy" else "spans"
        figures = {name: asdict(interval) for name, interval in self.figures.items()}
        return {
            "rows": self.rows,
            n: self.counted,
            "metric": self.measure,
            **figures,
            "per_label": self.per_label,
        }


def evaluation(counts: SentenceCounts, measure: Measure, seed: int) -> TagEvaluation:
    """The figures of counts of tags or of spans."""
    chosen = {"accuracy": metrics.accuracy}
    if measure == "entity_f1":
        chosen = {
            "entity_f1": metrics.micro_f1,
            "precision": metrics.precision,
            "recall": metrics.recall,
            "macro_f1": metrics.macro_f1,
        }
    figures = {name: metrics.bootstrap_sentences(metric, counts, seed=seed) for name, metric in chosen.items()}
    per_label = []
    for number, (label, score) in enumerate(counts.per_label().items()):
        alone = slice(number, number + 1)
        of_label = SentenceCounts((label,), counts.hits[:, alone], counts.actual[:, alone], counts.given[:, alone])
        f1 = metrics.bootstrap_sentences(metrics.micro_f1, of_label, seed=seed)
        per_label.append({"label": label, **asdict(score), "f1_low": f1.low, "f1_high": f1.high})
    return TagEvaluation(len(counts), int(counts.actual.sum()), measure, figures, per_label)


def value(counts: SentenceCounts, measure: Measure) -> float:
    """The measure alone, without an interval."""
    return counts.score(metrics.accuracy if measure == "accuracy" else metrics.micro_f1)


def counts_of(
    examples: Sequence[Example], predicted: Sequence[Sequence[metrics.Entity]], measure: Measure
) -> SentenceCounts:
    """What is counted of predictions, given as spans of characters, against the spans of the examples."""
    if measure == "accuracy":
        return metrics.tag_counts(
            comparable(examples, [example.spans or () for example in examples], measure),
            comparable(examples, predicted, measure),
        )
    return metrics.entity_counts([example.spans or () for example in examples], predicted)


def is_plain(examples: Sequence[Example]) -> bool:
    """Whether every token has a tag of its own: the spans are the tokens."""
    return all(
        example.tokens is not None
        and example.spans is not None
        and [(span.start, span.end) for span in example.spans] == list(example.tokens)
        for example in examples
    )


def comparable(examples: Sequence[Example], spans: Sequence[Sequence[metrics.Entity]], measure: Measure) -> list[Any]:
    """The tags of the tokens of each example, or its spans as [start, stop, label], as models are compared."""
    if measure == "accuracy":
        return [token_tags(example.tokens or (), one) for example, one in zip(examples, spans, strict=True)]
    return [[[span.start, span.end, span.label] for span in one] for one in spans]


def token_tags(tokens: Sequence[tuple[int, int]], spans: Sequence[metrics.Entity]) -> list[str]:
    """The tag of each token: the label of the span that begins with it; O where there is none."""
    at = {span.start: span.label for span in spans}
    return [at.get(start, schemes.OUTSIDE) for start, _ in tokens]


def token_spans(tokens: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[Span, ...]:
    """Each token with its tag as a span."""
    return tuple(Span(*bounds, tag) for bounds, tag in zip(tokens, tags, strict=True))


def chunk_tags(tokens: Sequence[tuple[int, int]], spans: Sequence[metrics.Entity]) -> list[str]:
    """BIO tags of tokens; a span that does not begin and end with tokens is left out."""
    starts = {start: number for number, (start, _) in enumerate(tokens)}
    stops = {stop: number + 1 for number, (_, stop) in enumerate(tokens)}
    chunks = [
        (starts[span.start], stops[span.end], span.label)
        for span in spans
        if span.start in starts and span.end in stops
    ]
    return schemes.write_tags(len(tokens), chunks, "BIO")


def chunk_spans(tokens: Sequence[tuple[int, int]], tags: Sequence[str]) -> tuple[Span, ...]:
    """The spans of BIO tags of tokens, as conlleval reads them."""
    read = schemes.scheme_tags(tags, "BIO")
    pairs = [read[tag] or (schemes.OUTSIDE, "") for tag in tags]
    return tuple(Span(tokens[start][0], tokens[stop - 1][1], label) for start, stop, label in schemes.chunks(pairs))
