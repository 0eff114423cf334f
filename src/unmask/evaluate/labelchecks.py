"""What is suspicious about the labels of rows: one in nearly all, several spellings, a header, another column."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from unmask.data.rows.columns import LABELS, PAIRS, TEXTS
from unmask.data.rows.example import Example
from unmask.data.rows.leaks import SHOWN, Finding, normalize_text
from unmask.messages import Message, message

NEARLY_ALL = 0.95  # of the rows
FEW_ROWS = 20  # in so few, every label may well stand once
OWN_LABELS = 0.9  # different labels for each row, from which on they are ids or texts
LONG_LABEL = 30  # characters (median) of labels that may be texts
SEPARATORS = re.compile(r"[|;,/+、，；]")
PLACEHOLDERS = frozenset("nan null n/a #n/a <na> <unk> ? - -- todo tbd xxx 待标注 未标注 待定".split())
HEADERS = frozenset(LABELS)
TEXT_HEADERS = frozenset({*TEXTS, *(name for both in PAIRS for name in both)})

Found = Iterator[tuple[str, bool, Finding]]  # kind, whether it biases a result, what


def finding(text: Message, examples: Sequence[Example], numbers: Sequence[int], say: Sequence[str] = ()) -> Finding:
    """A finding on rows, by their numbers; say: what to call each of the first ones, if not by its place."""
    first = say or [examples[number].location for number in numbers[:SHOWN]]
    return Finding(text, tuple(numbers), tuple((one,) for one in first))


def label_findings(examples: Sequence[Example], names: Collection[str] = ()) -> Found:
    """What is suspicious about the labels of one file.

    names: of the columns of text and label, where options name them.
    """
    counts = Counter(label for one in examples for label in one.labels)
    whole = [one.label for one in examples]
    yield from _spellings(examples, counts)
    if not counts:
        return
    yield from _rare(examples, counts)
    if all(label is not None for label in whole) and len(counts) > 1:
        yield from _header(examples, counts, {name.lower() for name in names})
        yield from _wrong_column(examples, counts)
        yield from _joined(examples, counts)
        yield from _one_for_nearly_all(examples, counts)
    places = [number for number, one in enumerate(examples) if any(x.lower() in PLACEHOLDERS for x in one.labels)]
    if places:
        text = "{file}: {count:,} rows have a label that looks like a placeholder: {labels}"
        shown = _listed(label for label in counts if label.lower() in PLACEHOLDERS)
        yield "placeholders", False, finding(message(text, examples[0].source, len(places), shown), examples, places)


def unlike_spellings(train: Sequence[Example], examples: Sequence[Example]) -> Finding:
    """The rows with a label that training rows spell in another way: other case, white space or width."""
    known = {label for one in train for label in one.labels}
    spellings = {_plain(label): label for label in sorted(known)}
    pairs = [
        (number, f"{label} / {spellings[_plain(label)]}")
        for number, one in enumerate(examples)
        for label in sorted(one.labels - known)
        if _plain(label) in spellings
    ]
    numbers = list(dict.fromkeys(number for number, _ in pairs))
    text = "{file}: {count:,} rows have a label that {train} spells in another way (case, white space or width)"
    source = train[0].source
    return finding(
        message(text, examples[0].source, len(numbers), source),
        examples,
        numbers,
        list(dict.fromkeys(said for _, said in pairs))[:SHOWN],
    )


def _plain(label: str) -> str:
    """A label without what spellings differ in."""
    return normalize_text(label).replace(" ", "")


def _listed(labels: Iterator[str] | Sequence[str]) -> str:
    chosen = sorted(labels)
    return ", ".join(chosen[:5]) + (", ..." if len(chosen) > 5 else "")


def _spellings(examples: Sequence[Example], counts: Mapping[str, int]) -> Found:
    """Labels that differ in case, white space or width alone: one class counts as several."""
    alike = defaultdict(list)
    for label in counts:
        alike[_plain(label)].append(label)
    several = [
        sorted(labels, key=lambda label: (-counts[label], label)) for labels in alike.values() if len(labels) > 1
    ]
    if several:
        rarer = {label for labels in several for label in labels[1:]}
        numbers = [number for number, one in enumerate(examples) if one.labels & rarer]
        text = "{file}: labels that are written in several ways (case, white space or width): {count:,}"
        said = [" / ".join(f"{label} ({counts[label]:,})" for label in labels) for labels in several[:SHOWN]]
        yield (
            "spellings",
            examples[0].spans is None,
            finding(message(text, examples[0].source, len(several)), examples, numbers, said),
        )


def _rare(examples: Sequence[Example], counts: Mapping[str, int]) -> Found:
    """Labels of a single row, which cannot be both learnt and tested; where most are, they are no labels at all."""
    rows = Counter(label for one in examples for label in one.labels)
    single = sorted(label for label, count in rows.items() if count == 1)
    if single and len(examples) > FEW_ROWS and len(single) <= len(counts) / 2:
        numbers = [number for number, one in enumerate(examples) if not one.labels.isdisjoint(single)]
        text = "{file}: labels in a single row, which cannot be both learnt and tested: {count:,} ({labels})"
        yield (
            "single_rows",
            False,
            finding(message(text, examples[0].source, len(single), _listed(single)), examples, numbers),
        )


def _header(examples: Sequence[Example], counts: Mapping[str, int], names: Collection[str]) -> Found:
    """Rows that are a header: their label is what a column of labels is called, their text what one of texts is."""

    def is_header(one: Example) -> bool:
        label = (one.label or "").lower()
        if label not in HEADERS and label not in names:
            return False
        return one.text.strip().lower() in TEXT_HEADERS | set(names)

    numbers = [number for number, one in enumerate(examples) if is_header(one)]
    if numbers:
        text = "{file}: {count:,} rows are a header: text {text!r}, label {label!r}"
        one = examples[numbers[0]]
        yield "headers", True, finding(message(text, one.source, len(numbers), one.text, one.label), examples, numbers)


def _wrong_column(examples: Sequence[Example], counts: Mapping[str, int]) -> Found:
    """Labels of nearly every row's own: texts, where they are long, else ids or numbers."""
    if len(examples) <= FEW_ROWS or len(counts) < OWN_LABELS * len(examples):
        return
    texts = {one.text for one in examples}
    lengths = sorted(map(len, counts))
    source, everything = examples[0].source, range(len(examples))
    if lengths[len(lengths) // 2] >= LONG_LABEL and len(texts) < len(examples) / 2:
        text = (
            "{file}: the labels look like texts, the texts like labels ({texts:,} different): are the columns swapped?"
        )
        yield "swapped", True, finding(message(text, source, len(texts)), examples, everything)
    else:
        text = "{file}: {labels:,} different labels in {count:,} rows: a column of texts, ids or numbers?"
        yield "own_labels", True, finding(message(text, source, len(counts), len(examples)), examples, everything)


def _joined(examples: Sequence[Example], counts: Mapping[str, int]) -> Found:
    """Labels made of others: `a|b` where `a` and `b` are labels, too."""

    def is_joined(label: str) -> bool:
        parts = [part.strip(" []'\"") for part in SEPARATORS.split(label)]
        return len(parts) > 1 and all(part in counts for part in parts)

    joined = {label for label in counts if is_joined(label)}
    if joined:
        numbers = [number for number, one in enumerate(examples) if one.label in joined]
        text = "{file}: {count:,} rows have several labels in one: {labels}; such rows are for the task multilabel"
        yield (
            "joined_labels",
            False,
            finding(message(text, examples[0].source, len(numbers), _listed(list(joined))), examples, numbers),
        )


def _one_for_nearly_all(examples: Sequence[Example], counts: Counter[str]) -> Found:
    """One label in nearly all rows, so that guessing it is nearly always right."""
    (label, count), *_ = counts.most_common(1)
    if len(examples) > FEW_ROWS and count >= NEARLY_ALL * len(examples):
        text = "{file}: {share:.1%} of the rows have the label {label!r}: compare with that, and by macro-F1"
        numbers = [number for number, one in enumerate(examples) if one.label == label]
        yield (
            "nearly_one_label",
            False,
            finding(message(text, examples[0].source, count / len(examples), label), examples, numbers),
        )
