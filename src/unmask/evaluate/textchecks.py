"""What is suspicious about the texts of rows: another column, cut ones, markup, wrong encodings, lost sentence ends."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from unmask.data.rows.example import Example
from unmask.data.rows.leaks import normalize_text
from unmask.evaluate.labelchecks import FEW_ROWS, NEARLY_ALL, Found, finding
from unmask.messages import message

# the longest texts are cut where so many have one length, and where lengths just below are so much rarer
CUT_ROWS, CUT_SHARE, CUT_RATIO, CUT_NEAR, CUT_LEAST = 5, 0.01, 5, 10, 50
LONE_SENTENCE = 100  # tokens in a file that is one sentence
REMARKABLE = 0.01  # of the rows: markup or damaged characters
_NAMES = "p|br|div|span|a|b|i|u|li|ul|ol|td|tr|th|table|font|img|h[1-6]|strong|em|script|style"
_TAG = rf"</?(?:{_NAMES})(?:\s[^<>]*=[^<>]*)?\s?/?>"
MARKUP = re.compile(rf"{_TAG}|&(?:amp|lt|gt|quot|nbsp|apos|#\d{{2,5}}|#x[0-9a-f]{{2,4}});", re.IGNORECASE)
# UTF-8 read as Latin-1 or Windows-1252, GBK read as UTF-8, and what stands for characters that could not be read
DAMAGED = re.compile(
    "[\u00c2\u00c3][\u0080-\u00bf\u2018-\u201d\u20ac\u2122]|\u00e2\u20ac|\u00ef\u00bb\u00bf|锟斤拷|\ufffd"
)


def text_findings(examples: Sequence[Example]) -> Found:
    """What is suspicious about the texts of one file."""
    source = examples[0].source
    second = [one.pair for one in examples if one.pair is not None]
    yield from _of_column(examples, "text", [one.text for one in examples], alone=not second)
    if len(second) == len(examples):
        yield from _of_column(examples, "second text", second, alone=False)
    for kind, pattern in (("markup", MARKUP), ("damaged", DAMAGED)):
        numbers = [n for n, one in enumerate(examples) if pattern.search(one.text) or pattern.search(one.pair or "")]
        if len(numbers) >= max(2, REMARKABLE * len(examples)):
            example = _shown(examples[numbers[0]], pattern)
            text = "{file}: {count:,} texts ({share:.1%}) contain {what}, such as {example!r}"
            what = message("HTML" if kind == "markup" else "damaged characters")
            sentence = message(text, source, len(numbers), len(numbers) / len(examples), what, example)
            yield kind, False, finding(sentence, examples, numbers)
    yield from _equal_sides(examples)
    yield from _of_tokens(examples)


def _shown(example: Example, pattern: re.Pattern[str]) -> str:
    text = example.text if pattern.search(example.text) else example.pair or ""
    match = pattern.search(text)
    return text[max(0, match.start() - 10) : min(match.end(), match.start() + 30) + 10] if match else ""


def _of_column(examples: Sequence[Example], side: str, texts: Sequence[str], alone: bool) -> Found:
    """A column that holds no texts: it counts, it is always the same, it holds numbers; or texts that are cut."""
    source, everything, column = examples[0].source, range(len(examples)), message(side)
    contexts = side == "second text" and examples[0].answers is not None
    different = set(texts)
    if len(texts) > 2 and counts_up(texts):
        text = "{file}: the column of the {side} counts ({first}, {second}, {third}, ...): is it the right one?"
        yield "counting", True, finding(message(text, source, column, *texts[:3]), examples, everything)
    elif (
        len(texts) > 2
        and (numbers := [n for n, text in enumerate(texts) if _is_number(text)])
        and (len(numbers) >= NEARLY_ALL * len(texts))
    ):
        text = "{file}: {count:,} of {rows:,} values in the column of the {side} are numbers: is it the right one?"
        yield "numbers", True, finding(message(text, source, len(numbers), len(texts), column), examples, numbers)
    elif len(texts) > 4 and len(different) == 1 and not contexts:
        text = "{file}: the {side} is the same in all rows: is it the right column?"
        yield "same_text", alone, finding(message(text, source, column), examples, everything)
    else:
        yield from _cut(examples, column, list(different), contexts, texts)


def counts_up(texts: Sequence[str]) -> bool:
    """Whether each text is the whole number after the one before."""
    first = texts[0].strip()
    if not (first.isascii() and first.isdecimal()):
        return False
    return all(text.strip() == str(int(first) + number) for number, text in enumerate(texts))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


def _cut(
    examples: Sequence[Example], column: str, different: Sequence[str], contexts: bool, texts: Sequence[str]
) -> Found:
    """Texts of exactly the greatest length, which many have, while few are a little shorter; each text counts once."""
    lengths = Counter(map(len, different))
    longest = max(lengths)
    near = sum(lengths[longest - less] for less in range(1, CUT_NEAR + 1)) / CUT_NEAR
    enough = max(CUT_ROWS, CUT_SHARE * len(different), CUT_RATIO * near)
    if longest >= CUT_LEAST and lengths[longest] >= enough:
        numbers = [number for number, text in enumerate(texts) if len(text) == longest]
        text = "{file}: {count:,} of the {side}s have exactly {length:,} characters, and none has more: are they cut?"
        yield "cut", False, finding(message(text, examples[0].source, len(numbers), column, longest), examples, numbers)


def _equal_sides(examples: Sequence[Example]) -> Found:
    """Pairs of a text with itself."""
    pairs = [(n, one.text, one.pair) for n, one in enumerate(examples) if one.pair is not None]
    equal = [number for number, text, pair in pairs if normalize_text(text) == normalize_text(pair)]
    if equal:
        text = "{file}: {count:,} of {rows:,} pairs have the same text on both sides"
        most = len(equal) >= NEARLY_ALL * len(pairs) and len(pairs) > 1
        yield "equal_texts", most, finding(message(text, examples[0].source, len(equal), len(pairs)), examples, equal)


def _of_tokens(examples: Sequence[Example]) -> Found:
    """Sentences whose ends are lost: one token each, or one sentence for all; no tag but O."""
    source, everything = examples[0].source, range(len(examples))
    spans = [one.spans for one in examples]
    if all(one is not None and not one for one in spans):
        yield (
            "no_spans",
            True,
            finding(message("{file}: no row has a span: all tags are O", source), examples, everything),
        )
    tokens = [len(one.tokens) for one in examples if one.tokens is not None]
    if len(tokens) != len(examples):
        return
    if len(tokens) > FEW_ROWS and tokens.count(1) >= NEARLY_ALL * len(tokens):
        text = "{file}: {count:,} of {rows:,} sentences are one token: a blank line ends a sentence"
        lone = [number for number, count in enumerate(tokens) if count == 1]
        yield "lone_tokens", True, finding(message(text, source, len(lone), len(tokens)), examples, lone)
    if len(tokens) == 1 and tokens[0] >= LONE_SENTENCE:
        text = "{file}: all {tokens:,} tokens are one sentence: a blank line ends a sentence"
        yield "one_sentence", True, finding(message(text, source, tokens[0]), examples, everything)


def number_findings(examples: Sequence[Example]) -> Found:
    """What is suspicious about numbers to predict: all the same, or counting."""
    numbers = [one.number for one in examples]
    present = [number for number in numbers if number is not None]
    if len(present) != len(examples) or len(present) < 3:
        return
    source, everything = examples[0].source, range(len(examples))
    if len(set(present)) == 1:
        text = "{file}: all {count:,} rows have the number {number:g}: nothing to learn"
        yield "one_number", True, finding(message(text, source, len(present), present[0]), examples, everything)
    elif all(after - before == 1 for before, after in pairwise(present)):
        text = "{file}: the numbers to predict count ({first:g}, {second:g}, {third:g}, ...): is it the right column?"
        yield "counting_numbers", True, finding(message(text, source, *present[:3]), examples, everything)
