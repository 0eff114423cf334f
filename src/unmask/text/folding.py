"""Folding characters one for one before BERT's own normalisation: width forms, traditional to simplified.

A folding is a table of characters. It is written into tokenizer.json as the `Precompiled` normaliser, which
holds SentencePiece's character map, so that every library that reads tokenizer.json folds alike and none needs
the library that the table came from. Offsets go on to point into the text as given, since a character becomes
one character.

One peculiarity of that normaliser is part of what the file means: a mark of two bytes (U+0300 to U+07FF, such
as an accent) that stands on a folded character is dropped with it.
"""

import struct
import unicodedata
from collections.abc import Mapping
from functools import cache
from itertools import count

from unmask.errors import missing_extra

Table = Mapping[str, str]

# what OpenCC's table is asked about: the Chinese characters, their compatibility forms and extensions
_IDEOGRAPHS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x323B0))
_BLOCK = 256  # units that share all but the last eight bits of their number
_LEAF = 1 << 31


@cache
def width_forms() -> Table:
    """Full- and half-width forms and the ordinary character of each: Ａ to A, ， to a comma, ｶ to カ.

    All characters whose decomposition Unicode marks <wide> or <narrow> (UAX 11, section 2), the ideographic
    space among them, and no other compatibility form.
    """
    forms = {chr(code): unicodedata.decomposition(chr(code)).split() for code in (0x3000, *range(0xFF00, 0xFFF0))}
    return {form: chr(int(parts[1], 16)) for form, parts in forms.items() if parts[:1] in (["<wide>"], ["<narrow>"])}


@cache
def simplified_forms() -> Table:
    """Traditional characters and the simplified one of each, by OpenCC's table (the first where it has several).

    Character by character: what depends on the word (乾 in 乾坤) is not told. Raises UserError without OpenCC.
    """
    try:
        from opencc import OpenCC
    except ImportError:
        raise missing_extra("opencc", "zh", "writing traditional characters as simplified") from None
    characters = [chr(code) for first, end in _IDEOGRAPHS for code in range(first, end)]
    converted = OpenCC("t2s").convert("\n".join(characters)).split("\n")
    pairs = zip(characters, converted, strict=True)
    return {given: found for given, found in pairs if found != given and len(found) == 1}


def table(fold_width: bool, simplify: bool) -> Table:
    """The table of these foldings; empty without any."""
    return {**(width_forms() if fold_width else {}), **(simplified_forms() if simplify else {})}


@cache
def normalizer_map(fold_width: bool, simplify: bool) -> bytes:
    """The character map of these foldings."""
    return character_map(table(fold_width, simplify))


def character_map(table: Table) -> bytes:
    """A table in SentencePiece's form: the size of a trie in bytes (uint32), the trie, the texts it points to.

    The trie is Darts-clone's double array (after Aoe 1989), uint32 units: bits 0 to 7 the byte that leads
    here, bit 8 whether a key ends, bits 10 to 30 the exclusive or of this unit's number with the number that
    its children's bytes are combined with; for the end of a key, bit 31 and the place of its text.
    """
    texts = bytearray()
    places: dict[str, int] = {}
    for text in sorted(set(table.values())):
        places[text] = len(texts)
        texts += text.encode() + b"\0"
    trie = _double_array({key.encode(): places[text] for key, text in table.items()})
    return struct.pack("<I", 4 * len(trie)) + struct.pack(f"<{len(trie)}I", *trie) + bytes(texts)


def _double_array(values: Mapping[bytes, int]) -> list[int]:
    units: list[int] = [0] * _BLOCK
    taken, bases = {0}, set[int]()
    searched: dict[frozenset[int], int] = {}  # no lower base is free for these bytes, now or later
    nodes = [(0, 0, sorted(values))]  # the unit, how many bytes lead to it, the keys that pass through it
    while nodes:
        unit, depth, keys = nodes.pop()
        children: dict[int, list[bytes]] = {}
        for key in keys:
            children.setdefault(key[depth] if depth < len(key) else 0, []).append(key)
        # the least number that no node has yet and whose combinations with the bytes are free
        free = (
            base
            for base in count(searched.get(frozenset(children), 1))
            if base not in bases and all(base ^ byte not in taken for byte in children)
        )
        base = searched[frozenset(children)] = next(free)
        bases.add(base)
        units += [0] * (_BLOCK * (base // _BLOCK + 1) - len(units))
        units[unit] |= (unit ^ base) << 10 | (0 in children) << 8
        for byte, below in children.items():
            taken.add(base ^ byte)
            if byte:
                units[base ^ byte] = byte
                nodes.append((base ^ byte, depth + 1, below))
            else:
                units[base] = _LEAF | values[below[0]]
    return units
