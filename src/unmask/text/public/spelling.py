"""What tokens spell, for every kind of tokenizer: ##ing, ▁Paris and ĠParis, æĹ¥ (the bytes of 日)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

BLANK = "▁"  # how a blank is shown where it must be seen: SentencePiece's own marker


@dataclass(frozen=True)
class TokenSpelling:
    """kind: in words; prefix: of tokens that continue a word ("##"); suffix: of those that end one ("</w>");
    marker: what stands for a blank ("▁"); in_bytes: whether each character of a token stands for a byte."""

    kind: str
    prefix: str = ""
    suffix: str = ""
    marker: str = ""
    in_bytes: bool = False

    def text(self, token: str) -> str:
        """What a token spells, with the blank before it where it has one; "\\xe6" for bytes of half a character."""
        if self.in_bytes and _bytes().keys() >= set(token):  # else an added token, which is spelled out
            return bytes(map(_bytes().__getitem__, token)).decode("utf-8", "backslashreplace")
        text = token.removeprefix(self.prefix) or token
        text = text.removesuffix(self.suffix) or text
        return text.replace(self.marker, " ") if self.marker else text

    def starts_word(self, token: str) -> bool:
        """Whether a word begins with a token, as far as the token alone tells."""
        if self.in_bytes or self.marker:
            return self.text(token)[:1].isspace()
        return not self.prefix or token == self.prefix or not token.startswith(self.prefix)

    def display(self, token: str) -> str:
        """A token for people to read: WordPiece's as it is, others without the blank, unless there is only that."""
        if not self.in_bytes and not self.marker:
            return token
        text = self.text(token)
        return text.strip() or BLANK * max(1, len(text))


def detect_spelling(settings: Mapping[str, Any], kind: str) -> TokenSpelling:
    """How the tokens of a tokenizer.json are spelled; `kind`: its model."""
    model = settings["model"]
    parts = [part for key in ("normalizer", "pre_tokenizer", "decoder") for part in _parts(settings.get(key))]
    if any(part.get("type") == "ByteLevel" for part in parts):
        return TokenSpelling(f"byte-level {kind}", in_bytes=True)
    markers = [part.get("replacement") or BLANK for part in parts if part.get("type") == "Metaspace"]
    markers += [part["content"] for part in parts if part.get("pattern") == {"String": " "} and "content" in part]
    return TokenSpelling(
        kind,
        prefix=model.get("continuing_subword_prefix") or "",
        suffix=model.get("end_of_word_suffix") or "",
        marker=next(filter(None, markers), ""),
    )


def _parts(component: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """A component of a tokenizer.json, or the components of a sequence."""
    if component is None:
        return []
    if component.get("type") != "Sequence":
        return [component]
    inner = next(value for value in component.values() if isinstance(value, list))
    return [part for one in inner for part in _parts(one)]


@cache
def _bytes() -> dict[str, int]:
    """The byte of each character of byte-level tokens: printable ones of Latin-1 stand for themselves, the others
    follow from U+0100 on (Radford et al. 2019, encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
