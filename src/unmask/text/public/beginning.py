"""The beginning of a long text: as much of it as its first tokens need, which are then those of the whole text.

A text is cut where its tokens before the cut cannot depend on what follows: before a blank between two letters or
digits, where the tokenizer cuts words at blanks; and, in BERT, between two Chinese characters and before punctuation. A
tokenizer of which that cannot be told reads whole texts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CHARACTERS_PER_TOKEN = 8  # more than most texts have, so that the first try is enough
GROWTH = 4

_BLANK = r"(?<=[^\W_]) (?=[^\W_])"
_BERT_BLANK = r"(?<=\S)[ \t\n\r]"
_PUNCTUATION = r"!-/:-@\[-`{-~"
_BEFORE_PUNCTUATION = rf"(?<=[A-Za-z0-9{_PUNCTUATION}])(?=[{_PUNCTUATION}])"
_BETWEEN_CHINESE = "(?<=[\u4e00-\u9fa5])(?=[\u4e00-\u9fa5])"  # of the first Unicode: each is its own normal form

_LONGEST_RUN = 1000
_LONG_RUN = re.compile(f"[A-Za-z0-9]{{{_LONGEST_RUN},}}|[ \t\n\r]{{{_LONGEST_RUN},}}")
_IN_LONG_RUN = f"(?<=[A-Za-z0-9]{{{_LONGEST_RUN}}})|(?<=[ \t\n\r]{{{_LONGEST_RUN}}})"

# normalisers that make nothing of a letter, a blank and a letter together, and cutters that keep words apart
_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "StripAccents"}
_NORMALIZERS |= {"Prepend", "Strip"}
_CUTTERS = {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit"}
_OTHER_CUTTERS = {"Digits", "Punctuation"}


def safe_cut(settings: Mapping[str, Any], is_bert: bool, chinese: bool) -> re.Pattern[str] | None:
    """Return where a text may be cut, None where it must be whole. settings: the content of a tokenizer.json; is_bert:
    whether words are cut as in BERT, and no text becomes an added token; chinese: whether each Chinese character is a
    word."""
    cutters = _parts(settings.get("pre_tokenizer"), "pretokenizers")
    if (
        any(re.search(r"\S\s+\S", token["content"]) for token in settings["added_tokens"])
        or not all(_keeps_blanks(one) for one in _parts(settings.get("normalizer"), "normalizers"))
        or not all(one["type"] in _CUTTERS | _OTHER_CUTTERS for one in cutters)
        or not _cuts_at_blanks(next((one for one in cutters if one["type"] in _CUTTERS), None))
    ):
        return None
    if not is_bert:
        return re.compile(_BLANK)
    return re.compile("|".join([_BERT_BLANK, _BEFORE_PUNCTUATION, *([_BETWEEN_CHINESE] if chinese else [])]))


def without_long_runs(text: str) -> str:
    """Shorten runs of ASCII letters and digits, or of blanks, where a longer one gives the same tokens in BERT: a word
    of more than 100 characters is unknown."""
    return text if len(text) < _LONGEST_RUN else _LONG_RUN.sub(lambda run: run[0][:_LONGEST_RUN], text)


def with_long_runs(cut: re.Pattern[str] | None) -> re.Pattern[str] | None:
    """Where a text may be cut whose long runs are shortened: also after so much of one as gives the same tokens."""
    return cut and re.compile(f"{cut.pattern}|{_IN_LONG_RUN}")


def _parts(component: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    if component is None:
        return []
    return [one for part in component[name] for one in _parts(part, name)] if name in component else [component]


def _keeps_blanks(normalizer: Mapping[str, Any]) -> bool:
    """Return whether a normaliser makes of a blank between two letters what it makes of it without what follows."""
    if normalizer["type"] == "Replace":
        pattern = normalizer["pattern"]
        return pattern == {"Regex": " {2,}"} or not re.search(r"[\w\s]", pattern.get("String", " "))
    return normalizer["type"] in _NORMALIZERS


def _cuts_at_blanks(cutter: Mapping[str, Any] | None) -> bool:
    option = {"ByteLevel": "use_regex", "Metaspace": "split"}
    return cutter is not None and bool(cutter.get(option.get(cutter["type"], ""), True))


def encode_beginnings(
    texts: Sequence[str], tokens: int | None, cut: re.Pattern[str] | None, encode: Callable[[list[str]], Sequence[Any]]
) -> list[Any]:
    """Encode of each text as much as gives more than `tokens` tokens, or all of it (None: of each).

    The first `tokens` tokens are those of the whole text; of the others only that there are some is right. cut: as
    `safe_cut` returns it; encode: makes encodings of texts.
    """
    if tokens is None or cut is None:
        return list(encode(list(texts)))
    characters = CHARACTERS_PER_TOKEN * max(tokens, 1)
    parts = [_beginning(text, characters, cut) for text in texts]
    encodings = list(encode(parts))
    short: Sequence[int] = range(len(texts))
    while short := [n for n in short if len(encodings[n]) <= tokens and len(parts[n]) < len(texts[n])]:
        characters *= GROWTH
        for number in short:
            parts[number] = _beginning(texts[number], characters, cut)
        for number, encoding in zip(short, encode([parts[number] for number in short]), strict=True):
            encodings[number] = encoding
    return encodings


def _beginning(text: str, characters: int, cut: re.Pattern[str]) -> str:
    if len(text) <= characters:
        return text
    place = cut.search(text, characters)
    return text if place is None else text[: place.start()]
