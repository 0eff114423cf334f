"""Tokenizer: text to pieces and back, over the tokenizers library, with offsets into the original text.

The text of users is only ever text: "[MASK]" or "[SEP]" in it is cut into ordinary pieces unless
`specials=True` asks for the mask. What is saved is BERT's public layout, which other libraries load
unchanged.
"""

import glob
import gzip
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from unmask.config import dump, from_mapping
from unmask.console import SILENT, Progress
from unmask.errors import UserError
from unmask.files import atomic, json_text
from unmask.text import folding, layout, wordpiece
from unmask.text.layout import MASK, SPECIALS, TokenizerConfig
from unmask.text.lexicon import Words, inside_words
from unmask.text.words import WordCounter

__all__ = ["Encoded", "Tokenizer", "TokenizerConfig", "TokenizerStatistics", "Training"]

T = TypeVar("T")

WORD_START, SENTENCE_START = 1, 2  # the bits of the flags of `pieces_of`
BATCH = 512  # texts given to the library at once where a stream is read

# a full-width digit one and a traditional character, and what foldings make of them (BERT's normaliser sets
# blanks around the latter)
_FOLDED = (("\uff11", "1"), ("\u6f22", "\u6c49"))
_SURROGATE = re.compile("[\ud800-\udfff]")
# A sentence ends after . ! ? … (and closing quotes or brackets) before white space, after 。！？ or …… (and
# closing ones) anywhere, and at a blank line. The next one begins with whatever follows. ("Mr. Smith" is
# cut, too.)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|(?:[。！？]|……)[”’」』）】》]*|\n[ \t\r]*(?=\n)")
_CHINESE = "[\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]"
_BETWEEN_CHINESE = re.compile(f"(?<={_CHINESE}) (?={_CHINESE})")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text or pair as pieces, [CLS] text [SEP] or [CLS] text [SEP] pair [SEP], in parallel lists."""

    ids: list[int]
    segments: list[int]  # 0 for the text and its specials, 1 for the pair and the last [SEP]
    offsets: list[tuple[int, int]]  # the piece's characters in the original text or pair; specials (0, 0)
    words: list[int | None]  # the number of the piece's word within its own segment; None for specials
    special: list[bool]  # the [CLS] and [SEP] that encoding added
    truncated: bool = False  # whether pieces were left out to keep to max_length


@dataclass(frozen=True, slots=True)
class TokenizerStatistics:
    characters: int  # of the texts as given, white space included
    words: int
    pieces: int
    unknown: int  # words that became [UNK]

    @property
    def characters_per_piece(self) -> float:
        return self.characters / self.pieces if self.pieces else 0.0

    @property
    def pieces_per_word(self) -> float:
        return self.pieces / self.words if self.words else 0.0

    @property
    def unknown_rate(self) -> float:
        """The share of words that became [UNK]."""
        return self.unknown / self.words if self.words else 0.0


@dataclass(frozen=True, slots=True)
class Training:
    """What was seen while a tokenizer was trained. `statistics` are those of the training text."""

    texts: int
    distinct_words: int
    alphabet: int
    dropped_characters: list[str]
    dropped_words: int
    forgotten_words: int  # occurrences forgotten to keep memory bounded (see words.WordCounter)
    statistics: TokenizerStatistics


class Tokenizer:
    """A WordPiece tokenizer in BERT's layout. Made by `train` or `load`; safe to use from several threads."""

    training: Training | None = None

    def __init__(self, description: str, origin: str = "the tokenizer") -> None:
        """`description` is the content of a tokenizer.json; `origin` names it in errors."""
        settings = layout.checked(description, origin)
        self._plain = layout.backend(settings, origin)
        self._json = self._plain.to_str(pretty=True) + "\n"
        self._plain.encode_special_tokens = True
        normalizer, self._settings = layout.bert_normalizer(settings), settings
        self.lowercase = bool(normalizer["lowercase"])
        accents = normalizer["strip_accents"]
        self.strip_accents = self.lowercase if accents is None else bool(accents)
        self.chinese_characters = bool(normalizer["handle_chinese_chars"])
        self.fold_width, self.simplify = (
            self._plain.normalizer.normalize_str(c).strip() == f for c, f in _FOLDED
        )
        numbers = self._plain.get_vocab(with_added_tokens=True)
        self.pieces: list[str] = sorted(numbers, key=numbers.__getitem__)
        if sorted(numbers.values()) != list(range(len(numbers))):
            raise UserError(f"{origin}: the ids of the pieces are not 0 to {len(numbers) - 1:,}, each once")
        self._ids = numbers
        self.pad_id, self.unknown_id, self.cls_id, self.sep_id, self.mask_id = (
            numbers[piece] for piece in SPECIALS
        )
        added = [token["id"] for token in settings["added_tokens"] if token.get("special")]
        self.special_ids: list[int] = sorted({numbers[piece] for piece in SPECIALS} | set(added))
        self._word_start = np.array([not piece.startswith(wordpiece.CONTINUATION) for piece in self.pieces])

    @classmethod
    def train(
        cls,
        texts: Iterable[str] | str | Path,
        settings: TokenizerConfig | None = None,
        *,
        progress: Progress = SILENT,
        **overrides: Any,
    ) -> "Tokenizer":
        """Train on texts, or on the plain text files (also .gz) that a path or a pattern names, line by line.

        `overrides` are settings of TokenizerConfig: `Tokenizer.train("corpus/*.txt", vocabulary=8192)`.
        Raises UserError when the text supports fewer pieces than asked for.
        """
        if overrides:
            given = {**dump(settings or TokenizerConfig()), **overrides}
            settings = from_mapping(TokenizerConfig, given, "the tokenizer")
        settings = settings or TokenizerConfig()
        normalizer, cut = layout.normalizer(settings), pre_tokenizers.BertPreTokenizer()
        counter = WordCounter(
            lambda text: [word for word, _ in cut.pre_tokenize_str(normalizer.normalize_str(text))],
            ideographs=settings.chinese_characters,
        )
        progress.start(None, "characters")
        # the counter takes Chinese characters apart by itself, so that they must be folded before
        table = str.maketrans(dict(folding.table(settings.fold_width, settings.simplify)))
        for text in _read_plain(texts) if isinstance(texts, str | Path) else texts:
            counter.add(text.translate(table) if table and not text.isascii() else text)
            progress.advance(len(text))
        words = counter.counts()
        vocabulary = wordpiece.train(
            words,
            settings.vocabulary,
            specials=SPECIALS,
            minimum_count=settings.minimum_count,
            character_coverage=settings.character_coverage,
            alphabet_share=settings.alphabet_share,
            maximum_word_characters=settings.max_word_characters,
            fewer=settings.fewer,
            progress=progress,
        )
        tokenizer = cls(layout.description(vocabulary.pieces, settings))
        tokenizer.training = Training(
            texts=counter.texts,
            distinct_words=len(words),
            alphabet=vocabulary.alphabet,
            dropped_characters=vocabulary.dropped_characters,
            dropped_words=vocabulary.dropped_words,
            forgotten_words=counter.forgotten,
            statistics=tokenizer._statistics_of_words(words, counter.characters),
        )
        return tokenizer

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Read a folder that holds tokenizer.json or vocab.txt, or one of these files.

        Raises UserError where it is not a BERT tokenizer, saying what is missing.
        """
        path = Path(path)
        file = path
        if path.is_dir():
            found = [path / name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
            if not found:
                raise UserError(
                    f"{path} holds no tokenizer",
                    allowed="a folder with tokenizer.json or vocab.txt",
                    to_make_one=f"unmask tokenizer train FILES --out {path}",
                )
            file = found[0]
        if not file.is_file():
            raise UserError(f"{file} does not exist", allowed="a folder with tokenizer.json or vocab.txt")
        try:
            content = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file} is not a tokenizer", given=f"byte {error.start:,} is not UTF-8"
            ) from None
        if file.suffix == ".txt":
            content = layout.description_of_list(content, file)
        return cls(content, str(file))

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json, vocab.txt and tokenizer_config.json, all of them whole or none."""
        folder = Path(folder)
        folded = self.fold_width or self.simplify
        names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        public = {
            # BERT's own class may make its normaliser anew from these settings, which cannot say a folding
            "tokenizer_class": "PreTrainedTokenizerFast" if folded else "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": layout.bert_normalizer(self._settings)["strip_accents"],
            "tokenize_chinese_chars": self.chinese_characters,
            **({"fold_width": self.fold_width, "simplify": self.simplify} if folded else {}),
            **dict(zip(names, SPECIALS, strict=True)),
        }
        contents = {
            "tokenizer.json": self._json,
            "tokenizer_config.json": json_text(public),
            "vocab.txt": "".join(f"{piece}\n" for piece in self.pieces),
        }
        with ExitStack() as written:  # takes their names when all are written, tokenizer.json last
            for name, content in contents.items():
                written.enter_context(atomic(folder / name)).write_text(content, encoding="utf-8")

    def __repr__(self) -> str:
        case = "lower case" if self.lowercase else "cased"
        return f"Tokenizer({self.vocabulary:,} pieces, {case}, sha256 {self.sha256[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self._json,)

    @property
    def vocabulary(self) -> int:
        """The number of pieces, the special ones included."""
        return len(self.pieces)

    @cached_property
    def sha256(self) -> str:
        """Of the content of tokenizer.json as `save` writes it."""
        return hashlib.sha256(self._json.encode("utf-8")).hexdigest()

    def id_of(self, piece: str) -> int:
        """Raises UserError where there is no such piece."""
        if piece not in self._ids:
            raise UserError(f"{piece!r} is not a piece of this tokenizer")
        return self._ids[piece]

    def piece_of(self, number: int) -> str:
        if not 0 <= number < len(self.pieces):
            raise UserError(f"{number} is not the id of a piece", allowed=f"0 to {len(self.pieces) - 1:,}")
        return self.pieces[number]

    @cached_property
    def _masking(self) -> tokenizers.Tokenizer:
        """As `_plain`, but "[MASK]" in a text is the mask; the other specials stay ordinary text."""
        added = [t for t in self._settings["added_tokens"] if not t.get("special") or t["content"] == MASK]
        return layout.backend({**self._settings, "added_tokens": added}, "the tokenizer")

    def encode(
        self, text: str, pair: str | None = None, max_length: int | None = None, *, specials: bool = False
    ) -> Encoded:
        """A text, or a pair, with [CLS] and [SEP] around. With `specials`, "[MASK]" in it is the mask piece.

        More than `max_length` pieces (specials included) are cut from the end, in a pair from the longer text
        first, as BERT does; `truncated` says so. Raises UserError when that leaves no room for text.
        """
        return self.encode_batch([text], [pair], max_length, specials=specials)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str | None] | None = None,
        max_length: int | None = None,
        *,
        specials: bool = False,
    ) -> list[Encoded]:
        """`encode` for many texts at once, on all cores."""
        backend = self._masking if specials else self._plain
        others = list(pairs) if pairs is not None else [None] * len(texts)
        if len(others) != len(texts):
            raise ValueError(f"{len(texts)} texts but {len(others)} pairs")
        flat = [_characters(text) for text in chain(texts, (other for other in others if other is not None))]
        encodings = backend.encode_batch(flat, add_special_tokens=False)
        seconds = iter(encodings[len(texts) :])
        return [
            self._assemble(first, None if other is None else next(seconds), max_length)
            for first, other in zip(encodings[: len(texts)], others, strict=True)
        ]

    def _assemble(self, first: Any, second: Any, max_length: int | None) -> Encoded:
        """Two encodings of the library as one sequence."""
        a, b = len(first), 0 if second is None else len(second)
        keep_a, keep_b = a, b
        if max_length is not None:
            room = max_length - (2 if second is None else 3)
            if room < (1 if second is None else 2):
                raise UserError(f"max_length {max_length} leaves no room for text", allowed="4 or more")
            if second is None:
                keep_a = min(a, room)
            else:
                keep_a = min(a, max(room - b, room - room // 2))
                keep_b = min(b, room - keep_a)
        none: list[int | None] = [None]
        ids = [self.cls_id, *first.ids[:keep_a], self.sep_id]
        offsets = [(0, 0), *first.offsets[:keep_a], (0, 0)]
        words = none + first.word_ids[:keep_a] + none
        special = [True] + [False] * keep_a + [True]
        segments = [0] * (keep_a + 2)
        if second is not None:
            ids += [*second.ids[:keep_b], self.sep_id]
            offsets += [*second.offsets[:keep_b], (0, 0)]
            words += second.word_ids[:keep_b] + none
            special += [False] * keep_b + [True]
            segments += [1] * (keep_b + 1)
        return Encoded(ids, segments, offsets, words, special, keep_a < a or keep_b < b)

    def pieces_of(
        self, texts: Sequence[str], words: Words | None = None
    ) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Each text as ids (pieces,) int32, without specials, and flags (pieces,) uint8.

        Bit 0 of a flag: a word starts here. Bit 1: a sentence does (see _SENTENCE_END for what ends one).
        By themselves Chinese characters are words; with `words`, which cuts a sentence into its words, those
        inside a word start none. Raises UserError when what `words` gives is not in the sentence.
        """
        sentences: list[str] = []
        counts = []
        for text in texts:
            before = len(sentences)
            sentences += _sentences(_characters(text))
            counts.append(len(sentences) - before)
        encode = self._plain.encode_batch_fast if words is None else self._plain.encode_batch
        encodings = encode(sentences, add_special_tokens=False)
        sizes = np.fromiter(map(len, encodings), np.int64, len(encodings))
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, int(sizes.sum()))
        flags = self._word_start[ids].astype(np.uint8) * WORD_START
        if words is not None:
            places = (place for e in encodings for place, _ in e.offsets)
            inside = inside_words(sentences, words, np.fromiter(places, np.int64, len(ids)), sizes)
            flags[inside] &= ~np.uint8(WORD_START)
        starts = np.cumsum(sizes) - sizes
        flags[starts[sizes > 0]] |= SENTENCE_START
        ends = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum(counts, dtype=np.int64)]
        begins = [0, *ends[:-1].tolist()]
        return [(ids[i:j], flags[i:j]) for i, j in zip(begins, ends.tolist(), strict=False)]

    def decode(self, ids: Iterable[int], *, specials: bool = False) -> str:
        """The text that the pieces spell, as far as can be told; with `specials`, special pieces too."""
        text = self._plain.decode([int(number) for number in ids], skip_special_tokens=not specials)
        return _BETWEEN_CHINESE.sub("", text) if self.chinese_characters else text

    def statistics(self, texts: Iterable[str]) -> TokenizerStatistics:
        """How well the vocabulary suits some texts. Reads a stream in bounded memory."""
        total = np.zeros(4, np.int64)
        for batch in _batches(texts, BATCH):
            encodings = self._plain.encode_batch_fast(
                [_characters(t) for t in batch], add_special_tokens=False
            )
            ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32)
            words, unknown = self._word_start[ids].sum(), (ids == self.unknown_id).sum()
            total += np.array([sum(map(len, batch)), words, len(ids), unknown], np.int64)
        return TokenizerStatistics(*total.tolist())

    def _statistics_of_words(self, words: dict[str, int], characters: int) -> TokenizerStatistics:
        """The statistics of a text from its words, already normalised, and their counts."""
        model = tokenizers.Tokenizer(self._plain.model)
        pieces = unknown = 0
        for batch in _batches(words.items(), 2**16):
            encodings = model.encode_batch_fast([word for word, _ in batch], add_special_tokens=False)
            for (_, count), encoding in zip(batch, encodings, strict=True):
                ids = encoding.ids
                pieces += count * len(ids)
                unknown += count * (ids == [self.unknown_id])
        return TokenizerStatistics(characters, sum(words.values()), pieces, unknown)


def _characters(text: str) -> str:
    """The text with lone surrogates (UTF-8 cannot hold them) replaced, one for one: offsets stay."""
    return text if text.isascii() or not _SURROGATE.search(text) else _SURROGATE.sub("\ufffd", text)


def _sentences(text: str) -> list[str]:
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[i:j] for i, j in pairwise(ends) if j > i]


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _read_plain(pattern: str | Path) -> Iterator[str]:
    """The lines of plain text files; other formats are read by unmask.data.corpus, above this layer."""
    files = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207 (an absolute pattern is allowed)
    if not files:
        raise UserError(f"no file matches {pattern}")
    for file in map(Path, files):
        if file.suffixes[-1:] not in (["", ".txt"], [".txt"], []) and file.suffixes[-2:] != [".txt", ".gz"]:
            raise UserError(
                f"{file} is not plain text",
                allowed=".txt, .txt.gz",
                for_other_files="train on the texts that unmask.data.corpus.read gives",
            )
        with (
            gzip.open(file, "rt", encoding="utf-8")
            if file.suffix == ".gz"
            else file.open(encoding="utf-8") as lines
        ):
            try:
                yield from lines
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{file} is not text in UTF-8", given=f"byte {error.start:,} of a block"
                ) from None
