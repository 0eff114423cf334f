"""Tokenizer: text to tokens and back, over the tokenizers library, with offsets into the original text.

Our own tokenizers are WordPiece; those of public checkpoints are read whatever their kind (WordPiece,
byte-level BPE, SentencePiece, ...). The text of users is only ever text: "[MASK]" or "</s>" in it is cut into
ordinary tokens unless `add_special_tokens=True` asks for the mask. Special tokens beside those of the roles, such as
the markers "[E1]" and "[/E1]", are read in a text as other libraries do, whom what is saved loads unchanged.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from unmask.config import dump, from_mapping
from unmask.console import SILENT, Progress
from unmask.errors import UserError
from unmask.files import atomic, json_text
from unmask.text import folding, wordpiece
from unmask.text.encoding import Encoding, Padding, TokenCounts, assemble, assemble_arrays, model_inputs
from unmask.text.lexicon import Words, continues_word
from unmask.text.public import layout, specials
from unmask.text.public.alignment import align_tokens, first_of_each, split_sentences
from unmask.text.public.beginning import encode_beginnings, safe_cut, with_long_runs, without_long_runs
from unmask.text.public.layout import SPECIALS, TokenizerConfig
from unmask.text.public.specials import SPECIAL_TOKEN, TokenArrays, readable
from unmask.text.public.spelling import detect_spelling
from unmask.text.public.vocabulary import note_differences
from unmask.text.words import WordCounter, read_plain

__all__ = ["SPECIAL_TOKEN", "Encoding", "Tokenizer", "TokenizerConfig"]

WORD_START, SENTENCE_START = 1, 2  # with SPECIAL_TOKEN the bits of the flags of `encode_texts`
_TENSORS = {"np": "numpy:array", "pt": "torch:tensor"}  # what makes them of lists; imported where asked for
_READ_TEXT = ("truncation_side", "split_special_tokens")  # settings of other libraries that change the ids of a text
_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")  # what `from_pretrained` looks for in a folder, in this order

# a full-width digit one and a traditional character, and what foldings make of them (BERT's normaliser sets
# blanks around the latter)
_FOLDED = {"\uff11": "1", "\u6f22": "\u6c49"}
_CHINESE = "[\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]"
_BETWEEN_CHINESE = re.compile(f"(?<={_CHINESE}) (?={_CHINESE})")


@dataclass(frozen=True)
class TrainingSummary(wordpiece.WordPieceVocabulary):
    """What training gave, and the text that it was made from. statistics: of that text."""

    texts: int
    distinct_words: int
    forgotten_words: int  # occurrences dropped to keep memory bounded (see words.WordCounter)
    statistics: TokenCounts


class Tokenizer:
    """A tokenizer as tokenizer.json describes it, made by `train` or `from_pretrained`. Safe for several threads."""

    training: TrainingSummary | None = None

    def __init__(
        self, description: str, origin: str = "the tokenizer", config: Mapping[str, Any] | None = None
    ) -> None:
        """`description` is the content of a tokenizer.json, `config` what the files beside it say of special tokens;
        `origin` names it in errors."""
        self._whole = layout.backend(description, origin)
        self._description, self._config = description, dict(config or {})
        self._settings = settings = {"added_tokens": [], **layout.content(description)}
        self.tokens: list[str] = layout.tokens_of(self._whole, settings, origin)
        self._token_ids = {token: number for number, token in enumerate(self.tokens)}
        self.special_tokens, self.all_special_ids, self._not_in_text, templates = specials.find_special_tokens(
            settings, self._config, self._token_ids, self._whole.post_processor, origin
        )
        self.single_template, self.pair_template = self._templates = templates
        self.cls_token_id, self.sep_token_id, self.pad_token_id = (
            self._token_ids[self.special_tokens[role]] for role in ("cls", "sep", "pad")
        )
        cut = (settings.get("truncation") or {}).get("direction", "Right")
        self.truncates_left = str(self._config.get("truncation_side", cut)).lower() == "left"
        # byte-level vocabularies need none
        self.unk_token_id = self._token_ids.get(self.special_tokens.get("unknown", ""))
        plain = layout.plain_backend(self._whole, settings, {self.tokens[number] for number in self._not_in_text})
        self._plain = plain or self._without(self._not_in_text)
        self._spelling = detect_spelling(settings, type(self._whole.model).__name__)
        self._is_bert = layout.is_of_bert(self._whole, settings)
        self._cuts_as_bert = self._is_bert and plain is not None  # and no text becomes an added token
        self._takes_blanks = any(token["lstrip"] or token["rstrip"] for token in settings["added_tokens"])
        # what happens to text before it is cut, detected by trying
        tried = {text: self.normalize(text).strip(" \u2581") for text in ("A", "\xe9", "\u4e2d\u4e2d", *_FOLDED)}
        self.lowercase, self.strip_accents = tried["A"] == "a", tried["\xe9"] == "e"
        self.tokenize_chinese_chars = " " in tried["\u4e2d\u4e2d"]  # each is a word
        self.fold_width, self.simplify = (tried[text] == folded for text, folded in _FOLDED.items())

    def _without(self, token_ids: Iterable[int]) -> tokenizers.Tokenizer:
        """A backend that makes these special tokens of no text."""
        settings = specials.without_matching(self._settings, {self.tokens[number] for number in token_ids})
        return layout.backend(settings, "the tokenizer")

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

        `overrides` are settings of TokenizerConfig: `Tokenizer.train("corpus/*.txt", vocab_size=8192)`.
        Raises UserError when the text supports fewer tokens, unless `allow_fewer`.
        """
        settings = from_mapping(TokenizerConfig, {**dump(settings or TokenizerConfig()), **overrides}, "the tokenizer")
        normalizer, cut = layout.normalizer(settings), pre_tokenizers.BertPreTokenizer()
        counter = WordCounter(
            lambda text: [word for word, _ in cut.pre_tokenize_str(normalizer.normalize_str(text))],
            ideographs=settings.tokenize_chinese_chars,
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
            settings.vocab_size,
            specials=SPECIALS,
            min_frequency=settings.min_frequency,
            allow_fewer=settings.allow_fewer,
            progress=progress,
        )
        tokenizer = cls(layout.tokenizer_json(vocabulary.tokens, settings))
        tokenizer.training = TrainingSummary(
            **vars(vocabulary),
            texts=counter.texts,
            distinct_words=len(words),
            forgotten_words=counter.dropped_occurrences,
            statistics=tokenizer._count_words(words, counter.characters),
        )
        return tokenizer

    @classmethod
    def from_pretrained(cls, path: Path | str) -> "Tokenizer":
        """Read a folder that holds tokenizer.json, vocab.txt, or vocab.json and merges.txt; or one of these files.

        tokenizer_config.json and special_tokens_map.json beside it say which tokens are special, where it does
        not. Raises UserError where that is no tokenizer of an encoder, naming what is missing.
        """
        path = Path(path)
        file = path if not path.is_dir() else next((f for name in _FILES if (f := path / name).is_file()), None)
        if file is None:
            convert = layout.CONVERT if any(path.glob("*.model")) else None
            raise UserError(
                f"{path} contains no tokenizer",
                allowed=layout.SUPPORTED_FILES,
                hint=[
                    "copy the tokenizer of this model as well"
                    if (path / "config.json").is_file()
                    else f"unmask tokenizer train FILES --output {path}",
                    convert,
                ],
            )
        config = specials.read_config_files(file)
        tokenizer = cls(layout.read_description(file, config), str(file), config)
        note_differences(file, tokenizer.tokens)
        return tokenizer

    def save_pretrained(self, folder: Path | str, model_max_length: int | None = None) -> None:
        """Write tokenizer.json and tokenizer_config.json, and vocab.txt where it is WordPiece: all whole or none.

        model_max_length: tokens that the model beside it can read, to which other libraries truncate by default.
        """
        folder = Path(folder)
        public = self._public_config()
        if (cut := self._config.get(layout.MODEL_MAX_LENGTH) or model_max_length) is not None:
            public[layout.MODEL_MAX_LENGTH] = cut
        contents = {"tokenizer.json": self._json, specials.CONFIG: json_text(public)}
        if self.kind == "WordPiece":
            contents["vocab.txt"] = "".join(f"{token}\n" for token in self.tokens)
        with ExitStack() as written:  # takes their names when all are written, tokenizer.json last
            for name, content in contents.items():
                written.enter_context(atomic(folder / name)).write_text(content, encoding="utf-8", newline="")

    def _public_config(self) -> dict[str, Any]:
        """The tokenizer_config.json with which other libraries read tokenizer.json in the right way."""
        names = {specials.KEYS[role][0]: token for role, token in self.special_tokens.items()}
        templates = specials.bert_templates(self.cls_token_id, self.sep_token_id)
        if self._is_bert and (self.single_template, self.pair_template) == templates:
            folded = {"fold_width": self.fold_width, "simplify": self.simplify}
            return {
                # BERT's own class may make its normaliser anew from these settings, which cannot say a folding
                "tokenizer_class": "PreTrainedTokenizerFast" if any(folded.values()) else "BertTokenizer",
                "do_lower_case": self.lowercase,
                "strip_accents": layout.bert_normalizer(self._settings)["strip_accents"],
                "tokenize_chinese_chars": self.tokenize_chinese_chars,
                **{key: self._config[key] for key in _READ_TEXT if key in self._config},
                **(folded if any(folded.values()) else {}),
                **names,
            }
        # what else the file says is kept, but for places on the machine where it was made and code to be run
        kept = {
            key: value
            for key, value in self._config.items()
            if (isinstance(value, bool | int | float | str) or key.endswith("_token"))
            and not key.endswith("_file")
            and key not in ("name_or_path", "chat_template", "processor_class")
        }
        # special_tokens_map.json may say how a token is found in a text; here that must say what it is
        given = {key: self._config.get(key) or token for key, token in names.items()}
        given = {k: {"__type": "AddedToken", **v} if isinstance(v, Mapping) else v for k, v in given.items()}
        return {"tokenizer_class": "PreTrainedTokenizerFast", **kept, **given}

    def __repr__(self) -> str:
        case = "lower case" if self.lowercase else "cased"
        kind = "" if self._is_bert else f"{self.kind}, "
        return f"Tokenizer({self.vocab_size:,} tokens, {kind}{case}, sha256 {self.sha256[:12]})"

    @cached_property
    def _json(self) -> str:
        """As it is saved: without truncation and padding, which are for those who encode to say."""
        cut = self._settings.get("truncation") or self._settings.get("padding")
        return layout.serialise(self._whole) if cut else self._description

    @property
    def vocab_size(self) -> int:
        """The number of tokens, the special ones included."""
        return len(self.tokens)

    @cached_property
    def sha256(self) -> str:
        """Of the content of tokenizer.json as `save_pretrained` writes it."""
        return hashlib.sha256(self._json.encode("utf-8")).hexdigest()

    def token_to_id(self, token: str) -> int:
        """Raises UserError where there is no such token."""
        if token not in self._token_ids:
            raise UserError(f"{token!r} is not a token of this tokenizer")
        return self._token_ids[token]

    def id_to_token(self, token_id: int) -> str:
        if not 0 <= token_id < len(self.tokens):
            raise UserError(f"{token_id} is not the id of a token", allowed=f"0 to {len(self.tokens) - 1:,}")
        return self.tokens[token_id]

    @property
    def kind(self) -> str:
        """WordPiece, byte-level BPE, BPE, Unigram (SentencePiece's) or WordLevel."""
        return self._spelling.kind

    @property
    def mask_token(self) -> str:
        """The token that masks others. Raises UserError where the tokenizer has none."""
        return self.special_tokens.get("mask") or specials.required_token("mask", {}, {}, "the tokenizer")

    @property
    def mask_token_id(self) -> int:
        return self._token_ids[self.mask_token]

    @cached_property
    def text_token_ids(self) -> NDArray[np.int64]:
        """The ids of the tokens that stand for text, rising: neither special nor reserved."""
        ordinary = np.array([specials.UNUSED.fullmatch(token) is None for token in self.tokens])
        ordinary[self.all_special_ids] = False
        return np.flatnonzero(ordinary)

    def token_text(self, token_id: int) -> str:
        """The text of a token, with the blank before it where it holds one."""
        return self._spelling.text(self.id_to_token(token_id))

    def display_token(self, token_id: int) -> str:
        """A token for people to read."""
        return self._spelling.display(self.id_to_token(token_id))

    def normalize(self, text: str) -> str:
        """A text as it is before it is cut: lower case, folded, without accents, as the tokenizer has it."""
        normaliser = self._plain.normalizer
        return text if normaliser is None else str(normaliser.normalize_str(readable(text)))

    def lowercased(self) -> "Tokenizer":
        """The same tokenizer for texts in lower case, whatever they are written in."""
        if self.lowercase:
            return self
        settings, config = layout.lowercased(self._settings), self._config
        if not self._is_bert:  # whose class alone makes the normaliser anew from the settings beside it
            config = {**config, "tokenizer_class": "PreTrainedTokenizerFast"}
        return Tokenizer(layout.serialise(layout.backend(settings, "the tokenizer")), config=config)

    def with_added_tokens(self, tokens: Sequence[str]) -> "Tokenizer":
        """The same tokenizer with further tokens, whose ids follow the others. As a word is cut into the longest
        tokens that fit, those are used from then on. Raises UserError for any kind but BERT's WordPiece.
        """
        model = self._settings["model"]
        if self.kind != "WordPiece" or model.get("continuing_subword_prefix") != wordpiece.CONTINUATION:
            raise UserError(
                f"a vocabulary of the kind {self.kind} cannot grow",
                allowed="WordPiece, as in BERT",
                hint="train a tokenizer on your text, and pretrain with it: unmask tokenizer train",
            )
        added = {token: self.vocab_size + number for number, token in enumerate(tokens)}
        grown = {**self._settings, "model": {**model, "vocab": {**model["vocab"], **added}}}
        description = layout.serialise(layout.backend(grown, "the tokenizer"))
        return Tokenizer(description, config=self._config)

    @cached_property
    def word_start(self) -> NDArray[np.bool_]:
        """(vocabulary,) whether a word begins with the token, as far as the token alone tells."""
        return np.array([self._spelling.starts_word(token) for token in self.tokens])

    @cached_property
    def _blank(self) -> NDArray[np.bool_]:
        return np.array([not self._spelling.text(token).strip() for token in self.tokens])

    @cached_property
    def _with_mask(self) -> tokenizers.Tokenizer:
        """As `_plain`, but the mask in a text is the mask; the other specials stay ordinary text."""
        others = [number for number in self._not_in_text if number != self.mask_token_id]
        backend = self._without(others)
        if all(token["content"] != self.mask_token for token in self._settings["added_tokens"]):
            backend.add_special_tokens([self.mask_token])
        return backend

    def encode(
        self,
        text: str,
        pair: str | None = None,
        max_length: int | None = None,
        *,
        add_special_tokens: bool = False,
    ) -> Encoding:
        """A text, or a pair, with the special tokens around. With `add_special_tokens`, "[MASK]" in it is the mask.

        More than `max_length` tokens (special ones included) are cut from the end, or from the beginning if
        `truncates_left` (as tokenizer_config.json says), in a pair from the longer text first, as BERT does;
        `truncated` says so. Raises UserError when that leaves no room for text.
        """
        return self.encode_batch([text], [pair], max_length, add_special_tokens=add_special_tokens)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str | None] | None = None,
        max_length: int | None = None,
        *,
        add_special_tokens: bool = False,
    ) -> list[Encoding]:
        """`encode` for many texts at once, on all cores."""
        backend = self._with_mask if add_special_tokens else self._plain
        others = list(pairs) if pairs is not None else [None] * len(texts)
        if len(others) != len(texts):
            raise ValueError(f"{len(texts)} texts but {len(others)} pairs")
        flat = [*texts, *(other for other in others if other is not None)]

        def encode(parts: Sequence[str]) -> Sequence[Any]:
            clean = [readable(part) for part in parts]
            encodings: Sequence[Any] = backend.encode_batch(clean, add_special_tokens=False)
            if self._is_bert and not self._takes_blanks:  # the library cuts words as we do
                return encodings
            return align_tokens(clean, encodings, self._blank).per_text()

        most = None if add_special_tokens else self._most(max_length)
        encodings, templates = encode_beginnings(flat, most, self._safe_cut, encode), self._templates
        seconds = iter(encodings[len(texts) :])
        return [
            assemble(templates, first, None if other is None else next(seconds), max_length, self.truncates_left)
            for first, other in zip(encodings[: len(texts)], others, strict=True)
        ]

    def encode_arrays(
        self, texts: Sequence[str], pairs: Sequence[str | None] | None = None, max_length: int | None = None
    ) -> tuple[list[TokenArrays], int]:
        """`encode` for many texts at once as arrays alone: of each its input_ids and token_type_ids (tokens,) int64
        and flags (tokens,) uint8, SPECIAL_TOKEN at the tokens that were added; and how many texts were truncated."""
        others = list(pairs) if pairs is not None else [None] * len(texts)
        flat = [*texts, *(other for other in others if other is not None)]
        templates, left = self._templates, self.truncates_left
        shorten = self._cuts_as_bert and self._settings["model"].get("max_input_chars_per_word", 100) <= 100

        def encode(parts: Sequence[str]) -> Sequence[list[int]]:
            clean = [readable(without_long_runs(part) if shorten else part) for part in parts]
            return [one.ids for one in self._plain.encode_batch_fast(clean, add_special_tokens=False)]

        cut = with_long_runs(self._safe_cut) if shorten else self._safe_cut
        ids = encode_beginnings(flat, self._most(max_length), cut, encode)
        seconds = iter(ids[len(texts) :])
        rows = [
            assemble_arrays(templates, first, None if other is None else next(seconds), max_length, left)
            for first, other in zip(ids[: len(texts)], others, strict=True)
        ]
        return [row for row, _ in rows], sum(truncated for _, truncated in rows)

    def _most(self, max_length: int | None) -> int | None:
        """How many tokens of a text are read; None where all are."""
        return None if max_length is None or self.truncates_left else max_length - self.single_template.size

    @cached_property
    def _safe_cut(self) -> re.Pattern[str] | None:
        return safe_cut(self._settings, self._cuts_as_bert, self.tokenize_chinese_chars)

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        *,
        padding: Padding = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: Literal["np", "pt"] | None = None,
    ) -> dict[str, Any]:
        """Encode texts, or pairs of texts, as the arguments of an encoder, in the manner of transformers.

        Returns input_ids, token_type_ids and attention_mask (1 at tokens, 0 at padding): a list of lists each (a list,
        for one text without tensors), or an array "np" or tensor "pt" (texts, length) int64, which needs padding or
        texts of one length. padding: to the longest, or to max_length; truncation: to max_length tokens, or to as many
        as the model beside the tokenizer can read. Raises UserError where truncation or padding has no length.
        """
        single = isinstance(texts, str)
        if truncation or padding == "max_length":
            max_length = max_length or self._config.get(layout.MODEL_MAX_LENGTH)
            if max_length is None:
                raise UserError("the tokenizer has no maximum length", hint="give max_length")
        encoded = self.encode_batch(
            [texts] if isinstance(texts, str) else texts,
            [pairs] if isinstance(pairs, str) else pairs,
            max_length if truncation else None,
        )
        columns = model_inputs(encoded, self.pad_token_id, padding, max_length)
        if return_tensors is not None:
            module, _, make = _TENSORS[return_tensors].partition(":")
            return {name: getattr(import_module(module), make)(rows) for name, rows in columns.items()}
        return {name: rows[0] if single else rows for name, rows in columns.items()}

    def encode_texts(
        self, texts: Sequence[str], words: Words | None = None
    ) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Each text as ids (tokens,) int32, without special ones, and flags (tokens,) uint8.

        Bit 0 of a flag: a word starts here. Bit 1: a sentence does (see _SENTENCE_END for what ends one). Bit 2: a
        special token, such as the marker of an entity, which is never masked.
        By themselves Chinese characters are words; with `words`, which cuts a sentence into its words, those
        inside a word start none. Raises UserError when what `words` gives is not in the sentence.
        """
        given = [readable(text) for text in texts]
        if self._is_bert:  # cuts a sentence by itself as in its text: without offsets, which takes less time
            cut = [split_sentences(text) for text in given]
            parts = list(chain.from_iterable(cut))
            encode = self._plain.encode_batch_fast if words is None else self._plain.encode_batch
            encodings = encode(parts, add_special_tokens=False)
            sizes = np.fromiter(map(len, encodings), np.int64, len(encodings))
            ids = np.fromiter(chain.from_iterable(e.ids for e in encodings), np.int32, int(sizes.sum()))
            positions = np.array(
                [start for e in encodings for start, _ in e.offsets] if words is not None else [], np.int64
            )
            starts_word, starts_sentence = self.word_start[ids], first_of_each(sizes)
            ends = np.append(0, np.cumsum(sizes))[np.cumsum([len(sentences) for sentences in cut], dtype=np.int64)]
        else:
            aligned = align_tokens(given, self._plain.encode_batch(given, add_special_tokens=False), self._blank)
            parts, sizes, positions = given, aligned.sizes, aligned.starts
            ids, starts_word = aligned.ids.astype(np.int32), aligned.starts_word
            starts_sentence, ends = aligned.sentence_starts(given), np.cumsum(sizes)
        if words is not None:
            starts_word = starts_word & ~continues_word(parts, words, positions, sizes)
        flags = (starts_word | starts_sentence) * np.uint8(WORD_START) | starts_sentence * np.uint8(SENTENCE_START)
        if markers := [number for number in self.all_special_ids if number not in self._not_in_text]:
            flags |= np.isin(ids, markers) * np.uint8(SPECIAL_TOKEN)
        return [(ids[i:j], flags[i:j]) for i, j in pairwise([0, *ends.tolist()])]

    def decode(self, ids: Iterable[int], *, specials: bool = False) -> str:
        """The text that the tokens spell, as far as they tell it; with `specials`, special tokens too."""
        text = self._whole.decode([int(number) for number in ids], skip_special_tokens=not specials)
        return _BETWEEN_CHINESE.sub("", text) if self.tokenize_chinese_chars else text

    def _count_words(self, words: Mapping[str, int], characters: int) -> TokenCounts:
        """The counts of a text from its words, already normalised, and how often each occurs."""
        model = tokenizers.Tokenizer(self._plain.model)
        counts = TokenCounts(characters, sum(words.values()))
        items = iter(words.items())
        while batch := list(islice(items, 2**16)):
            encodings = model.encode_batch_fast([word for word, _ in batch], add_special_tokens=False)
            for (_, count), encoding in zip(batch, encodings, strict=True):
                ids = encoding.ids
                counts.tokens += count * len(ids)
                counts.unknown += count * (ids == [self.unk_token_id])
        return counts
