"""Tokenizer: text to pieces and back, over the tokenizers library, with offsets into the original text.

Our own tokenizers are WordPiece; those of public checkpoints are read whatever their kind (WordPiece,
byte-level BPE, SentencePiece, ...). The text of users is only ever text: "[MASK]" or "</s>" in it is cut into
ordinary pieces unless `specials=True` asks for the mask. What is saved is what other libraries load unchanged.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
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
from unmask.text import folding, layout, places, specials, wordpiece
from unmask.text.layout import SPECIALS, TokenizerConfig
from unmask.text.lexicon import Words, inside_words
from unmask.text.specials import readable
from unmask.text.spelling import spelling_of
from unmask.text.words import WordCounter, read_plain

__all__ = ["Encoded", "Tokenizer", "TokenizerConfig", "TokenizerStatistics", "Training"]

T = TypeVar("T")

WORD_START, SENTENCE_START = 1, 2  # the bits of the flags of `pieces_of`
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")  # what `load` looks for in a folder, in this order
BATCH = 512  # texts given to the library at once where a stream is read

# a full-width digit one and a traditional character, and what foldings make of them (BERT's normaliser sets
# blanks around the latter)
_FOLDED = (("\uff11", "1"), ("\u6f22", "\u6c49"))
_CHINESE = "[\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]"
_BETWEEN_CHINESE = re.compile(f"(?<={_CHINESE}) (?={_CHINESE})")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text or pair as pieces, in parallel lists: [CLS] text [SEP] or [CLS] text [SEP] pair [SEP] under BERT."""

    ids: list[int]
    segments: list[int]  # under BERT 0 for the text and its specials, 1 for the pair and the last [SEP]
    # the piece's characters in the original text or pair, without a blank before; none of a blank; specials (0, 0)
    offsets: list[tuple[int, int]]
    words: list[int | None]  # the number of the piece's word within its own text; None for specials
    special: list[bool]  # the pieces that encoding added around the texts
    truncated: bool = False  # whether pieces were left out to keep to max_length
    second: int | None = None  # where the pieces of the pair begin; None without a pair


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
    """A tokenizer as tokenizer.json describes it. Made by `train` or `load`; safe to use from several threads."""

    training: Training | None = None

    def __init__(
        self, description: str, origin: str = "the tokenizer", config: Mapping[str, Any] | None = None
    ) -> None:
        """`description` is the content of a tokenizer.json, `config` what the files beside it say of special pieces;
        `origin` names it in errors."""
        settings = layout.checked(description, origin)
        self._config, self._settings = dict(config or {}), settings
        self._whole = layout.backend(description if settings["added_tokens"] else settings, origin)
        self.pieces: list[str] = layout.pieces_of(self._whole, settings, origin)
        self._ids = {piece: number for number, piece in enumerate(self.pieces)}
        self._description = description
        found = self._specials = specials.find(settings, self._config, self._ids, origin)
        self.roles, self.one, self.two = found.roles, found.one, found.two
        self.special_ids: list[int] = list(found.ids)
        self.cls_id, self.sep_id, self.pad_id = (
            self._ids[self.roles[role]] for role in ("cls", "sep", "pad")
        )
        self.unknown_id = self._ids.get(self.roles.get("unknown", ""))  # byte-level vocabularies need none
        plain = layout.plain(self._whole, settings, {self.pieces[number] for number in self.special_ids})
        self._plain = plain or layout.backend(self._hiding(self.special_ids), origin)
        self._spelling = spelling_of(settings)
        self._of_bert = layout.is_of_bert(settings)
        self._probe()

    def _hiding(self, numbers: Iterable[int]) -> dict[str, Any]:
        return specials.out_of_reach(self._settings, {self.pieces[number] for number in numbers})

    def _probe(self) -> None:
        """What happens to text before it is cut, found by trying."""
        normaliser = self._plain.normalizer

        def of(text: str) -> str:
            return (text if normaliser is None else normaliser.normalize_str(text)).strip(" \u2581")

        self.lowercase = of("A") == "a"
        self.strip_accents = of("\xe9") == "e"
        self.chinese_characters = " " in of("\u4e2d\u4e2d")  # each is a word
        self.fold_width, self.simplify = (of(given) == folded for given, folded in _FOLDED)

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
        for text in read_plain(texts) if isinstance(texts, str | Path) else texts:
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
        """Read a folder that holds tokenizer.json, vocab.txt, or vocab.json and merges.txt; or one of these files.

        tokenizer_config.json and special_tokens_map.json beside it say which pieces are special, where it does
        not. Raises UserError where that is no tokenizer of an encoder, saying what is missing.
        """
        path = file = Path(path)
        if path.is_dir():
            found = [path / name for name in _FILES if (path / name).is_file()]
            if not found:
                raise UserError(
                    f"{path} holds no tokenizer",
                    allowed=layout.ALLOWED,
                    hint=[
                        f"unmask tokenizer train FILES --out {path}",
                        layout.CONVERT if any(path.glob("*.model")) else None,
                    ],
                )
            file = found[0]
        config = specials.beside(file)
        return cls(layout.description_of(file, config), str(file), config)

    def save(self, folder: Path | str, length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json, and vocab.txt where it is WordPiece: all whole or none.

        length: tokens that the model beside it can read, at which other libraries cut where nothing else was said.
        """
        folder = Path(folder)
        facts = ("lowercase", "chinese_characters", "fold_width", "simplify")
        told = {name: getattr(self, name) for name in facts}
        public = layout.public(self._settings, self._config, self._specials, told)
        if (cut := self._config.get(layout.LENGTH) or length) is not None:
            public[layout.LENGTH] = cut
        contents = {"tokenizer.json": self._json, specials.CONFIG: json_text(public)}
        if self.kind == "WordPiece":
            contents["vocab.txt"] = "".join(f"{piece}\n" for piece in self.pieces)
        with ExitStack() as written:  # takes their names when all are written, tokenizer.json last
            for name, content in contents.items():
                written.enter_context(atomic(folder / name)).write_text(content, encoding="utf-8", newline="")

    def __repr__(self) -> str:
        case = "lower case" if self.lowercase else "cased"
        kind = "" if self._of_bert else f"{self.kind}, "
        return f"Tokenizer({self.vocabulary:,} pieces, {kind}{case}, sha256 {self.sha256[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and (self._json, self.roles) == (other._json, other.roles)

    def __hash__(self) -> int:
        return hash(self._json)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self._json, "the tokenizer", self._config)

    @cached_property
    def _json(self) -> str:
        """As it is saved: without truncation and padding, which are for those who encode to say."""
        cut = self._settings.get("truncation") or self._settings.get("padding")
        return layout.written(self._whole) if cut else self._description

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

    @property
    def kind(self) -> str:
        """WordPiece, byte-level BPE, BPE, Unigram (SentencePiece's) or WordLevel."""
        return self._spelling.kind

    @property
    def mask(self) -> str:
        """The piece that stands for what is to be found. Raises UserError where the tokenizer has none."""
        if "mask" not in self.roles:
            raise UserError(
                "the tokenizer has no mask token",
                given=f"missing: {' / '.join(specials.NAMES['mask'])}",
                hint=f'name one of its pieces in {specials.CONFIG} beside it, as "mask_token"',
            )
        return self.roles["mask"]

    @property
    def mask_id(self) -> int:
        return self._ids[self.mask]

    @cached_property
    def ordinary_ids(self) -> NDArray[np.int64]:
        """The ids of the pieces that stand for text, rising: neither special nor waiting for a meaning."""
        ordinary = np.array([not specials.is_unused(piece) for piece in self.pieces])
        ordinary[self.special_ids] = False
        return np.flatnonzero(ordinary)

    def spelled(self, number: int) -> str:
        """What a piece stands for in a text, with the blank before it where it holds one."""
        return self._spelling.text(self.piece_of(number))

    def shown(self, number: int) -> str:
        """A piece for people to read."""
        return self._spelling.shown(self.piece_of(number))

    def normalised(self, text: str) -> str:
        """A text as it is before it is cut: lower case, folded, without accents, as the tokenizer has it."""
        normaliser = self._plain.normalizer
        return text if normaliser is None else str(normaliser.normalize_str(readable(text)))

    def grown(self, pieces: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with further pieces, whose ids follow the others. As a word is cut into the longest
        pieces that fit, those are used from then on. Raises UserError for any kind but BERT's WordPiece.
        """
        model = self._settings["model"]
        if self.kind != "WordPiece" or model.get("continuing_subword_prefix") != wordpiece.CONTINUATION:
            raise UserError(
                f"a vocabulary of the kind {self.kind} cannot grow",
                given="its text is cut by merges or probabilities that were learnt, which new pieces have not",
                allowed="WordPiece, as in BERT",
                hint="train a tokenizer on your text, and pretrain with it: unmask tokenizer train",
            )
        added = {piece: self.vocabulary + number for number, piece in enumerate(pieces)}
        grown = {**self._settings, "model": {**model, "vocab": {**model["vocab"], **added}}}
        description = layout.written(layout.backend(grown, "the tokenizer"))
        return Tokenizer(description, config=self._config)

    @cached_property
    def word_start(self) -> NDArray[np.bool_]:
        """(vocabulary,) whether a word begins with the piece, as far as the piece alone tells."""
        return np.array([self._spelling.starts(piece) for piece in self.pieces])

    @cached_property
    def _blank(self) -> NDArray[np.bool_]:
        return np.array([self._spelling.is_blank(piece) for piece in self.pieces])

    @cached_property
    def _masking(self) -> tokenizers.Tokenizer:
        """As `_plain`, but the mask in a text is the mask; the other specials stay ordinary text."""
        others = [number for number in self.special_ids if number != self.mask_id]
        settings = specials.readable_mask(self._hiding(others), self.mask, self.mask_id)
        return layout.backend(settings, "the tokenizer")

    def encode(
        self, text: str, pair: str | None = None, max_length: int | None = None, *, specials: bool = False
    ) -> Encoded:
        """A text, or a pair, with the special pieces around. With `specials`, "[MASK]" (`mask`) in it is the mask.

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
        flat = [readable(text) for text in chain(texts, (other for other in others if other is not None))]
        encodings: Sequence[Any] = backend.encode_batch(flat, add_special_tokens=False)
        if not self._of_bert:  # there the library tells words and places as we do
            encodings = places.place(flat, encodings, self._blank).cuts()
        seconds = iter(encodings[len(texts) :])
        return [
            self._assemble(first, None if other is None else next(seconds), max_length)
            for first, other in zip(encodings[: len(texts)], others, strict=True)
        ]

    def _assemble(self, first: Any, second: Any, max_length: int | None) -> Encoded:
        """The pieces of one or two texts as one sequence."""
        frame = self.one if second is None else self.two
        sizes = [len(first)] if second is None else [len(first), len(second)]
        keep = sizes if max_length is None else self._kept(sizes, max_length - frame.size, max_length)
        ids, segments = list(frame.runs[0]), list(frame.run_segments[0])
        offsets, special = [(0, 0)] * len(ids), [True] * len(ids)
        words: list[int | None] = [None] * len(ids)
        begin = 0
        for number, (text, kept) in enumerate(zip((first, second), keep, strict=False)):
            begin, run = len(ids), frame.runs[number + 1]
            ids += text.ids[:kept]
            ids += run
            segments += [frame.text_segments[number]] * kept
            segments += frame.run_segments[number + 1]
            offsets += text.offsets[:kept]
            offsets += [(0, 0)] * len(run)
            words += text.word_ids[:kept]
            words += [None] * len(run)
            special += [False] * kept
            special += [True] * len(run)
        return Encoded(
            ids, segments, offsets, words, special, keep != sizes, None if second is None else begin
        )

    @staticmethod
    def _kept(sizes: list[int], room: int, max_length: int) -> list[int]:
        """How many pieces of each text are kept: in a pair, the longer one is cut first."""
        if room < len(sizes):
            least = max_length - room + len(sizes)
            raise UserError(f"max_length {max_length} leaves no room for text", allowed=f"{least} or more")
        if len(sizes) == 1:
            return [min(sizes[0], room)]
        keep = min(sizes[0], max(room - sizes[1], room - room // 2))
        return [keep, min(sizes[1], room - keep)]

    def pieces_of(
        self, texts: Sequence[str], words: Words | None = None
    ) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Each text as ids (pieces,) int32, without specials, and flags (pieces,) uint8.

        Bit 0 of a flag: a word starts here. Bit 1: a sentence does (see _SENTENCE_END for what ends one).
        By themselves Chinese characters are words; with `words`, which cuts a sentence into its words, those
        inside a word start none. Raises UserError when what `words` gives is not in the sentence.
        """
        given = [readable(text) for text in texts]
        if not self._of_bert:
            return self._placed_pieces(given, words)
        sentences: list[str] = []
        counts = []
        for text in given:
            before = len(sentences)
            sentences += places.sentences(text)
            counts.append(len(sentences) - before)
        encode = self._plain.encode_batch_fast if words is None else self._plain.encode_batch
        encodings = encode(sentences, add_special_tokens=False)
        sizes = np.fromiter(map(len, encodings), np.int64, len(encodings))
        ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, int(sizes.sum()))
        flags = self.word_start[ids].astype(np.uint8) * WORD_START
        if words is not None:
            starts = (place for e in encodings for place, _ in e.offsets)
            inside = inside_words(sentences, words, np.fromiter(starts, np.int64, len(ids)), sizes)
            flags[inside] &= ~np.uint8(WORD_START)
        firsts = np.cumsum(sizes) - sizes
        flags[firsts[sizes > 0]] |= SENTENCE_START
        ends = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum(counts, dtype=np.int64)]
        return _split(ids, flags, ends)

    def _placed_pieces(
        self, texts: list[str], words: Words | None
    ) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Of a tokenizer that cuts a sentence otherwise by itself than in its text."""
        placed = places.place(texts, self._plain.encode_batch(texts, add_special_tokens=False), self._blank)
        begins = placed.sentence_starts(texts)
        fresh = placed.fresh
        if words is not None:
            fresh = fresh & ~inside_words(texts, words, placed.starts, placed.sizes)
        flags = (fresh | begins) * np.uint8(WORD_START) | begins * np.uint8(SENTENCE_START)
        return _split(placed.ids.astype(np.int32), flags.astype(np.uint8), np.cumsum(placed.sizes))

    def decode(self, ids: Iterable[int], *, specials: bool = False) -> str:
        """The text that the pieces spell, as far as can be told; with `specials`, special pieces too."""
        text = self._whole.decode([int(number) for number in ids], skip_special_tokens=not specials)
        return _BETWEEN_CHINESE.sub("", text) if self.chinese_characters else text

    def statistics(self, texts: Iterable[str]) -> TokenizerStatistics:
        """How well the vocabulary suits some texts. Reads a stream in bounded memory."""
        total = np.zeros(4, np.int64)
        for batch in _batches(texts, BATCH):
            pieces = self.pieces_of(batch)
            ids = np.concatenate([ids for ids, _ in pieces])
            words = sum(int((flags & WORD_START).sum()) for _, flags in pieces)
            unknown = 0 if self.unknown_id is None else (ids == self.unknown_id).sum()
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


def _split(
    ids: NDArray[np.int32], flags: NDArray[np.uint8], ends: NDArray[np.int64]
) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    begins = [0, *ends[:-1].tolist()]
    return [(ids[i:j], flags[i:j]) for i, j in zip(begins, ends.tolist(), strict=False)]


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
