"""BERT's public tokenizer files, tokenizer.json and vocab.txt: made, read and checked."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from unmask.config import config, setting
from unmask.errors import UserError
from unmask.files import read_json
from unmask.text import folding
from unmask.text.wordpiece import CONTINUATION

PAD, UNKNOWN, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@config
class TokenizerConfig:
    """How a tokenizer is made."""

    vocabulary: int = setting(
        default=8192, ge=len(SPECIALS) + 1, le=2**24, description="pieces, the special ones included"
    )
    lowercase: bool = setting(default=True, description="treat capital and small letters alike")
    strip_accents: bool | None = setting(default=None, description="drop accents; null: as lowercase")
    chinese_characters: bool = setting(default=True, description="make every Chinese character a word")
    fold_width: bool = setting(
        default=False, description="read full- and half-width forms as the ordinary characters"
    )
    simplify: bool = setting(
        default=False,
        description="read traditional Chinese characters as simplified (made with the extra zh)",
    )
    minimum_count: int = setting(
        default=2, ge=1, description="characters and pairs seen less often are not used"
    )
    character_coverage: float = setting(
        default=0.9999, gt=0, le=1, description="share of the text's characters that the alphabet covers"
    )
    alphabet_share: float = setting(
        default=0.8, gt=0, le=1, description="the alphabet's largest share of the vocabulary"
    )
    max_word_characters: int = setting(default=100, ge=1, description="a longer word becomes [UNK]")
    fewer: bool = setting(
        default=False, description="be content with fewer pieces where the text supports no more"
    )


def normalizer(settings: TokenizerConfig) -> normalizers.Normalizer:
    """BERT's, after a folding of characters where one is asked for."""
    bert = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.chinese_characters,
        strip_accents=settings.strip_accents,
        lowercase=settings.lowercase,
    )
    folded = folding.normaliser_map(settings.fold_width, settings.simplify)
    return normalizers.Sequence([normalizers.Precompiled(folded), bert]) if folded else bert


def bert_normalizer(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of a tokenizer.json that is BERT's normaliser: the whole of it, or what follows a folding."""
    whole = settings.get("normalizer") or {}
    parts = whole.get("normalizers") if whole.get("type") == "Sequence" else None
    if isinstance(parts, list) and [part.get("type") for part in parts] == ["Precompiled", "BertNormalizer"]:
        whole = parts[1]
    return dict(whole)


def description(pieces: Sequence[str], settings: TokenizerConfig) -> str:
    """The tokenizer.json of a list of pieces."""
    numbers = {piece: number for number, piece in enumerate(pieces)}
    model = models.WordPiece(
        numbers,
        unk_token=UNKNOWN,
        continuing_subword_prefix=CONTINUATION,
        max_input_chars_per_word=settings.max_word_characters,
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{CLS}:0 $A:0 {SEP}:0",
        pair=f"{CLS}:0 $A:0 {SEP}:0 $B:1 {SEP}:1",
        special_tokens=[(CLS, numbers[CLS]), (SEP, numbers[SEP])],
    )
    backend.decoder = decoders.WordPiece(prefix=CONTINUATION)
    backend.add_special_tokens(list(SPECIALS))
    return backend.to_str()


def description_of_list(content: str, file: Path) -> str:
    """The tokenizer.json of a vocab.txt; a tokenizer_config.json beside it may say how text is normalised."""
    pieces = content.removesuffix("\n").split("\n")
    pieces = [piece.removesuffix("\r") for piece in pieces]
    numbers: dict[str, int] = {}
    for line, piece in enumerate(pieces, 1):
        if numbers.setdefault(piece, line) != line:
            raise UserError(f"{file}, line {line:,}: {piece!r} is already on line {numbers[piece]:,}")
    _require_specials(numbers, str(file))
    beside = file.with_name("tokenizer_config.json")
    given = read_json(beside) if beside.is_file() else {}
    cased = any(piece != piece.lower() for piece in pieces if piece not in SPECIALS and piece[:1] != "[")
    settings = TokenizerConfig(
        lowercase=given.get("do_lower_case", not cased),
        strip_accents=given.get("strip_accents"),
        chinese_characters=given.get("tokenize_chinese_chars", True),
        fold_width=given.get("fold_width", False),
        simplify=given.get("simplify", False),
    )
    return description(pieces, settings)


def _require_specials(pieces: Iterable[str], origin: str) -> None:
    missing = [piece for piece in SPECIALS if piece not in set(pieces)]
    if missing:
        raise UserError(
            f"{origin} is not a BERT vocabulary",
            missing=", ".join(missing),
            to_do="use the tokenizer of a BERT model, or train one with unmask tokenizer train",
        )


def checked(description: str, origin: str) -> dict[str, Any]:
    """The content of a tokenizer.json that is a BERT tokenizer; UserError says what it is instead."""
    try:
        settings = json.loads(description)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin}, line {error.lineno} is not valid JSON", given=error.msg) from None
    if not isinstance(settings, dict) or not isinstance(settings.get("model"), dict):
        raise UserError(
            f"{origin} is not a tokenizer", missing="model", allowed="a tokenizer.json of BERT's kind"
        )
    model = settings["model"]
    parts = {
        "model": (
            model.get("type", "WordPiece" if "max_input_chars_per_word" in model else None),
            "WordPiece",
        ),
        "prefix": (model.get("continuing_subword_prefix"), CONTINUATION),
        "unknown piece": (model.get("unk_token"), UNKNOWN),
        "normalizer": (bert_normalizer(settings).get("type"), "BertNormalizer"),
        "pre_tokenizer": ((settings.get("pre_tokenizer") or {}).get("type"), "BertPreTokenizer"),
    }
    for part, (given, allowed) in parts.items():
        if given != allowed:
            raise UserError(
                f"{origin} is not a BERT tokenizer: its {part} differs", given=given, allowed=allowed
            )
    if not isinstance(model.get("vocab"), dict):
        raise UserError(f"{origin} is not a tokenizer", missing="model.vocab")
    added = settings.setdefault("added_tokens", [])
    _require_specials([*model["vocab"], *(token["content"] for token in added)], origin)
    return settings


def backend(settings: dict[str, Any], origin: str) -> tokenizers.Tokenizer:
    """The library's tokenizer, without the truncation and padding that a file may ask for."""
    try:
        return tokenizers.Tokenizer.from_str(json.dumps({**settings, "truncation": None, "padding": None}))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{origin} cannot be read by the tokenizers library", given=error) from None
