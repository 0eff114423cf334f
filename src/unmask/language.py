"""The language of messages: English texts in, another language out, at the one place where people read them.

The code speaks English only. On the way out a text is looked up in the catalogue of the language that is set:
exactly, or as a template whose holes let values through. Texts for programs (JSON, files) never come here.

A catalogue is a folder `locale/LANGUAGE/` of JSON files, English to the other language: `labels` (titles, table
headings, names of facts: short, so only looked up where such things stand), all others hold whole messages.
Holes are numbered as they stand in English: `{0}` any text, `{1:n}` a number. In the translation they may change
places, and `{0:t}` is a hole whose text is translated in turn.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files

from rich.cells import cell_len

ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh")
VARIABLE = "UNMASK_LANG"
LONGEST = 2000  # characters; what is longer is a user's text, not a message

SURE = 8  # a message that begins with so many characters of a template is that message, whatever it holds
HOLE = re.compile(r"\{(\d+)(?::([nt]))?\}")
_NUMBER = r"[-+−]?(?:\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|nan|inf)%?"  # as format specifications write them
_WORD = re.compile(r"[A-Za-z]{2,}")
_WHOLE_WORD = re.compile(r"(?<![A-Za-z}])[A-Za-z]{2,}(?![A-Za-z{])")  # in a template: not grown by a hole
_PARTS = re.compile(r"( · )")
_COLUMNS = re.compile(r"( {2,})")

_state = {"language": ENGLISH}


def known(name: str) -> str | None:
    """The language that a name such as `zh`, `zh-CN` or `zh_CN.UTF-8` means, None if there is no catalogue."""
    first = re.split(r"[-_.]", name.strip().lower())[0]
    return first if first in LANGUAGES else None


def set_language(name: str) -> None:
    """Show messages in this language from now on: one of LANGUAGES."""
    if name not in LANGUAGES:
        raise ValueError(f"no messages in the language {name!r}")
    _state["language"] = name


def language() -> str:
    return _state["language"]


def from_environment() -> str | None:
    """What UNMASK_LANG asks for, None if it is not set. LANG has no say: output in scripts stays as it is."""
    return os.environ.get(VARIABLE) or None


class Verbatim(str):
    """A text that is the user's own, such as a label of their data: never translated, wherever it is shown."""


def translate(text: str) -> str:
    """A message in the language that is set; what is in no catalogue comes back as it is.

    A single word is no message: it may as well be a name or a path. Where it is ours, it is a `label`.
    """
    return label(text) if " " in text else text


def label(text: str, into: str | None = None) -> str:
    """A title, a heading, a unit, the name of a fact; a message too. into: another language than the one set."""
    chosen = into or _state["language"]
    if chosen == ENGLISH or len(text) > LONGEST or isinstance(text, Verbatim):
        return text
    return _catalogue(chosen).any(text)


def pad(text: str, width: int) -> str:
    """Fill up to `width` cells of a terminal, on the right. Chinese characters take two cells."""
    return text + " " * (width - cell_len(text))


@dataclass
class Template:
    """An English text with holes, and what it becomes."""

    english: str
    other: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        parts, end = [], 0
        for hole in HOLE.finditer(self.english):
            parts.append(re.escape(self.english[end : hole.start()]))
            parts.append(f"({_NUMBER})" if hole[2] == "n" else "(.*?)")
            end = hole.end()
        return re.compile("".join(parts) + re.escape(self.english[end:]), re.DOTALL)

    @cached_property
    def literal(self) -> int:
        """How many characters are fixed: the more, the surer a match."""
        return len(HOLE.sub("", self.english)) + self.english.count(":n}")

    @cached_property
    def start(self) -> int:
        """How many characters stand before the first hole."""
        return len(self.english.partition("{")[0])

    def fill(self, match: re.Match[str], translated: Callable[[str], str]) -> str:
        def value(hole: re.Match[str]) -> str:
            text = match[int(hole[1]) + 1]
            if hole[2] != "t":
                return text
            before, after = self.other[: hole.start()][-1:], self.other[hole.end() :][:1]
            return _spaced(before, translated(text), after)

        return HOLE.sub(value, self.other)


