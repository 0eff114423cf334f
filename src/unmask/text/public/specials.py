"""The special tokens of public tokenizers, and how they stand around texts: found in their files, never assumed.

What the model and the post-processor of tokenizer.json say comes first, since they act; then what
tokenizer_config.json and special_tokens_map.json name; then the usual names, where the vocabulary has them.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models

from unmask.errors import UserError
from unmask.files import read_object

CONFIG, MAP = "tokenizer_config.json", "special_tokens_map.json"

# the keys under which other libraries name the token of each role, and its usual names
KEYS = {
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "cls": ("cls_token", "bos_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}
ROLES = tuple(KEYS)
NAMES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>"),
    "unknown": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
# tokens that wait for a meaning: BERT's, T5's, fairseq's and those of byte-level vocabularies; CamemBERT's
UNUSED = re.compile(r"[\[<]\|?(?:unused|extra_id|madeupword|reserved)[\w-]*\|?[\]>]|.*NOTUSED")
# Unicode keeps this character for internal use: no text has it, see `Tokenizer`
RESERVED = "\U0010ffff"
SPECIAL_TOKEN = 4  # the flag of a special token
TokenArrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]  # input_ids, token_type_ids, flags
_NO_TEXT = re.compile(f"[\ud800-\udfff{RESERVED}]")


@dataclass(frozen=True)
class SpecialTokensTemplate:
    """The special tokens around one text, or around the two of a pair.

    runs: the ids before the first text, after it, and (of a pair) after the second; run_segments: their
    segments; text_segments: the segment of each text.
    """

    runs: tuple[tuple[int, ...], ...]
    run_token_type_ids: tuple[tuple[int, ...], ...]
    text_token_type_ids: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many special tokens there are."""
        return sum(map(len, self.runs))

    def around(self, texts: Sequence[NDArray[np.int64]]) -> TokenArrays:
        """Put the special tokens around the ids of one or two texts: input_ids, token_type_ids and flags."""
        count = self.size + sum(map(len, texts))
        ids, types = np.empty(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        flags = np.zeros(count, dtype=np.uint8)
        place = 0
        for number, run in enumerate(self.runs):
            if number:
                text, begin = texts[number - 1], place
                place += len(text)
                ids[begin:place], types[begin:place] = text, self.text_token_type_ids[number - 1]
            after = place + len(run)
            ids[place:after], types[place:after] = run, self.run_token_type_ids[number]
            flags[place:after] = SPECIAL_TOKEN
            place = after
        return ids, types, flags


Templates = tuple[SpecialTokensTemplate, SpecialTokensTemplate]  # around a text, and around a pair


def read_config_files(file: Path) -> dict[str, Any]:
    """What the files beside a tokenizer's say of it: special_tokens_map.json, and over it tokenizer_config.json."""
    found: dict[str, Any] = {}
    for name in (MAP, CONFIG):
        path = file.with_name(name)
        given = read_object(path) if path.is_file() else {}
        found |= {key: value for key, value in given.items() if value is not None or key not in found}
    return found


def content(token: Any) -> str | None:
    """The token that a value of those files names: it is the token, or an object that holds it."""
    token = token.get("content") if isinstance(token, Mapping) else token
    return token if isinstance(token, str) else None


def named_token(role: str, config: Mapping[str, Any], tokens: Mapping[str, int], origin: str) -> str | None:
    """The token of a role by name. Raises UserError where a file names one that the vocabulary has not."""
    key, token = next(((key, token) for key in KEYS[role] if (token := content(config.get(key)))), (None, None))
    if token is None:
        return next((name for name in NAMES[role] if name in tokens), None)
    if token not in tokens:
        raise UserError(
            f"{origin}: its vocabulary lacks a token that the files beside it name",
            given=f"{key}: {token!r}",
            hint=f"name a token of the vocabulary in {CONFIG}",
        )
    return token


def required_token(role: str, config: Mapping[str, Any], tokens: Mapping[str, int], origin: str) -> str:
    """`named_token` where there must be one. Raises UserError where there is none."""
    if (token := named_token(role, config, tokens, origin)) is None:
        raise UserError(
            "{origin} has no {role} token",
            origin,
            role,
            given=f"missing: {' / '.join(NAMES[role])}",
            hint=f'name one of its tokens in {CONFIG} beside it, as "{KEYS[role][0]}"',
        )
    return token


def find_special_tokens(
    settings: Mapping[str, Any], config: Mapping[str, Any], numbers: Mapping[str, int], processor: Any, origin: str
) -> tuple[dict[str, str], list[int], list[int], Templates]:
    """The token of each role that there is; the ids of all special tokens, and of those that no text becomes: all but
    markers, such as [E1], which other libraries read in a text; the special tokens around a text and a pair.

    settings, config: the content of tokenizer.json and of the files beside it; numbers: the ids of its tokens, in
    their order; processor: its post-processor. Raises UserError where a token that is needed is missing, or where the
    parts do not fit each other.
    """
    tokens, model = list(numbers), settings["model"]
    unknown = tokens[model["unk_id"]] if isinstance(model.get("unk_id"), int) else model.get("unk_token")
    acting: dict[str, str | None] = {"unknown": unknown if unknown in numbers else None}
    templates = _templates(processor, tokens, origin)
    if templates:
        before, after = templates[0].runs
        if len(before) != 1 or len(after) != 1:
            given = f"{len(before)} before it and {len(after)} after it"
            raise UserError(f"{origin} does not put one special token before a text and one after it", given=given)
        acting |= {"cls": tokens[before[0]], "sep": tokens[after[0]]}
    roles: dict[str, str] = {}
    for role in ROLES:
        find = required_token if role in ("cls", "sep", "pad") else named_token
        if found := acting.get(role) or find(role, config, numbers, origin):
            roles[role] = found
    if templates is None:
        templates = bert_templates(numbers[roles["cls"]], numbers[roles["sep"]])
    of_roles = [*roles.values(), *(content(config.get(key)) or "" for keys in KEYS.values() for key in keys)]
    markers = [*named_markers(config), *(token for token in settings["added_tokens"] if token.get("special"))]
    reserved = {numbers[token] for token in of_roles if token in numbers}
    reserved |= {number for template in templates for run in template.runs for number in run}
    ids = reserved | {numbers[token] for marker in markers if (token := content(marker) or "") in numbers}
    return roles, sorted(ids), sorted(ids if config.get("split_special_tokens") is True else reserved), templates


def named_markers(config: Mapping[str, Any]) -> list[Any]:
    """The special tokens beside those of the roles that the files beside a tokenizer's name, as they name them."""
    roles = [key for keys in KEYS.values() for key in keys]
    markers = [value for key, value in config.items() if key.endswith("_token") and key not in roles]
    newer, older = config.get("extra_special_tokens") or [], config.get("additional_special_tokens") or []
    markers += [*newer.values(), *older] if isinstance(newer, Mapping) else newer or older
    return [marker for marker in markers if content(marker)]


def bert_templates(cls: int, sep: int) -> Templates:
    """[CLS] text [SEP], and [CLS] text [SEP] pair [SEP] with the pair and its [SEP] as segment 1."""
    return (
        SpecialTokensTemplate(((cls,), (sep,)), ((0,), (0,)), (0,)),
        SpecialTokensTemplate(((cls,), (sep,), (sep,)), ((0,), (0,), (1,)), (0, 1)),
    )


def _templates(processor: Any, tokens: Sequence[str], origin: str) -> Templates | None:
    """What a post-processor puts around texts, found by trying it on texts of one token; None where it puts nothing."""
    probe = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    probe.post_processor = processor
    single = _template(probe.encode("a"), 1, tokens, origin)
    pair = _template(probe.encode("a", "a"), 2, tokens, origin)
    return (single, pair) if single.size or pair.size else None


def _template(encoding: tokenizers.Encoding, texts: int, tokens: Sequence[str], origin: str) -> SpecialTokensTemplate:
    """Of an encoding of so many texts of one token each."""
    runs: list[list[int]] = [[]]
    types: list[list[int]] = [[]]
    order, text_types = [], []
    columns = (encoding.sequence_ids, encoding.tokens, encoding.ids, encoding.type_ids)
    for text, token, number, token_type in zip(*columns, strict=True):
        if text is not None:
            order.append(text)
            text_types.append(token_type)
            runs.append([])
            types.append([])
        elif tokens[number : number + 1] == [token]:
            runs[-1].append(number)
            types[-1].append(token_type)
        else:
            raise UserError(f"{origin}: its post_processor does not fit its vocabulary", given=f"{token!r} as {number}")
    if order != list(range(texts)):
        raise UserError(f"{origin} adds special tokens in a way that unmask does not support", given=encoding.tokens)
    return SpecialTokensTemplate(tuple(map(tuple, runs)), tuple(map(tuple, types)), tuple(text_types))


def without_matching(settings: Mapping[str, Any], special_tokens: Set[str]) -> dict[str, Any]:
    """A tokenizer.json in which no text becomes a special token: their names hold a character that no text has.

    The library leaves that to the added tokens, but text also becomes a special token where the vocabulary of
    the model has it and no rule cuts it: "<s>" under SentencePiece, "CLS" under WordPiece.
    """

    def name(token: str) -> str:
        return RESERVED + token if token in special_tokens else token

    model = dict(settings["model"])
    if isinstance(model["vocab"], Mapping):
        model["vocab"] = {name(token): number for token, number in model["vocab"].items()}
    else:
        model["vocab"] = [[name(token), score] for token, score in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = name(model["unk_token"])
    if model.get("merges"):
        merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
        model["merges"] = [pair for pair in merges if special_tokens.isdisjoint((*pair, "".join(pair)))]
    added = [
        {**token, "content": name(token["content"]), "normalized": False}
        if token["content"] in special_tokens
        else token
        for token in settings["added_tokens"]
    ]
    return {**settings, "model": model, "added_tokens": added, "post_processor": None}


def readable(text: str) -> str:
    """The text without what is no text: lone surrogates (UTF-8 cannot hold them) and the character that keeps special
    tokens out of reach become others, one for one, so that offsets stay."""
    if text.isascii() or not _NO_TEXT.search(text):
        return text
    return _NO_TEXT.sub("\ufffd", text.replace(RESERVED, "\U0010fffe"))
