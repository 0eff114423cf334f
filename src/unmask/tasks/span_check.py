"""Whether labelled spans begin and end with words: of training rows before a run, of files without any model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from unmask.advice import option
from unmask.data.rows.example import Example, Span
from unmask.data.rows.offsets import CHARACTERS, UNITS, Unit, boundaries, to_characters
from unmask.errors import UserError
from unmask.messages import Message, message
from unmask.tasks.alignment import EXCERPT, Words, align_spans, align_words
from unmask.text.public import layout
from unmask.text.tokenizer import Tokenizer, TokenizerConfig

MOST = 4  # characters of white space at an end of a span that reading may have taken off


@dataclass(frozen=True)
class AlignmentProblems:
    """The spans that do not begin and end with words, of rows without given tokens.

    spans: how many there are in all; count: how many of them do not; numbers: the rows that these are in, by their
    places among the examples; first: the place of the first, with its text and label; unit: in which all spans would
    align, were their offsets counted in it.
    """

    spans: int
    count: int = 0
    numbers: tuple[int, ...] = ()
    first: str = ""
    unit: Unit | None = None

    @property
    def are_most(self) -> bool:
        """Whether more than half of the spans do not align."""
        return 2 * self.count > self.spans

    @property
    def hint(self) -> Message:
        """What to do."""
        if self.unit is None:
            return message("check the offsets: characters (Unicode code points) from 0, the end exclusive")
        read = message("all {spans:,} spans align if offsets are {unit}", self.spans, self.unit.title)
        way = option("span_offsets", self.unit.name) if self.unit == Unit(self.unit.name) else None
        return message("{why}: convert the file", read) if way is None else message("{way}: {why}", way, read)

    def text(self, file: str) -> Message:
        """Say of a file how many spans do not align."""
        text = "{file}: {count:,} of {spans:,} spans do not begin and end with words; {hint}"
        return message(text, file, self.count, self.spans, self.hint)


def alignment_problems(examples: Sequence[Example], tokenizer: Tokenizer | None = None) -> AlignmentProblems:
    """Align the spans of examples with the words of a tokenizer, without one with those of BERT's pre-tokenization.

    Rows with given tokens, whose spans are made of these, are left out.
    """
    some = {number: one for number, one in enumerate(examples) if one.spans and one.tokens is None}
    if not some:
        return AlignmentProblems(0)
    every = (tokenizer or _bert_words()).encode_batch([example.text for example in some.values()])
    words = {n: align_words(some[n].text, encoded) for n, encoded in zip(some, every, strict=True)}
    misfits = {n: wrong for n, one in some.items() if (wrong := align_spans(words[n], one.spans or ())[1])}
    spans = sum(len(example.spans or ()) for example in some.values())
    if not misfits:
        return AlignmentProblems(spans)
    number, (span, _) = next((number, wrong[0]) for number, wrong in misfits.items())
    text = examples[number].text[span.start : span.end][:EXCERPT]
    count = sum(map(len, misfits.values()))
    pairs = [(example, words[n]) for n, example in some.items()]
    # all of a text without blanks, such as Chinese, aligns with any end
    others = (unit for unit in UNITS if unit != CHARACTERS and (not unit.inclusive or 2 * count > spans))
    unit = next((unit for unit in others if all(_aligns(*pair, unit) for pair in pairs)), None)
    return AlignmentProblems(
        spans, count, tuple(misfits), f"{examples[number].location}: {text!r} ({span.label})", unit
    )


def check_alignment(examples: Sequence[Example], tokenizer: Tokenizer) -> Message | None:
    """Return a note where another unit of offsets fits better. Raises UserError where most spans do not align."""
    problems = alignment_problems(examples, tokenizer)
    if problems.are_most:
        text = "{file}: {count:,} of {spans:,} spans do not begin and end with words"
        values = examples[0].source, problems.count, problems.spans
        raise UserError(text, *values, given=problems.first, hint=problems.hint)
    return problems.hint if problems.count and problems.unit is not None else None


@cache
def _bert_words() -> Tokenizer:
    """A tokenizer whose tokens are the words of BERT, all of them unknown."""
    return Tokenizer(layout.tokenizer_json(layout.SPECIALS, TokenizerConfig()))


def _aligns(example: Example, words: Words, unit: Unit) -> bool:
    """Return whether all spans of an example align if the numbers that are their bounds count another unit."""
    bounds = boundaries(example.text, unit)
    return all(
        any(not align_spans(words, [other])[1] for other in _read_as(span, example.text, bounds, unit))
        for span in example.spans or ()
    )


def _read_as(span: Span, text: str, bounds: Sequence[int], unit: Unit) -> Iterator[Span]:
    """Yield the spans that the file may hold in another unit, as white space was taken off at the ends of this one."""
    before = range(len(text[: span.start]) - len(text[: span.start].rstrip()) + 1)
    after = range(len(text[span.end :]) - len(text[span.end :].lstrip()) + 1)
    for left, right in product(before[:MOST], after[:MOST]):
        place = to_characters(span.start - left, span.end + right, bounds, unit)
        if place is not None and (inner := text[slice(*place)].strip()):
            start = text.index(inner, place[0])
            yield Span(start, start + len(inner), span.label)
