"""What pieces spell, for every kind of tokenizer: ##ing, ▁Paris and ĠParis, æĹ¥ (the bytes of 日)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

BLANK = "▁"  # how a blank is shown where it must be seen: SentencePiece's own marker


@dataclass(frozen=True)
class TokenSpelling:
    """kind: in words; prefix: of pieces that continue a word ("##"); suffix: of those that end one ("</w>");
    marker: what stands for a blank ("▁"); in_bytes: whether each character of a piece stands for a byte."""

    kind: str
    prefix: str = ""
    suffix: str = ""
    marker: str = ""
    in_bytes: bool = False

    def text(self, token: str) -> str:
        """What a piece spells, with the blank before it where it has one; "\\xe6" for bytes of half a character."""
        if self.in_bytes:
            table = _bytes()
            if all(character in table for character in token):  # else an added token, which is spelled out
                return bytes(table[character] for character in token).decode("utf-8", "backslashreplace")
            return token
        text = token.removeprefix(self.prefix) if token != self.prefix else token
        text = text.removesuffix(self.suffix) if text != self.suffix else text
        return text.replace(self.marker, " ") if self.marker else text

    def starts_word(self, token: str) -> bool:
        """Whether a word begins with a piece, as far as the piece alone tells."""
        if self.in_bytes or self.marker:
            return self.text(token)[:1].isspace()
        return not self.prefix or token == self.prefix or not token.startswith(self.prefix)

    def is_blank(self, token: str) -> bool:
        """Whether a piece spells nothing but white space."""
        return not self.text(token).strip()

    def display(self, token: str) -> str:
        """A piece for people to read: WordPiece's as it is, others without the blank, unless there is only that."""
        if not self.in_bytes and not self.marker:
            return token
        text = self.text(token)
        return text.strip() or BLANK * max(1, len(text))


def detect_spelling(settings: Mapping[str, Any]) -> TokenSpelling:
    """How the pieces of a tokenizer.json are spelled."""
    model = settings["model"]
    prefix = model.get("continuing_subword_prefix") or ""
    parts = [part for key in ("normalizer", "pre_tokenizer", "decoder") for part in _parts(settings.get(key))]
    if any(part.get("type") == "ByteLevel" for part in parts):
        return TokenSpelling(f"byte-level {kind_of(model)}", in_bytes=True)
    marker = next((_marker(part) for part in parts if _marker(part)), "")
    return TokenSpelling(kind_of(model), prefix, model.get("end_of_word_suffix") or "", marker)


def kind_of(model: Mapping[str, Any]) -> str:
    """The model of a tokenizer.json: WordPiece, BPE, Unigram or WordLevel. Old files do not name it."""
    if isinstance(kind := model.get("type"), str):
        return kind
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece" if "max_input_chars_per_word" in model else "WordLevel"


def _parts(component: Any) -> Iterator[Mapping[str, Any]]:
    """A component of a tokenizer.json, or the components of a sequence."""
    if isinstance(component, Mapping):
        inner = [value for value in component.values() if isinstance(value, list)]
        if component.get("type") == "Sequence" and inner:
            for part in inner[0]:
                yield from _parts(part)
        else:
            yield component


def _marker(part: Mapping[str, Any]) -> str:
    if part.get("type") == "Metaspace":
        return str(part.get("replacement") or BLANK)
    if part.get("type") == "Replace" and part.get("pattern") == {"String": " "}:
        return str(part.get("content") or "")
    return ""


@cache
def _bytes() -> dict[str, int]:
    """The byte of each character of byte-level pieces: printable ones of Latin-1 stand for themselves, the others
    follow from U+0100 on (Radford et al. 2019, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
