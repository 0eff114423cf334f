"""The public files of tokenizers: tokenizer.json, made from BERT's vocab.txt and RoBERTa's vocab.json, and checked."""

import json
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from unmask import console
from unmask.config import config, from_mapping, setting
from unmask.errors import UserError
from unmask.files import read_object, read_text
from unmask.text import folding
from unmask.text.public import specials
from unmask.text.public.vocabulary import read_tokens
from unmask.text.wordpiece import CONTINUATION, MAX_WORD_CHARACTERS

PAD, UNK, CLS, SEP, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")  # of an added token
MODEL_MAX_LENGTH = "model_max_length"  # what other libraries call the tokens that a model can read
_OF_BERT = {  # our settings of a component, with their keys in tokenizer_config.json and the defaults of the class
    "lowercase": ("do_lower_case", True),
    "strip_accents": ("strip_accents", None),
    "handle_chinese_chars": ("tokenize_chinese_chars", True),
}
_OF_ROBERTA = {"add_prefix_space": ("add_prefix_space", False)}
_CONFIGURED: dict[
    str, tuple[str, str, dict[str, tuple[str, Any]]]
] = {  # by class, and by model_type where none is named
    **dict.fromkeys(("BertTokenizer", "bert"), ("normalizer", "BertNormalizer", _OF_BERT)),
    **dict.fromkeys(("DistilBertTokenizer", "distilbert"), ("normalizer", "BertNormalizer", _OF_BERT)),
    **dict.fromkeys(("ElectraTokenizer", "electra"), ("normalizer", "BertNormalizer", _OF_BERT)),
    **dict.fromkeys(("RobertaTokenizer", "roberta"), ("pre_tokenizer", "ByteLevel", _OF_ROBERTA)),
}
_FEW_CAPITALS = 0.1  # of the tokens that have letters of two cases: BERT's cased vocabularies have a third or more
SUPPORTED_FILES = "a folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt"
CONVERT = "open it with its own library and save it as tokenizer.json"


@config
class TokenizerConfig:
    """How a tokenizer is made."""

    vocab_size: int = setting(default=8192, ge=len(SPECIALS) + 1, le=2**24, description="tokens, special ones included")
    lowercase: bool = setting(default=True, description="treat capital and small letters alike")
    strip_accents: bool | None = setting(default=None, description="drop accents; null: as lowercase")
    tokenize_chinese_chars: bool = setting(default=True, description="make every Chinese character a word")
    fold_width: bool = setting(default=False, description="read full- and half-width forms as the ordinary characters")
    simplify: bool = setting(default=False, description="read traditional Chinese characters as simplified (extra zh)")
    min_frequency: int = setting(default=2, ge=1, description="characters and pairs seen less often are not used")
    allow_fewer: bool = setting(default=False, description="accept fewer tokens where the text supports no more")


def normalizer(settings: TokenizerConfig) -> normalizers.Normalizer:
    """BERT's, after a folding of characters where one is asked for."""
    bert = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.tokenize_chinese_chars,
        strip_accents=settings.strip_accents,
        lowercase=settings.lowercase,
    )
    if not (settings.fold_width or settings.simplify):
        return bert
    folded = normalizers.Precompiled(folding.normalizer_map(settings.fold_width, settings.simplify))
    return normalizers.Sequence([folded, bert])


def bert_normalizer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a tokenizer.json that is BERT's normaliser: the whole of it, or what follows a folding."""
    whole = settings.get("normalizer") or {}
    parts = whole.get("normalizers", [])
    folded = [part.get("type") for part in parts] == ["Precompiled", "BertNormalizer"]
    return dict(parts[1] if folded else whole)


