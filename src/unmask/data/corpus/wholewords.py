"""Where a corpus takes the words of Chinese text from: learnt from its documents, jieba, or a file."""

from collections.abc import Callable, Iterable
from pathlib import Path

from unmask import console
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
    """What `given` asks for: "learn", "jieba", "none" (every character a word), a file, or "auto".

    "auto" learns where the text is mostly Chinese, and is "none" elsewhere: words cost one more reading of
    the text and can't be put into a corpus afterwards, and without them a mask over whole words of Chinese
    would hide single characters without a word about it. `documents` begins a new reading each time it is
    called; `again=False` says that there can be only one (standard input). Raises UserError for anything
    else, for "learn" where the documents can be read only once or hold no Chinese, and for an absent jieba.
    """
    if choice == "none":
        return None
    if choice == "jieba":
        return jieba_segmenter()
    if choice not in ("auto", "learn"):
        if not Path(choice).is_file():
            raise UserError(f"--words {choice} is neither a choice nor a file", allowed=CHOICES)
        return Lexicon.load(choice)
    if not restart:
        if choice == "learn":
            raise UserError(
                "learning words needs the text twice: once to learn, once to cut",
                given="documents that can be read only once, such as standard input",
                hint="write them to a file first, or choose --words jieba, none or a file",
            )
        console.note("standard input is read once: each Chinese character is a word (--words jieba, FILE)")
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
