"""The words of Chinese text in a corpus: learnt from its documents, by jieba, or from a file."""

from collections.abc import Callable, Iterable
from pathlib import Path

from unmask import console
from unmask.advice import advise, option, to_change
from unmask.console import SILENT, Progress
from unmask.data.corpus.documents import Document
from unmask.errors import UserError
from unmask.messages import message
from unmask.text.chinese import mostly_chinese
from unmask.text.lexicon import Lexicon, Words, jieba_segmenter

CHOICES = "auto, learn, jieba, none, or a file with a word a line"


def load_words(
    choice: str,
    documents: Callable[[], Iterable[Document]],
    *,
    restart: bool = True,
    progress: Progress = SILENT,
) -> Words | None:
    """The words of Chinese text, for whole-word masks; None where each character is a word.

    choice: "learn", "jieba", "none", a file, or "auto", which learns where the text is mostly Chinese and is "none"
    elsewhere: words cost one more reading of the text, and a corpus that was built without them cannot get them later.
    `documents` begins a new reading each time it is called; restart=False: there can be only one (standard input).
    Raises UserError for anything else, for "learn" where the documents can be read only once or hold no Chinese, and
    where jieba is not installed.
    """
    if choice == "none":
        return None
    if choice == "jieba":
        return jieba_segmenter()
    if choice not in ("auto", "learn"):
        if not Path(choice).is_file():
            raise UserError("{option} is neither a choice nor a file", option("words", choice), allowed=CHOICES)
        return Lexicon.load(choice)
    if not restart:
        if choice == "learn":
            raise UserError(
                "{option} reads the text twice: to learn the words, then to segment it",
                option("words", "learn"),
                given="documents that can be read only once, such as standard input",
                hint=["write them to a file first", advise("{option}, none or a file", option("words", "jieba"))],
            )
        console.note(
            to_change("standard input is read once: each Chinese character is a word", by=[option("words", "jieba")])
        )
        return None
    if choice == "auto" and not mostly_chinese(document.text for document in documents()):
        return None
    return Lexicon.train((document.text for document in documents()), progress=progress)


def describe_words(words: Words | None) -> str:
    """A few words for the line that says what was built; empty where every character is a word."""
    if words is None:
        return ""
    if isinstance(words, Lexicon):
        longer = sum(len(word) > 1 for word in words.counts)
        return message("{count:,} Chinese words, {origin}", longer, words.origin)
    return message("words by {function}", getattr(words, "__qualname__", "?"))
