"""The special pieces of public tokenizers, and how they stand around texts: found in their files, never assumed.

What the model and the post-processor of tokenizer.json say comes first, since they act; then what
tokenizer_config.json and special_tokens_map.json name; then the usual names, where the vocabulary has them.
"""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask.errors import UserError
from unmask.files import read_json

CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"

ROLES = ("pad", "unknown", "cls", "sep", "mask")
# the keys under which other libraries name the piece of each role, and its usual names
KEYS = {
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "cls": ("cls_token", "bos_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}
NAMES = {
    "pad": ("[PAD]", "<pad>", "<|pad|>"),
    "unknown": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>"),
    "sep": ("[SEP]", "</s>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
}
# pieces that wait for a meaning: BERT's, T5's, fairseq's and those of byte-level vocabularies; CamemBERT's
_UNUSED = re.compile(r"[\[<]\|?(?:unused|extra_id|madeupword|reserved)[\w-]*\|?[\]>]|.*NOTUSED")
# Unicode keeps this character for internal use: no text has it, see `Tokenizer`
RESERVED = "\U0010ffff"
_NO_TEXT = re.compile(f"[\ud800-\udfff{RESERVED}]")


@dataclass(frozen=True)
class SpecialTokensTemplate:
    """The special pieces around one text, or around the two of a pair.

    runs: the ids before the first text, after it, and (of a pair) after the second; run_segments: their
    segments; text_segments: the segment of each text.
    """

    runs: tuple[tuple[int, ...], ...]
    run_token_type_ids: tuple[tuple[int, ...], ...]
    text_token_type_ids: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many special pieces there are."""
        return sum(map(len, self.runs))


@dataclass(frozen=True)
class SpecialTokens:
    """roles: the piece of each role that there is; ids: of all special pieces; one, two: around a text and a pair."""

    special_tokens: Mapping[str, str]
    ids: tuple[int, ...]
    single_template: SpecialTokensTemplate
    pair_template: SpecialTokensTemplate

    @property
    def is_of_bert(self) -> bool:
        """Whether texts are framed as BERT does."""
        return (self.single_template, self.pair_template) == bert_templates(
            self.single_template.runs[0][0], self.single_template.runs[1][0]
        )


def read_config_files(file: Path) -> dict[str, Any]:
    """What the files beside a tokenizer's say of it: special_tokens_map.json, and over it tokenizer_config.json."""
    found: dict[str, Any] = {}
    for name in (MAP, CONFIG):
        path = file.with_name(name)
        if path.is_file():
            given = read_json(path)
            if not isinstance(given, dict):
                raise UserError(f"{path} is not a JSON object", given=type(given).__name__)
            found |= {key: value for key, value in given.items() if value is not None or key not in found}
    return found


def read_added_tokens(file: Path, config: Mapping[str, Any]) -> dict[str, tuple[int, Mapping[str, Any]]]:
    """The pieces that were added to a vocabulary which has no tokenizer.json: their ids, and what is said of them.
    `config` is what `beside` found; older folders have a file for it."""
    path = file.with_name(ADDED)
    if isinstance(known := config.get("added_tokens_decoder"), Mapping):
        found = {content(token): (number, token) for number, token in known.items()}
    else:
        given = read_json(path) if path.is_file() else {}
        found = {piece: (number, {}) for piece, number in dict(given).items()}
    try:
        return {piece: (int(number), facts) for piece, (number, facts) in found.items() if piece is not None}
    except (TypeError, ValueError):
        raise UserError(f"{path} is no list of added pieces", allowed="pieces, each with its id") from None


def content(token: Any) -> str | None:
    """The piece that a value of those files names: it is the piece, or an object that holds it."""
    token = token.get("content") if isinstance(token, Mapping) else token
    return token if isinstance(token, str) else None


def named_token(role: str, config: Mapping[str, Any], pieces: Mapping[str, int], origin: str) -> str | None:
    """The piece of a role by name. Raises UserError where a file names one that the vocabulary has not."""
    for key in KEYS[role]:
        piece = content(config.get(key))
        if piece is not None:
            if piece not in pieces:
                raise UserError(
                    f"{origin}: its vocabulary has no piece for what the files beside it name",
                    given=f"{key}: {piece!r}",
                    hint=f"name a piece of the vocabulary in {CONFIG}",
                )
            return piece
    return next((name for name in NAMES[role] if name in pieces), None)


def find_special_tokens(
    settings: Mapping[str, Any], config: Mapping[str, Any], numbers: Mapping[str, int], origin: str
) -> SpecialTokens:
    """The special pieces of a tokenizer.json (`settings`), by what stands beside it (`config`); numbers: the ids of its
    pieces, in their order.

    Raises UserError where a piece that is needed is missing, or where the parts do not fit each other.
    """
    pieces = list(numbers)
    frames = _frames(settings.get("post_processor"), numbers, origin)
    roles = {"unknown": _unknown(settings["model"], numbers) or named_token("unknown", config, numbers, origin)}
    for role in ("pad", "mask") if frames else ("pad", "mask", "cls", "sep"):
        roles[role] = named_token(role, config, numbers, origin)
    if frames:
        one, two = frames
        if len(one.runs[0]) != 1 or len(one.runs[1]) != 1:
            raise UserError(
                f"{origin} frames a text in a way that this version cannot use",
                given=f"{len(one.runs[0])} before it and {len(one.runs[1])} after it",
                allowed="one piece before a text and one after it, such as [CLS] and [SEP]",
            )
        roles |= {"cls": pieces[one.runs[0][0]], "sep": pieces[one.runs[1][0]]}
    found = {role: piece for role in ROLES if (piece := roles.get(role)) is not None}
    needed = {
        "cls": f"{origin} does not say which piece begins a text",
        "sep": f"{origin} does not say which piece ends a text",
        "pad": f"{origin} does not say which piece pads texts",
    }
    for role, what in needed.items():
        if role not in found:
            raise UserError(
                what,
                given=f"missing: a piece such as {NAMES[role][0]} or {NAMES[role][1]}",
                hint=f'name one of its pieces in {CONFIG} beside it, as "{KEYS[role][0]}"',
            )
    if not frames:
        one, two = bert_templates(numbers[found["cls"]], numbers[found["sep"]])
    others = [content(value) for key, value in config.items() if key.endswith("_token")]
    others += map(content, config.get("additional_special_tokens") or [])
    added = [token["content"] for token in settings["added_tokens"] if token.get("special")]
    framing = {number for frame in (one, two) for run in frame.runs for number in run}
    every = {numbers[piece] for piece in (*found.values(), *added, *others) if piece in numbers} | framing
    return SpecialTokens(found, tuple(sorted(every)), one, two)


def bert_templates(cls: int, sep: int) -> tuple[SpecialTokensTemplate, SpecialTokensTemplate]:
    """[CLS] text [SEP], and [CLS] text [SEP] pair [SEP] with the pair and its [SEP] as segment 1."""
    return (
        SpecialTokensTemplate(((cls,), (sep,)), ((0,), (0,)), (0,)),
        SpecialTokensTemplate(((cls,), (sep,), (sep,)), ((0,), (0,), (1,)), (0, 1)),
    )


def roberta_templates(cls: int, sep: int) -> tuple[SpecialTokensTemplate, SpecialTokensTemplate]:
    """<s> text </s>, and <s> text </s> </s> pair </s>; there is one segment."""
    return (
        SpecialTokensTemplate(((cls,), (sep,)), ((0,), (0,)), (0,)),
        SpecialTokensTemplate(((cls,), (sep, sep), (sep,)), ((0,), (0, 0), (0,)), (0, 0)),
    )


def _unknown(model: Mapping[str, Any], numbers: Mapping[str, int]) -> str | None:
    """The piece that the model itself gives for what it does not know."""
    if isinstance(number := model.get("unk_id"), int):
        return next((piece for piece, its in numbers.items() if its == number), None)
    piece = model.get("unk_token")
    return piece if piece in numbers else None


def _frames(
    processor: Any, numbers: Mapping[str, int], origin: str
) -> tuple[SpecialTokensTemplate, SpecialTokensTemplate] | None:
    """What a post-processor puts around texts; None where it puts nothing."""
    if not isinstance(processor, Mapping):
        return None
    kind = processor.get("type")
    if kind == "Sequence":
        found = [_frames(part, numbers, origin) for part in processor.get("processors", [])]
        framing = [frames for frames in found if frames is not None]
        if len(framing) > 1:
            raise UserError(f"{origin}: several parts of its post_processor put pieces around texts")
        return framing[0] if framing else None
    if kind in ("BertProcessing", "RobertaProcessing"):
        (cls, cls_id), (sep, sep_id) = processor["cls"], processor["sep"]
        frames = bert_templates if kind == "BertProcessing" else roberta_templates
        return frames(_checked(cls, cls_id, numbers, origin), _checked(sep, sep_id, numbers, origin))
    if kind == "TemplateProcessing":
        tokens = processor.get("special_tokens", {})
        return tuple(  # type: ignore[return-value]
            _template(processor[name], texts, tokens, numbers, origin)
            for name, texts in (("single", ["A"]), ("pair", ["A", "B"]))
        )
    return None


def _template(
    parts: Iterable[Mapping[str, Any]],
    texts: list[str],
    tokens: Mapping[str, Any],
    numbers: Mapping[str, int],
    origin: str,
) -> SpecialTokensTemplate:
    """A template of the library, which names special pieces and texts in their order."""
    runs: list[list[int]] = [[]]
    run_segments: list[list[int]] = [[]]
    seen, text_segments = [], []
    for part in parts:
        if (text := part.get("Sequence")) is not None:
            seen.append(text["id"])
            text_segments.append(text["type_id"])
            runs.append([])
            run_segments.append([])
        else:
            token = tokens[part["SpecialToken"]["id"]]
            pairs = zip(token["tokens"], token["ids"], strict=True)
            ids = [_checked(piece, number, numbers, origin) for piece, number in pairs]
            runs[-1] += ids
            run_segments[-1] += [part["SpecialToken"]["type_id"]] * len(ids)
    if seen != texts:
        raise UserError(
            f"{origin} frames texts in a way that this version cannot use",
            given=", ".join(seen) or "no text",
            allowed=" ".join(texts),
        )
    return SpecialTokensTemplate(tuple(map(tuple, runs)), tuple(map(tuple, run_segments)), tuple(text_segments))


def _checked(token: str, number: int, numbers: Mapping[str, int], origin: str) -> int:
    if numbers.get(token) != number:
        raise UserError(
            f"{origin}: its post_processor does not fit its vocabulary",
            given=f"{token!r} as {number}",
            allowed=f"{numbers[token]}" if token in numbers else f"no piece is {token!r}",
        )
    return number


def is_unused(token: str) -> bool:
    """Whether a piece waits for a meaning, such as BERT's [unused7]: no text becomes it."""
    return _UNUSED.fullmatch(token) is not None


def without_matching(settings: Mapping[str, Any], pieces: Set[str]) -> dict[str, Any]:
    """A tokenizer.json in which no text becomes one of `pieces`: their names hold a character that no text has.

    The library leaves that to the added tokens, but text also becomes a special piece where the vocabulary of
    the model has it and no rule cuts it: "<s>" under SentencePiece, "CLS" under WordPiece.
    """

    def name(piece: str) -> str:
        return RESERVED + piece if piece in pieces else piece

    model = dict(settings["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, Mapping):
        model["vocab"] = {name(piece): number for piece, number in vocabulary.items()}
    else:
        model["vocab"] = [[name(piece), score] for piece, score in vocabulary]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = name(model["unk_token"])
    if model.get("merges"):
        merges = [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
        model["merges"] = [pair for pair in merges if pieces.isdisjoint((*pair, "".join(pair)))]
    added = [
        {**token, "content": name(token["content"]), "normalized": False} if token["content"] in pieces else token
        for token in settings["added_tokens"]
    ]
    return {**settings, "model": model, "added_tokens": added, "post_processor": None}


def readable_mask(settings: Mapping[str, Any], mask: str, number: int) -> dict[str, Any]:
    """A tokenizer.json in which the mask is found in a text, also where no added token says so."""
    added = settings["added_tokens"]
    if not any(token["content"] == mask for token in added):
        plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added = [*added, {"id": number, "content": mask, **plain, "special": True}]
    return {**settings, "added_tokens": added}


def readable(text: str) -> str:
    """The text without what is no text: lone surrogates (UTF-8 cannot hold them) and the character that keeps special
    pieces out of reach become others, one for one, so that offsets stay."""
    if text.isascii() or not _NO_TEXT.search(text):
        return text
    return _NO_TEXT.sub("\ufffd", text.replace(RESERVED, "\U0010fffe"))
