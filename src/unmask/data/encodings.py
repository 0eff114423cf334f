"""Which encoding a text file is in: UTF-8, else UTF-16 or GB18030 where its bytes leave no doubt, else an error.

UTF-16 shows in the first bytes (a byte order mark, or characters that make sense in one byte order only), and
the file is recoded to UTF-8 as it is read. GB18030 shows in the first line that is not ASCII; a line end is
one byte in it, so that lines are decoded one by one.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

from unmask.advice import advise, option
from unmask.errors import UserError
from unmask.messages import join, message

SAMPLE = 2**16  # bytes that a guess is made from

# Characters of which any Chinese text is full: with these missing, the bytes are another language's (EUC-KR
# and EUC-JP are valid GB 2312, too).
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日"
    "的一是不了在人有我他這個們中來為和國說時會對發後種經麼學現當沒動進實樣開從"
    "，。、：；！？“”《》（）「」"
)
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_SENSIBLE = re.compile("[\t\n\r -\u04ff\u2010-\u2027\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")  # Chinese and European
_MARK = "\udc80"  # stands for bytes that cannot be decoded; no UTF-8 holds it
codecs.register_error("unmask.mark", lambda error: (_MARK, error.end))  # type: ignore[attr-defined]


def recode(stream: Any, encoding: str) -> Iterator[bytes]:
    """A stream of bytes in some encoding as UTF-8; what cannot be decoded becomes bytes that are no UTF-8."""
    chunks = iter(lambda: stream.read(SAMPLE), b"")
    for text in codecs.iterdecode(chunks, encoding, "unmask.mark"):
        yield text.encode("utf-8", "surrogatepass")


def with_byte_order(encoding: str, head: bytes) -> str:
    """UTF-16 and UTF-32 with the order of the bytes, where no byte order mark tells it: little-endian mostly."""
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
    if encoding not in ("UTF-16", "UTF-32") or head.startswith(marks):
        return encoding
    return (utf16(head) if encoding == "UTF-16" else None) or f"{encoding}-LE"


def encoding_name(encoding: str) -> str:
    """The name of an encoding as it is displayed. Raises UserError for one that Python does not know."""
    try:
        "".encode(encoding)
    except LookupError:
        allowed = "utf-8, gb18030, utf-16, big5, windows-1252, shift_jis, euc-kr, koi8-r, ... (the names of Python)"
        raise UserError(f"{encoding} is not an encoding", allowed=allowed) from None
    return codecs.lookup(encoding).name.upper()


def utf16(head: bytes) -> str | None:
    """UTF-16 (with a byte order mark), UTF-16LE or UTF-16BE if the first bytes of a file show that it is."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    head = head[: len(head) // 2 * 2]
    if len(head) < 8 or (b"\0" not in head and is_utf8(head)):
        return None
    zeros, half = (head[::2].count(0), head[1::2].count(0)), len(head) // 2
    if max(zeros) > 0.4 * half and min(zeros) < 0.05 * half:  # every second byte of Latin text is zero
        return "UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"
    texts = {name: head.decode(name, "replace") for name in ("UTF-16LE", "UTF-16BE")}
    shares = {
        name: len(_SENSIBLE.findall(text)) / len(text) if b"\0" in head or _common(text) >= 0.1 else 0.0
        for name, text in texts.items()
    }
    best, other = sorted(shares, key=lambda name: -shares[name])
    return best if shares[best] > 0.95 and shares[other] < 0.5 else None


def _common(text: str) -> float:
    """The share of what is not ASCII that any Chinese text is full of."""
    beyond = _NOT_ASCII.findall(text)
    return sum(character in _COMMON for character in beyond) / len(beyond) if beyond else 0.0


def is_gb18030(sample: bytes) -> bool:
    """Whether bytes that are not UTF-8 are Chinese text in GB18030: nearly all in GB 2312, and common there.

    A few faults, such as a last character that is cut short, are none of its business.
    """
    text = sample.decode("gb18030", "replace")
    chinese = "".join(_NOT_ASCII.findall(text))
    within = chinese.encode("gb2312", "ignore").decode("gb2312")
    return len(chinese) >= 4 and len(within) >= 0.85 * len(chinese) and _common(text) >= 0.1


def is_utf8(sample: bytes) -> bool:
    """Whether all of it is UTF-8; a last character that is cut short is."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def undecodable(where: str, raw: bytes, error: UnicodeDecodeError, encoding: str) -> UserError:
    """The error for a line that is not valid in the encoding that the file is read in."""
    text = raw.decode(error.encoding, "backslashreplace")
    place = len(raw[: error.start].decode(error.encoding))
    hint = join(["correct the line", advise("{option} if the file is in another", option("encoding", "NAME"))], "; ")
    if encoding == "UTF-8":
        characters = raw.decode("utf-8", "replace")
        if len(_NOT_ASCII.findall(characters)) > 2 * characters.count("\ufffd"):
            hint = "this looks like UTF-8 that is damaged here"
        else:
            guess = _guess(raw)
            reads = advise("{option} reads it", option("encoding", guess))
            hint = join([message("this looks like {encoding}", guess), reads], ": ")
    return UserError(
        f"{where} is not valid {encoding}",
        given=f"at position {place + 1:,}: {text[max(0, place - 20) : place + 20]}",
        hint=hint,
    )


def _guess(raw: bytes) -> str:
    """The encoding that a line which is not UTF-8 probably has."""
    for encoding, codec in (("GB18030", "gb2312"), ("BIG5", "big5")):
        try:
            text = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if encoding == "GB18030" or _common(text) >= 0.1:
            return encoding
    return "WINDOWS-1252"
