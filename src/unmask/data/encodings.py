"""Which encoding a text file is in: UTF-8, else UTF-16 or GB18030 where its bytes leave no doubt, else an error.

UTF-16 shows in the first bytes (a byte order mark, or characters that make sense in one byte order only), and
the file is recoded to UTF-8 as it is read. GB18030 shows in the first line that is not ASCII; a line end is
one byte in it, so that lines are decoded one by one.
"""

import codecs
import io
from contextlib import suppress
from typing import Any

from unmask.errors import UserError, suggest

COMPRESSED = (".gz", ".zst")
SAMPLE = 2**16  # bytes that a guess is made from
FEWEST = 4  # Chinese characters that a guess needs

# Characters of which any Chinese text is full: with these missing, the bytes are another language's (EUC-KR
# and EUC-JP are valid GB 2312, too).
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日"
    "的一是不了在人有我他這個們中來為和國說時會對發後種經麼學現當沒動進實樣開從"
    "，。、：；！？“”《》（）「」"
)
_MARK = "\udc80"  # stands for bytes that cannot be decoded; no UTF-8 holds it
codecs.register_error("unmask.mark", lambda error: (_MARK, error.end))  # type: ignore[attr-defined]


class RecodedStream(io.RawIOBase):
    """A stream of bytes in some encoding as UTF-8; what cannot be decoded becomes bytes that are no UTF-8."""

    def __init__(self, stream: Any, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("unmask.mark")
        self._waiting, self._ended = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting and not self._ended:
            data = self._stream.read(SAMPLE)
            self._ended = not data
            self._waiting = self._decoder.decode(data, self._ended).encode("utf-8", "surrogatepass")
        taken = self._waiting[: len(buffer)]
        buffer[: len(taken)] = taken
        self._waiting = self._waiting[len(taken) :]
        return len(taken)


def with_byte_order(encoding: str, head: bytes) -> str:
    """UTF-16 and UTF-32 with the order of the bytes, where no byte order mark tells it: little-endian mostly."""
    marks = {
        "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
        "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    }
    if encoding not in marks or head.startswith(marks[encoding]):
        return encoding
    return (utf16(head) if encoding == "UTF-16" else None) or f"{encoding}-LE"


def encoding_name(encoding: str) -> str:
    """The name of an encoding as it is shown. Raises UserError for one that Python does not know."""
    try:
        found = codecs.lookup(encoding)
    except LookupError:
        found = None
    if found is None or not found._is_text_encoding:
        allowed = ("utf-8", "gb18030", "utf-16", "big5", "windows-1252", "shift_jis", "euc-kr", "koi8-r")
        meant = suggest(encoding.lower(), allowed)
        raise UserError(
            f"{encoding} is not an encoding",
            allowed=", ".join(allowed) + ", ... (the names that Python knows)",
            hint=f"did you mean {meant}?" if meant else None,
        )
    return found.name.upper()


def detect_text(head: bytes, encoding: str | None = None) -> str:
    """The first bytes of a file as text, only to look at: what cannot be decoded is replaced."""
    encoding = encoding and encoding_name(encoding)
    if encoding is None:
        encoding = utf16(head) or ("UTF-8" if _is_utf8(head) else "GB18030")
    return head.decode(with_byte_order(encoding, head), "replace").removeprefix("\ufeff")


def utf16(head: bytes) -> str | None:
    """UTF-16 (with a byte order mark), UTF-16LE or UTF-16BE if the first bytes of a file show that it is."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    head = head[: len(head) // 2 * 2]
    if len(head) < 8 or (b"\0" not in head and _is_utf8(head)):
        return None
    zeros, half = (head[::2].count(0), head[1::2].count(0)), len(head) // 2
    if max(zeros) > 0.4 * half and min(zeros) < 0.05 * half:  # every second byte of Latin text is zero
        return "UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"
    shares = {name: _sensible(head.decode(name, "replace"), head) for name in ("UTF-16LE", "UTF-16BE")}
    best, other = sorted(shares, key=lambda name: -shares[name])
    return best if shares[best] > 0.95 and shares[other] < 0.5 else None


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _sensible(text: str, head: bytes) -> float:
    """The share of characters that are Chinese, or letters and marks of European scripts."""
    if b"\0" not in head and _common(text) < 0.1:
        return 0.0
    good = sum(
        " " <= character < "\u0500"
        or character in "\t\n\r"
        or "\u2010" <= character <= "\u2027"
        or "\u3000" <= character <= "\u303f"
        or "\u4e00" <= character <= "\u9fff"
        or "\uff00" <= character <= "\uffef"
        for character in text
    )
    return good / len(text)


def _common(text: str) -> float:
    """The share of what is not ASCII that any Chinese text is full of."""
    beyond = [character for character in text if character > "\x7f"]
    return sum(character in _COMMON for character in beyond) / len(beyond) if beyond else 0.0


def is_gb18030(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 are Chinese text in GB18030: nearly all in GB 2312, and common there.

    A few faults, such as a last character that is cut short, are none of its business.
    """
    text = sample.decode("gb18030", "replace")
    chinese = [character for character in text if character > "\x7f"]
    within = sum(_encodable(character, "gb2312") for character in chinese)
    return len(chinese) >= FEWEST and within >= 0.85 * len(chinese) and _common(text) >= 0.1


def is_utf8(sample: bytes) -> bool:
    """Whether all of it is UTF-8; a last character that is cut short is."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def not_utf8_error(where: str, raw: bytes, error: UnicodeDecodeError) -> UserError:
    """The error for a line that is not UTF-8 and whose encoding is in doubt."""
    start = error.start
    with suppress(UnicodeDecodeError):
        half = raw.decode("utf-8", "surrogatepass")[len(raw[:start].decode("utf-8"))]
        return UserError(f"{where} holds half of a surrogate pair, which is no text", given=f"\\u{ord(half):04x}")
    readable = raw.decode("utf-8", "replace")
    if sum(character > "\x7f" for character in readable) > 2 * readable.count("\ufffd"):
        hint = "this looks like UTF-8 that is damaged here"
    else:
        encoding, language = _guess(raw)
        hint = f"this looks like {encoding}{language}: --encoding {encoding} reads it"
    return UserError(
        f"{where}: byte 0x{raw[start]:02x} at place {start + 1:,} is not UTF-8",
        given=raw[max(0, start - 20) : start + 20].decode("utf-8", "backslashreplace"),
        hint=hint,
    )


def undecodable_error(encoding: str, where: str, raw: bytes, error: UnicodeDecodeError) -> UserError:
    """The error for a line that is not valid in the encoding that the file is read in."""
    text = raw.decode("utf-8" if encoding != "GB18030" else encoding, "replace")
    place = text.index("\ufffd") if "\ufffd" in text else error.start
    return UserError(
        f"{where} is not valid {encoding}",
        given=f"at place {place + 1:,}: {text[max(0, place - 20) : place + 20]}",
        hint="correct the line, or --encoding if the file is in another",
    )


def _guess(raw: bytes) -> tuple[str, str]:
    """The encoding that a line which is not UTF-8 probably has, and of which language."""
    for encoding, language in (("GB18030", " (Chinese)"), ("BIG5", " (traditional Chinese)")):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        chinese = [character for character in text if character > "\x7f"]
        narrow = "gb2312" if encoding == "GB18030" else "big5"
        within = sum(_encodable(character, narrow) for character in chinese)
        if within >= 0.9 * len(chinese) and (encoding == "GB18030" or _common(text) >= 0.1):
            return encoding, language
    try:
        raw.decode("cp1252")
    except UnicodeDecodeError:
        return "LATIN1", ""
    return "WINDOWS-1252", " (Latin-1)"
