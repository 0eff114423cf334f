"""The public files of tokenizers: tokenizer.json, made from BERT's vocab.txt and RoBERTa's vocab.json, and checked."""

import json
import string
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from unmask.config import config, setting
from unmask.errors import UserError
from unmask.text import folding
from unmask.text.public import specials
from unmask.text.public.specials import KEYS
from unmask.text.public.spelling import kind_of
from unmask.text.wordpiece import CONTINUATION

PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_MARKS = frozenset(string.punctuation)
_FACTS = ("single_word", "lstrip", "rstrip", "normalized", "special")  # of an added piece
MODEL_MAX_LENGTH = "model_max_length"  # what other libraries call the tokens that a model can read
SUPPORTED_FILES = "a folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt"
CONVERT = "open it with the library that it is of, and save it from there as tokenizer.json"


@config
class TokenizerConfig:
    """How a tokenizer is made."""

    vocab_size: int = setting(
        default=8192, ge=len(SPECIALS) + 1, le=2**24, description="pieces, the special ones included"
    )
    lowercase: bool = setting(default=True, description="treat capital and small letters alike")
    strip_accents: bool | None = setting(default=None, description="drop accents; null: as lowercase")
    tokenize_chinese_chars: bool = setting(default=True, description="make every Chinese character a word")
    fold_width: bool = setting(default=False, description="read full- and half-width forms as the ordinary characters")
    simplify: bool = setting(
        default=False,
        description="read traditional Chinese characters as simplified (made with the extra zh)",
    )
    min_frequency: int = setting(default=2, ge=1, description="characters and pairs seen less often are not used")
    character_coverage: float = setting(
        default=0.9999, gt=0, le=1, description="share of the text's characters that the alphabet covers"
    )
    alphabet_share: float = setting(
        default=0.8, gt=0, le=1, description="the alphabet's largest share of the vocabulary"
    )
    max_input_chars_per_word: int = setting(default=100, ge=1, description="a longer word becomes [UNK]")
    allow_fewer: bool = setting(
        default=False, description="be content with fewer pieces where the text supports no more"
    )


def normalizer(settings: TokenizerConfig) -> normalizers.Normalizer:
    """BERT's, after a folding of characters where one is asked for."""
    bert = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.tokenize_chinese_chars,
        strip_accents=settings.strip_accents,
        lowercase=settings.lowercase,
    )
    folded = folding.normalizer_map(settings.fold_width, settings.simplify)
    return normalizers.Sequence([normalizers.Precompiled(folded), bert]) if folded else bert


def bert_normalizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a tokenizer.json that is BERT's normaliser: the whole of it, or what follows a folding."""
    whole = settings.get("normalizer") or {}
    parts = whole.get("normalizers") if whole.get("type") == "Sequence" else None
    if isinstance(parts, list) and [part.get("type") for part in parts] == ["Precompiled", "BertNormalizer"]:
        whole = parts[1]
    return dict(whole)


def tokenizer_json(tokens: Sequence[str], settings: TokenizerConfig, names: Sequence[str] = SPECIALS) -> str:
    """The tokenizer.json of BERT's kind of a list of pieces; `names`: of the special ones, in the order of SPECIALS."""
    numbers = {piece: number for number, piece in enumerate(tokens)}
    _, unknown, cls, sep, _ = names
    model = models.WordPiece(
        numbers,
        unk_token=unknown,
        continuing_subword_prefix=CONTINUATION,
        max_input_chars_per_word=settings.max_input_chars_per_word,
    )
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizer(settings)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(cls, numbers[cls]), (sep, numbers[sep])],
    )
    backend.decoder = decoders.WordPiece(prefix=CONTINUATION)
    backend.add_special_tokens(list(names))
    return serialise(backend)


def serialise(backend: tokenizers.Tokenizer) -> str:
    """The tokenizer.json of a tokenizer of the library."""
    return backend.to_str(pretty=True) + "\n"


def read_description(file: Path, config: Mapping[str, Any]) -> str:
    """The tokenizer.json that a file holds or stands for; `config`: what the files beside it say.

    Raises UserError where it is neither of those that `Tokenizer.from_pretrained` reads.
    """
    if file.name in ("vocab.json", "merges.txt"):
        merges = file.with_name("merges.txt")
        return _with_added(_description_of_merges(file.with_name("vocab.json"), merges, config), file, config)
    if file.suffix == ".txt":
        return _with_added(_description_of_list(_text(file), file, config), file, config)
    return _text(file)


def _with_added(description: str, file: Path, config: Mapping[str, Any]) -> str:
    """With the pieces that were added to a vocabulary afterwards, whose ids follow the others."""
    more = specials.read_added_tokens(file, config)
    if not more:
        return description
    backend = tokenizers.Tokenizer.from_str(description)
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for piece, (number, facts) in sorted(more.items(), key=lambda item: item[1][0]):
        right = backend.token_to_id(piece)
        right = backend.get_vocab_size() if right is None else right
        if number != right:
            raise UserError(
                f"{file}: the pieces added to it do not follow its vocabulary",
                given=f"{piece!r} as {number}",
                allowed=right,
            )
        if piece in known:
            continue
        kept = {name: bool(facts[name]) for name in _FACTS if name in facts}
        backend.add_tokens([tokenizers.AddedToken(piece, **kept)])
    return serialise(backend)


