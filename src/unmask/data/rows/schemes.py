"""Tag schemes of sequence labelling: tags of tokens to chunks and back, and finding out which scheme a file has.

A chunk is (first token, one past the last token, label). Which tokens form a chunk is decided as conlleval
does (the scorer of the CoNLL-2000 shared task, Tjong Kim Sang and Buchholz 2000): where a tag breaks the
rules of its scheme, such as I-x after O, a chunk begins there. The letters of BMES and BILOU stand for those
of BIOES.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

SchemeName = Literal["BIO", "IOB1", "BIOES", "plain"]

OUTSIDE = "O"
BARE = "chunk"  # the label of tags that are letters only, such as B M E S of Chinese segmentation

Tag = tuple[str, str]  # (B, I, E, S or O; label)
Chunk = tuple[int, int, str]

_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_ALLOWED: dict[SchemeName, str] = {"BIO": "BI", "IOB1": "BI", "BIOES": "BIES"}
_OUT: Tag = (OUTSIDE, "")


def _read(tag: str, bare: bool) -> Tag | None:
    """A tag as letter and label; None where it is not of that form. `bare`: letters stand alone."""
    if tag == OUTSIDE:
        return _OUT
    letter = _LETTERS.get(tag[:1])
    if letter is None:
        return None
    if bare:
        return (letter, BARE) if len(tag) == 1 else None
    return (letter, tag[2:]) if len(tag) > 2 and tag[1] in "-_" else None


def scheme_tags(tags: Iterable[str], scheme: SchemeName) -> dict[str, Tag | None]:
    """Each tag as letter and label, None for those outside the scheme. In `plain` every tag is (S, tag)."""
    distinct = sorted(set(tags))
    if scheme == "plain":
        return {tag: ("S", tag) for tag in distinct}
    bare = all(len(tag) == 1 for tag in distinct)
    read = {tag: _read(tag, bare) for tag in distinct}
    allowed = _ALLOWED[scheme] + OUTSIDE
    # Letters that stand for others belong to BIOES alone: M-x in BIO is outside
    return {
        tag: one if one is not None and one[0] in allowed and (scheme == "BIOES" or tag[0] in allowed) else None
        for tag, one in read.items()
    }


def detect_scheme(sentences: Sequence[Sequence[str]]) -> SchemeName:
    """The scheme in which nearly all tags of the sentences make sense.

    `plain` where most tags have no letter and label (or, being letters only, any has not). Else BIOES where
    a letter for an end or a single token occurs; IOB1 where more chunks begin with I than with a B that does
    not part two chunks; else BIO.
    """
    counts = Counter(tag for sentence in sentences for tag in sentence)
    bare = all(len(tag) == 1 for tag in counts)
    read = {tag: _read(tag, bare) for tag in counts}
    inside = sum(counts[tag] for tag, one in read.items() if one is not None and one is not _OUT)
    strange = sum(counts[tag] for tag, one in read.items() if one is None)
    if strange and (bare or inside <= strange):
        return "plain"
    if any(one is not None and tag[0] not in "BIO" for tag, one in read.items()):
        return "BIOES"
    fresh: Counter[str] = Counter()
    for sentence in sentences:
        last = _OUT
        for tag in sentence:
            one = read[tag] or _OUT
            if one is not _OUT and one[1] != last[1]:
                fresh[one[0]] += 1
            last = one
    return "IOB1" if fresh["I"] > fresh["B"] else "BIO"


def chunks(tags: Iterable[Tag]) -> list[Chunk]:
    """The chunks as conlleval counts them: a token begins one after O, after an end, at B or S, or where the
    label changes; otherwise it goes on with the chunk before it."""
    found: list[Chunk] = []
    begun, place = -1, 0
    letter_before, label_before = _OUT
    for place, (letter, label) in enumerate(tags):
        fresh = letter in "BS" or letter_before in "OES" or label != label_before
        if begun >= 0 and (letter == OUTSIDE or fresh):
            found.append((begun, place, label_before))
            begun = -1
        if letter != OUTSIDE and fresh:
            begun = place
        letter_before, label_before = letter, label
    if begun >= 0:
        found.append((begun, place + 1, label_before))
    return found


def out_of_order(tags: Sequence[Tag], scheme: SchemeName) -> Iterator[int]:
    """The places of tags that the scheme does not allow after the tag before them.

    BIO: I-x where no chunk of x goes on. IOB1: B-x where no chunk of x goes before. BIOES: a chunk that does
    not begin with B or S, or one that is left without E (then the place after it, which may be the end).
    """
    if scheme == "plain":
        return
    before = _OUT
    for place, one in enumerate(tags):
        letter, label = one
        if scheme == "BIOES":
            open_before = before[0] in "BI"
            wrong = not (letter in "IE" and label == before[1]) if open_before else letter in "IE"
        else:
            wrong = letter == ("I" if scheme == "BIO" else "B") and label != before[1]
        if wrong:
            yield place
        before = one
    if scheme == "BIOES" and before[0] in "BI":
        yield len(tags)


def write_tags(tokens: int, found: Iterable[Chunk], scheme: SchemeName) -> list[str]:
    """The tags of so many tokens from their chunks, which are sorted and do not overlap."""
    tags = [OUTSIDE] * tokens
    before: Chunk = (0, 0, "")
    for start, stop, label in found:
        if scheme == "plain":
            tags[start:stop] = [label] * (stop - start)
            continue
        tags[start:stop] = [f"I-{label}"] * (stop - start)
        if scheme != "IOB1" or (before[1] == start and before[2] == label):
            tags[start] = f"B-{label}"
        if scheme == "BIOES":
            tags[stop - 1] = f"{'S' if stop == start + 1 else 'E'}-{label}"
        before = (start, stop, label)
    return tags


def labels_in(read: Mapping[str, Tag | None]) -> list[str]:
    """The labels of a `vocabulary`, sorted."""
    return sorted({one[1] for one in read.values() if one is not None and one[0] != OUTSIDE})
