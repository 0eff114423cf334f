"""Tag schemes of sequence labelling: tags of tokens to chunks and back, and finding out which scheme a file has.

A chunk is (first token, one past the last token, label). Which tokens form a chunk is decided as conlleval
does (the scorer of the CoNLL-2000 shared task, Tjong Kim Sang and Buchholz 2000): where a tag breaks the
rules of its scheme, such as I-x after O, a chunk begins there. The letters of BMES and BILOU stand for those
of BIOES.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

SchemeName = Literal["BIO", "IOB1", "BIOES", "plain"]

OUTSIDE = "O"
BARE = "chunk"  # the label of tags that are letters only, such as B M E S of Chinese segmentation

Tag = tuple[str, str]  # (B, I, E, S or O; label)
Chunk = tuple[int, int, str]

_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_ALLOWED: dict[SchemeName, str] = {"BIO": "BIO", "IOB1": "BIO", "BIOES": "BIESO"}
_OUT: Tag = (OUTSIDE, "")


def _read(tags: Iterable[str]) -> dict[str, Tag | None]:
    """Each tag as letter and label; None where it is not of that form. Letters may stand alone if all do."""
    distinct = sorted(set(tags))
    bare = all(len(tag) == 1 for tag in distinct)

    def read(tag: str) -> Tag | None:
        letter = _LETTERS.get(tag[:1])
        if tag == OUTSIDE or letter is None:
            return _OUT if tag == OUTSIDE else None
        if bare:
            return letter, BARE
        return (letter, tag[2:]) if len(tag) > 2 and tag[1] in "-_" else None

    return {tag: read(tag) for tag in distinct}


def scheme_tags(tags: Iterable[str], scheme: SchemeName) -> dict[str, Tag | None]:
    """Each tag as letter and label, None for those outside the scheme. In `plain` every tag is (S, tag)."""
    if scheme == "plain":
        return {tag: ("S", tag) for tag in sorted(set(tags))}
    allowed = _ALLOWED[scheme]
    # Letters that stand for others belong to BIOES alone: M-x in BIO is outside
    return {
        tag: one if one is not None and one[0] in allowed and (scheme == "BIOES" or tag[0] in allowed) else None
        for tag, one in _read(tags).items()
    }


def read_outputs(names: Sequence[str]) -> tuple[str, dict[str, Tag]]:
    """The scheme of the outputs of a tagger, from their names alone, and each as letter and label.

    BIOES where a letter for an end or a single token occurs, IO where there is none but I, else IOB1, which conlleval
    reads as it does BIO; a name without a letter, such as [CLS], is then outside. Where none has a letter, or all are
    single letters and some not of a scheme, they are labels: of entities beside O (IO), of each token without (plain).
    """
    read = scheme_tags(names, "BIOES")
    letters = {tag[0] for tag in read.values() if tag not in (None, _OUT)}
    if not letters or (None in read.values() and all(len(name) == 1 for name in names)):
        scheme, letter = ("IO", "I") if OUTSIDE in read else ("plain", "S")
        return scheme, {name: _OUT if name == OUTSIDE else (letter, name) for name in names}
    scheme = "BIOES" if letters & set("ES") else "IO" if letters == {"I"} else "IOB1"
    return scheme, {name: tag or _OUT for name, tag in read.items()}


def detect_scheme(sentences: Sequence[Sequence[str]]) -> SchemeName:
    """The scheme in which nearly all tags of the sentences make sense.

    `plain` where most tags have no letter and label (or, being letters only, any has not). Else BIOES where
    a letter for an end or a single token occurs; IOB1 where more chunks begin with I than with a B that does
    not part two chunks; else BIO.
    """
    counts = Counter(tag for sentence in sentences for tag in sentence)
    read = _read(counts)
    inside = sum(counts[tag] for tag, one in read.items() if one not in (None, _OUT))
    strange = sum(counts[tag] for tag, one in read.items() if one is None)
    if strange and (inside <= strange or all(len(tag) == 1 for tag in counts)):
        return "plain"
    if any(one is not None and tag[0] not in "BIO" for tag, one in read.items()):
        return "BIOES"
    fresh = Counter(
        tag[0]
        for sentence in sentences
        for before, tag in pairwise([_OUT, *(read[tag] or _OUT for tag in sentence)])
        if tag[1] != before[1]
    )
    return "IOB1" if fresh["I"] > fresh["B"] else "BIO"


def chunks(tags: Iterable[Tag]) -> list[Chunk]:
    """The chunks as conlleval counts them: a token begins one after O, after an end, at B or S, or where the
    label changes; otherwise it goes on with the chunk before it."""
    found: list[Chunk] = []
    begun: int | None = None
    before = _OUT
    for place, tag in enumerate([*tags, _OUT]):
        fresh = tag[0] in "BSO" or before[0] in "OES" or tag[1] != before[1]
        if fresh and begun is not None:
            found.append((begun, place, before[1]))
        if fresh:
            begun = place if tag[0] != OUTSIDE else None
        before = tag
    return found


def write_tags(tokens: int, found: Iterable[Chunk], scheme: SchemeName) -> list[str]:
    """The tags of so many tokens from their chunks, which are sorted and do not overlap."""
    tags = [OUTSIDE] * tokens
    before: Chunk = (0, 0, "")
    for start, stop, label in found:
        tags[start:stop] = [label if scheme == "plain" else f"I-{label}"] * (stop - start)
        if scheme in ("BIO", "BIOES") or (scheme == "IOB1" and before[1:] == (start, label)):
            tags[start] = f"B-{label}"
        if scheme == "BIOES":
            tags[stop - 1] = f"{'S' if stop == start + 1 else 'E'}-{label}"
        before = (start, stop, label)
    return tags