def _text(file: Path) -> str:
    if not file.is_file():
        raise UserError(f"{file} does not exist", allowed=SUPPORTED_FILES)
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not a tokenizer", given=f"byte {error.start:,} is not UTF-8") from None


def _description_of_list(content: str, file: Path, config: Mapping[str, Any]) -> str:
    """Of BERT's vocab.txt; tokenizer_config.json may say how text is normalised."""
    pieces = content.removesuffix("\n").split("\n")
    pieces = [piece.removesuffix("\r") for piece in pieces]
    numbers: dict[str, int] = {}
    for line, piece in enumerate(pieces, 1):
        if numbers.setdefault(piece, line) != line:
            raise UserError(f"{file}, line {line:,}: {piece!r} is already on line {numbers[piece]:,}")
    names = _names(config, numbers, file)
    cased = any(piece != piece.lower() for piece in pieces if piece not in names and piece[:1] != "[")
    settings = TokenizerConfig(
        lowercase=config.get("do_lower_case", not cased),
        strip_accents=config.get("strip_accents"),
        tokenize_chinese_chars=config.get("tokenize_chinese_chars", True),
        fold_width=config.get("fold_width", False),
        simplify=config.get("simplify", False),
    )
    return tokenizer_json(pieces, settings, names)


def _names(config: Mapping[str, Any], pieces: Mapping[str, int], file: Path) -> list[str]:
    """The special pieces of a vocabulary that comes without a tokenizer.json, in the order of SPECIALS."""
    found = {role: specials.named_token(role, config, pieces, str(file)) for role in specials.ROLES}
    missing = [" / ".join(specials.NAMES[role]) for role, piece in found.items() if piece is None]
    if missing:
        raise UserError(
            f"{file} is not the vocabulary of an encoder",
            given=f"missing: {', '.join(missing)}",
            hint=f"use the tokenizer of a BERT model, or name its special pieces in {specials.CONFIG}",
        )
    return [piece for piece in found.values() if piece is not None]