def _spaced(before: str, text: str, after: str) -> str:
    """A text between its neighbours, with blanks where Chinese characters meet Latin ones."""
    first = " " if before > "\u2fff" and before.isalpha() and _is_latin(text[:1]) else ""
    last = " " if after > "\u2fff" and after.isalpha() and _is_latin(text[-1:]) else ""
    return first + text + last


def _is_latin(character: str) -> bool:
    """Of a Latin word, a number or a path."""
    return character.isascii() and (character.isalnum() or character in ("/", "~"))


class Catalogue:
    """All texts of one language. Templates are found by a word of theirs that few others have."""

    def __init__(self, texts: dict[str, dict[str, str]]) -> None:
        self.labels = texts.pop("labels", {})
        self.exact: dict[str, str] = {}
        templates = []
        for section in texts.values():
            for english, other in section.items():
                if HOLE.search(english):
                    templates.append(Template(english, other))
                else:
                    self.exact[english] = other
        self._index(templates)
        self.message = lru_cache(maxsize=4096)(self._message)

    def _index(self, templates: list[Template]) -> None:
        words = [set(_WHOLE_WORD.findall(template.english)) for template in templates]
        common: dict[str, int] = defaultdict(int)
        for own in words:
            for word in own:
                common[word] += 1
        self._by_word: dict[str, list[Template]] = defaultdict(list)
        for template, own in zip(templates, words, strict=True):
            rarest = min(own, key=lambda word: (common[word], word), default="")
            self._by_word[rarest].append(template)

    def any(self, text: str) -> str:
        """A label or a message."""
        found = self.labels.get(text)
        return self.message(text) if found is None else found

    def _message(self, text: str) -> str:
        if "\n" in text and text not in self.exact:
            return "\n".join(map(self._message, text.split("\n")))
        if " · " in text:
            return self._pieces(_PARTS.split(text))
        bare = text.strip(" ")
        found = self.exact.get(bare)
        if found is None:
            exactly, somehow = self._filled(bare)
            found = exactly or self._listed(bare, "; ", "；") or self._listed(bare, ", ", "，") or somehow
        if found is None and "  " in bare:
            found = self._pieces(_COLUMNS.split(bare))
        return text if found is None or not bare else text.replace(bare, found, 1)

    def _filled(self, text: str) -> tuple[str | None, str | None]:
        """What the templates that fit a text make of it: one whose holes hold no list, and any.

        The last hole of a template takes in all that follows: `{0} of {1}` fits `1 of x, 2 of y`, a list.
        """
        somehow = None
        words = {"", *_WORD.findall(text)}
        candidates = [template for word in words for template in self._by_word.get(word, ())]
        for template in sorted(candidates, key=lambda one: (one.start < SURE, -one.literal, one.english)):
            match = template.pattern.fullmatch(text)
            if match is None:
                continue
            if template.start >= SURE or not any(
                separator in value for value in match.groups() for separator in ("; ", ", ")
            ):
                return template.fill(match, self.any), somehow
            somehow = somehow or template.fill(match, self.any)
        return None, somehow

    def _pieces(self, pieces: list[str]) -> str:
        return "".join(piece if number % 2 else self._message(piece) for number, piece in enumerate(pieces))

    def _listed(self, text: str, separator: str, other: str) -> str | None:
        """A list, if each of its parts has a translation."""
        if separator not in text:
            return None
        found = [self.exact.get(part) or self._filled(part)[0] for part in text.split(separator)]
        return None if None in found else other.join(map(str, found))


@lru_cache(maxsize=1)
def _catalogue(name: str) -> Catalogue:
    folder = files("unmask").joinpath("locale", name)
    sections = {
        file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".json")
    }
    return Catalogue(sections)