def tokenizer_json(tokens: Sequence[str], settings: TokenizerConfig, names: Sequence[str] = SPECIALS) -> str:
    """The tokenizer.json of BERT's kind of a list of tokens; `names`: the special ones, in the order of SPECIALS."""
    numbers = {token: number for number, token in enumerate(tokens)}
    _, unknown, cls, sep, _ = names
    model = models.WordPiece(
        numbers,
        unk_token=unknown,
        continuing_subword_prefix=CONTINUATION,
        max_input_chars_per_word=MAX_WORD_CHARACTERS,
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
    """The tokenizer.json that a file holds or stands for; `config`: the content of the files beside it.

    Raises UserError where it is none of those that `Tokenizer.from_pretrained` reads.
    """
    if file.name in ("vocab.json", "merges.txt"):
        return _with_added(_description_of_merges(file.with_name("vocab.json"), config), file, config)
    if file.suffix == ".txt":
        return _with_added(_description_of_list(file, config), file, config)
    return _with_added(_as_configured(_text(file), file, config), file, config)


def _as_configured(description: str, file: Path, config: Mapping[str, Any]) -> str:
    """A tokenizer.json as the class of transformers reads it that the files beside it name: BERT's and RoBERTa's take
    some settings from tokenizer_config.json, or their own defaults, whatever tokenizer.json has."""
    beside = file.with_name("config.json")
    name = config.get("tokenizer_class") or (read_object(beside).get("model_type") if beside.is_file() else None)
    part, kind, keys = _CONFIGURED.get(str(name).removesuffix("Fast"), ("", "", {}))
    component = content(description).get(part) or {}
    values = {ours: config.get(key, default) for ours, (key, default) in keys.items()}
    changed = {ours: value for ours, value in values.items() if component.get(ours) != value}
    if component.get("type") != kind or not changed:
        return description
    console.note(
        "{path}: {settings}, where transformers looks for it, not in {file}",
        file.with_name(specials.CONFIG),
        ", ".join(f"{keys[ours][0]} {json.dumps(value)}" for ours, value in changed.items()),
        file.name,
    )
    settings = {**content(description), part: {**component, **changed}}
    return serialise(backend(settings, str(file)))


def _with_added(description: str, file: Path, config: Mapping[str, Any]) -> str:
    """With the tokens that the files beside it add, or have found in a text in another way than it does."""
    listed = _added_tokens(file, config)
    known = {token["content"]: token for token in content(description).get("added_tokens") or ()}
    added = [facts for _, facts in sorted(listed.items())]
    markers = [m if isinstance(m, Mapping) else {"content": m} for m in specials.named_markers(config)]
    added += [{**m, "special": True} for m in markers if m["content"] not in {*known, *(a["content"] for a in added)}]
    new = []
    for facts in added:
        flags = {name: bool(facts[name]) for name in _FLAGS if name in facts}
        if (before := known.get(facts["content"])) is None or any(before[name] != flags[name] for name in flags):
            new.append(tokenizers.AddedToken(facts["content"], **flags))
    backend = tokenizers.Tokenizer.from_str(description) if new else None
    if backend is not None:
        backend.add_tokens(new)
    for number, facts in listed.items():
        token = facts["content"]
        place = known[token]["id"] if backend is None else backend.token_to_id(token)
        if place != number:
            given, allowed = f"{token!r} as {number}", f"{token!r} as {place}, or the tokens before it as well"
            raise UserError(
                f"{file}: the tokens added to it do not follow its vocabulary", given=given, allowed=allowed
            )
    return description if backend is None else serialise(backend)


def _added_tokens(file: Path, config: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Added tokens by id. Raises UserError where the file that lists them names no ids or no tokens."""
    path, older = file.with_name(specials.CONFIG), file.with_name("added_tokens.json")
    try:
        added = {int(number): facts for number, facts in config.get("added_tokens_decoder", {}).items()}
        if older.is_file():
            path = older
            added = {int(number): {"content": token} for token, number in read_object(path).items()} | added
        if all(isinstance(facts["content"], str) for facts in added.values()):
            return added
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise UserError("{path}: the tokens added to the vocabulary cannot be read", path, allowed="tokens and their ids")


@lru_cache(maxsize=1)  # it is read for several ends, and takes 20 ms
def content(description: str) -> Mapping[str, Any]:
    """The content of a tokenizer.json; none of what is no such file, which the library refuses."""
    try:
        settings = json.loads(description)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) and "model" in settings else {}


def _text(file: Path) -> str:
    if not file.is_file():
        raise UserError("{path} does not exist", file, allowed=SUPPORTED_FILES)
    return read_text(file)


def _description_of_list(file: Path, config: Mapping[str, Any]) -> str:
    """Of BERT's vocab.txt; tokenizer_config.json may say how text is normalised."""
    if not file.is_file():
        raise UserError("{path} does not exist", file, allowed=SUPPORTED_FILES)
    tokens = read_tokens(file, _added_tokens(file, config))
    numbers = {token: number for number, token in enumerate(tokens)}
    names = [specials.required_token(role, config, numbers, str(file)) for role in specials.ROLES]
    alike = ("strip_accents", "tokenize_chinese_chars", "fold_width", "simplify")
    settings = {name: config[name] for name in alike if name in config}
    settings["lowercase"] = config.get("do_lower_case")
    if settings["lowercase"] is None:
        settings["lowercase"] = _is_lowercase([token for token in tokens if token not in names], file)
    return tokenizer_json(tokens, from_mapping(TokenizerConfig, settings, str(file.with_name(specials.CONFIG))), names)


def _is_lowercase(tokens: Sequence[str], file: Path) -> bool:
    """Whether a vocabulary is of texts in lower case, as the tokens tell where no file beside them does: transformers
    then takes every one for that. A few tokens with capitals are those that somebody put into a vocabulary later."""
    capitals = sum(token != token.lower() for token in tokens if token[:1] != "[")
    lowercase = capitals <= _FEW_CAPITALS * sum(token.lower() != token.upper() for token in tokens)
    if capitals:
        console.note(
            "{path}: read as lower case (no do_lower_case): no text has its {count:,} tokens with capitals"
            if lowercase
            else "{path}: read as cased (no do_lower_case; transformers: lower case): {count:,} tokens with capitals",
            file,
            capitals,
        )
    return lowercase


def _description_of_merges(vocabulary: Path, config: Mapping[str, Any]) -> str:
    """Of RoBERTa's vocab.json and merges.txt: byte-level BPE (Radford et al. 2019, section 2.2)."""
    merges = vocabulary.with_name("merges.txt")
    try:
        numbers, pairs = models.BPE.read_file(str(vocabulary), str(merges))
        backend = tokenizers.Tokenizer(models.BPE(numbers, pairs))
    except Exception as error:  # the library raises Exception itself
        raise UserError(f"{vocabulary} and {merges.name} are not a vocabulary with its merges", given=error) from None
    if any(token.endswith("</w>") for token in numbers):
        raise UserError(f"{vocabulary} is not a byte-level vocabulary", given="tokens that end in </w>", hint=CONVERT)
    prefix = bool(config.get("add_prefix_space", False))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    backend.decoder = decoders.ByteLevel()
    pad, unknown, cls, sep, mask = (
        specials.required_token(role, config, numbers, str(vocabulary)) for role in specials.ROLES
    )
    ends = (sep, numbers[sep]), (cls, numbers[cls])
    backend.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=prefix)
    backend.add_special_tokens([pad, unknown, cls, sep, tokenizers.AddedToken(mask, lstrip=True)])
    return serialise(backend)


def lowercased(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer.json that makes text lower case before anything else, and drops no more accents than before."""
    before = settings.get("normalizer")
    if before and before.get("type") == "BertNormalizer":
        return {**settings, "normalizer": {**before, "lowercase": True, "strip_accents": bool(before["strip_accents"])}}
    parts = [{"type": "Lowercase"}, *([before] if before else [])]
    return {**settings, "normalizer": {"type": "Sequence", "normalizers": parts}}


def is_of_bert(backend: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> bool:
    """Whether BERT's own class of other libraries would read the vocabulary alike, and words are what BERT cuts."""
    return (
        isinstance(backend.model, models.WordPiece)
        and backend.model.continuing_subword_prefix == CONTINUATION
        and isinstance(backend.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and bert_normalizer(settings).get("type") == "BertNormalizer"
    )


def plain_backend(
    whole: tokenizers.Tokenizer, settings: Mapping[str, Any], special_tokens: Set[str]
) -> tokenizers.Tokenizer | None:
    """`whole` such that no text becomes a special token, with the same vocabulary in memory; None where that takes
    another one (`specials.without_matching`).

    BERT cuts at each punctuation mark, so that no word is "[CLS]"; it is found in a text as an added token only.
    """
    bracketed = all(len(token) > 1 and token[0] in "[<" for token in special_tokens)
    added = {token["content"] for token in settings["added_tokens"]}
    if not (is_of_bert(whole, settings) and added <= special_tokens and bracketed):
        return None
    found = tokenizers.Tokenizer(whole.model)
    found.normalizer, found.pre_tokenizer = whole.normalizer, whole.pre_tokenizer
    return found


def tokens_of(backend: tokenizers.Tokenizer, settings: Mapping[str, Any], origin: str) -> list[str]:
    """The tokens by id. Raises UserError where the ids have holes or the parts of the file do not fit each other."""
    vocab, added = settings["model"]["vocab"], settings["added_tokens"]
    listed = vocab if isinstance(vocab, dict) else {token: number for number, (token, _) in enumerate(vocab)}
    numbers = listed | {token["content"]: token["id"] for token in added}
    tokens = sorted(numbers, key=numbers.__getitem__)
    wrong = [token for token in added if backend.token_to_id(token["content"]) != token["id"]]
    if wrong or [numbers[token] for token in tokens] != list(range(backend.get_vocab_size())):
        given = [f"{token['content']!r} as {token['id']}" for token in wrong]
        raise UserError(f"{origin}: the ids of its tokens are not 0, 1, 2, ..., each once", given=given)
    return tokens


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