def _description_of_merges(vocabulary: Path, merges: Path, config: Mapping[str, Any]) -> str:
    """Of RoBERTa's vocab.json and merges.txt: byte-level BPE (Radford et al. 2019, section 2.2)."""
    numbers = json_object(_text(vocabulary), str(vocabulary))
    if not all(isinstance(number, int) for number in numbers.values()):
        raise UserError(f"{vocabulary} is not a vocabulary", allowed="pieces, each with its id")
    if any(piece.endswith("</w>") for piece in numbers):
        raise UserError(f"{vocabulary} is no byte-level vocabulary", given="pieces that end in </w>", hint=CONVERT)
    pairs = []
    for line, text in enumerate(_text(merges).split("\n"), 1):
        if not text.strip() or (line == 1 and text.startswith("#version")):
            continue
        pair = text.rstrip("\r").split(" ")
        wrong = next((piece for piece in (*pair, "".join(pair)) if piece not in numbers), None)
        if len(pair) != 2 or wrong is not None:
            raise UserError(
                f"{merges}, line {line:,}: it does not fit {vocabulary.name}",
                given=text if len(pair) != 2 else f"{wrong!r} is not in it",
                allowed="two pieces with a blank between them, which together are a piece",
            )
        pairs.append((pair[0], pair[1]))
    names = _names(config, numbers, vocabulary)
    prefix = bool(config.get("add_prefix_space", False))
    backend = tokenizers.Tokenizer(models.BPE(numbers, pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    pad, unknown, cls, sep, mask = names
    ends = (sep, numbers[sep]), (cls, numbers[cls])
    if cls.startswith("["):  # DeBERTa's way with the same files
        backend.post_processor = processors.BertProcessing(*ends)
    else:
        backend.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=prefix)
    backend.add_special_tokens([pad, unknown, cls, sep, tokenizers.AddedToken(mask, lstrip=True)])
    return serialise(backend)


def json_object(content: str, origin: str) -> dict[str, Any]:
    """A JSON object. Raises UserError for anything else."""
    try:
        found = json.loads(content)
    except json.JSONDecodeError as error:
        raise UserError(f"{origin}, line {error.lineno} is not valid JSON", given=error.msg) from None
    if not isinstance(found, dict):
        raise UserError(f"{origin} is not a JSON object", given=type(found).__name__)
    return found


def check_description(description: str, origin: str) -> dict[str, Any]:
    """The content of a tokenizer.json. Raises UserError where it is none."""
    settings = json_object(description, origin)
    model = settings.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        missing = "model" if not isinstance(model, dict) else "model.vocab"
        raise UserError(
            f"{origin} is not a tokenizer", given=f"missing: {missing}", allowed="a tokenizer.json of an encoder"
        )
    return {**settings, "added_tokens": settings.get("added_tokens") or []}


def is_of_bert(settings: Mapping[str, Any]) -> bool:
    """Whether BERT's own class of other libraries would read the vocabulary alike, and words are what BERT cuts."""
    normaliser, cut = bert_normalizer(settings), settings.get("pre_tokenizer") or {}
    model = settings["model"]
    return (
        (kind_of(model), normaliser.get("type")) == ("WordPiece", "BertNormalizer")
        and cut.get("type") == "BertPreTokenizer"
        and model.get("continuing_subword_prefix") == CONTINUATION
    )


def plain_backend(
    whole: tokenizers.Tokenizer, settings: Mapping[str, Any], special_tokens: Set[str]
) -> tokenizers.Tokenizer | None:
    """`whole` such that no text becomes one of `pieces`, with the same vocabulary in memory; None where that takes
    another one (`specials.out_of_reach`).

    BERT cuts at each punctuation mark, so that no word is "[CLS]"; it is found in a text as an added token only.
    """
    added = {token["content"] for token in settings["added_tokens"]}
    apart = all(
        len(piece) > 1 and not piece.startswith(CONTINUATION) and not _MARKS.isdisjoint(piece)
        for piece in special_tokens
    )
    if not (is_of_bert(settings) and added <= special_tokens and apart):
        return None
    found = tokenizers.Tokenizer(whole.model)
    found.normalizer, found.pre_tokenizer = whole.normalizer, whole.pre_tokenizer
    return found


def tokens_of(backend: tokenizers.Tokenizer, settings: Mapping[str, Any], origin: str) -> list[str]:
    """The pieces by id. Raises UserError where the ids have holes or the parts of the file do not fit each other."""
    vocabulary = settings["model"]["vocab"]
    added = {token["content"]: token["id"] for token in settings["added_tokens"]}
    if isinstance(vocabulary, dict):  # as read, which takes less time than asking for all of it
        numbers = {**vocabulary, **{piece: backend.token_to_id(piece) for piece in added}}
    else:
        numbers = backend.get_vocab(with_added_tokens=True)
    pieces = sorted(numbers, key=numbers.__getitem__)
    listed = len(vocabulary) if isinstance(vocabulary, list) else 0
    if [numbers[piece] for piece in pieces] != list(range(max(len(pieces), listed))):
        given = f"{len(pieces):,} pieces with ids up to {max([*numbers.values(), listed - 1]):,}"
        raise UserError(f"{origin}: the ids of its pieces are not 0, 1, 2, ..., each once", given=given)
    for piece, number in added.items():
        if numbers[piece] != number:
            raise UserError(
                f"{origin}: its added_tokens do not fit its vocabulary",
                given=f"{piece!r} as {number}",
                allowed=numbers[piece],
            )
    return pieces


def backend(settings: Mapping[str, Any] | str, origin: str) -> tokenizers.Tokenizer:
    """The library's tokenizer of a tokenizer.json, or of its content, without the truncation and padding that it may
    ask for.

    Raises UserError where the library cannot read it, or would fail on some text.
    """
    try:
        text = settings if isinstance(settings, str) else json.dumps(settings, ensure_ascii=False)
        found = tokenizers.Tokenizer.from_str(text)
        found.no_truncation()
        found.no_padding()
        found.encode("\u0378 \U00020000 \ue000", add_special_tokens=False)  # characters that few vocabularies have
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{origin} cannot be read by the tokenizers library", given=error) from None
    return found


def public_config(
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    specials: specials.SpecialTokens,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The tokenizer_config.json with which other libraries read a tokenizer.json in the right way.

    config: what came with it; facts: what BERT's class is told of the normaliser.
    """
    names = {KEYS[role][0]: piece for role, piece in specials.special_tokens.items()}
    if is_of_bert(settings) and specials.is_of_bert:
        folded = facts["fold_width"] or facts["simplify"]
        return {
            # BERT's own class may make its normaliser anew from these settings, which cannot say a folding
            "tokenizer_class": "PreTrainedTokenizerFast" if folded else "BertTokenizer",
            "do_lower_case": facts["lowercase"],
            "strip_accents": bert_normalizer(settings)["strip_accents"],
            "tokenize_chinese_chars": facts["tokenize_chinese_chars"],
            **({"fold_width": facts["fold_width"], "simplify": facts["simplify"]} if folded else {}),
            **names,
        }
    # what else the file says is kept, but for places on the machine where it was made and code to be run
    kept = {
        key: value
        for key, value in config.items()
        if (isinstance(value, bool | int | float | str) or key.endswith("_token"))
        and not key.endswith("_file")
        and key not in ("name_or_path", "chat_template", "processor_class")
    }
    given = {key: config.get(key) or piece for key, piece in names.items()}
    # special_tokens_map.json may say how a piece is found in a text; here that must say what it is
    given = {k: {"__type": "AddedToken", **v} if isinstance(v, Mapping) else v for k, v in given.items()}
    return {"tokenizer_class": "PreTrainedTokenizerFast", **kept, **given}
