"""Growing the vocabulary of a model: pieces for a text of one's own, their embeddings, and what that changes."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unmask import bundle
from unmask.bundle.public import public_task
from unmask.config import changed
from unmask.console import SILENT, Progress
from unmask.data.hashing import hash_uniform
from unmask.data.public.split import share
from unmask.engine.torch_backend import TorchEngine
from unmask.errors import UserError
from unmask.runtime.predictor import Predictor
from unmask.tasks.task import log_softmax
from unmask.text import grow as growing
from unmask.text.tokenizer import Encoding, Tokenizer
from unmask.text.usage import Usage, count_usage
from unmask.text.wordpiece import CONTINUATION

TABLE, BIAS = "encoder.embeddings.token.weight", "masked.bias"  # what has a row for each piece
HELD_OUT = 0.1  # share of the documents
HELD_OUT_CHARACTERS = 10_000_000  # of them that are kept to measure with
TEXTS, LENGTH = 256, 128  # beginnings of held-out documents on which masked words are predicted, in pieces
MASKED = 0.15  # share of their words, as in pretraining
WORDS = 21  # the stream of randomness that chooses them


@dataclass(frozen=True)
class VocabularyFit:
    """How a vocabulary suits held-out text. bits_per_character: of masked words; None without a masked-LM head."""

    characters_per_token: float
    unknown_rate: float
    bits_per_character: float | None


@dataclass(frozen=True)
class GrowResult:
    """What was added, from how many documents, and how many others told how it suits: before and after."""

    chosen: list[growing.AddedToken]
    documents: int
    held_out: int
    before: VocabularyFit
    after: VocabularyFit


def grow(
    opened: bundle.Bundle,
    texts: Iterable[str],
    out: Path,
    *,
    add: int = 1000,
    min_frequency: int = 2,
    seed: int = 0,
    progress: Progress = SILENT,
) -> GrowResult:
    """Write a model whose vocabulary has up to `add` pieces more, chosen from the texts (text/grow.py), into `out`.

    A new piece begins with the mean of the embeddings of the pieces that its word was cut into, and of their biases in
    the masked-LM head (Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression", arXiv 2402.09977):
    its logit is then the mean of theirs. One of an unknown word begins with the mean over all ordinary pieces (Hewitt
    2021, "Initializing New Word Embeddings for Pretrained Language Models"). Every other weight stays.
    A tenth of the documents is kept aside, chosen by a hash of (seed, text), and tells how the vocabulary suits text
    that it was not chosen from.

    Raises UserError for another vocabulary than WordPiece, for a folder that is there, for too little text, and where
    there is nothing to add.
    """
    before = opened.tokenizer
    before.with_added_tokens([])  # whether it can grow at all, before long work
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already", hint="remove it, or choose another --out")
    sample = _Sample(texts, seed)
    found = count_usage(before, sample.training(), progress)
    if not sample.held_out or not found.documents:
        raise UserError(
            "there are too few documents to keep a tenth of them aside",
            given=f"{found.documents + len(sample.held_out):,} documents",
            hint="give more text; --split line makes each line a document",
        )
    chosen = _chosen_from(found, add, min_frequency, progress)
    pieces = [one.token for one in chosen]
    config, tensors = _with_rows(opened, pieces)
    lineage = {
        "kind": "grow",
        "tokens_added": len(chosen),
        "vocab_size_before": before.vocab_size,
        "documents": found.documents,
        "text_sha256": sample.digest.hexdigest(),
        "seed": seed,
        "min_frequency": min_frequency,
    }
    made = replace(
        opened,
        folder=out,
        config=config,
        tokenizer=before.with_added_tokens(pieces),
        tensors=tensors,
        facts={**opened.facts, "lineage": [*opened.lineage, lineage]},
    )
    bits = masked_bits_per_character((opened, made), sample.held_out[:TEXTS], seed, progress)
    bundle.write_bundle(made, public_task(opened))
    first, last = (
        _measure_fit(one.tokenizer, sample.held_out, number) for one, number in zip((opened, made), bits, strict=True)
    )
    return GrowResult(chosen, found.documents, len(sample.held_out), first, last)


class _Sample:
    """Documents, a tenth of them kept aside; equal ones on the same side."""

    def __init__(self, texts: Iterable[str], seed: int) -> None:
        self.texts, self.seed = texts, seed
        self.held_out: list[str] = []
        self.digest = hashlib.sha256()  # of the others, in order

    def training(self) -> Iterator[str]:
        held = 0
        for text in self.texts:
            content = text.encode("utf-8", "surrogatepass")
            if share(hashlib.sha256(content).hexdigest(), self.seed) >= HELD_OUT:
                self.digest.update(content + b"\0")
                yield text
            elif held < HELD_OUT_CHARACTERS:
                self.held_out.append(text)
                held += len(text)


def _chosen_from(found: Usage, add: int, min_frequency: int, progress: Progress) -> list[growing.AddedToken]:
    """The pieces that a text asks for. Raises UserError where there are none."""
    before = found.tokenizer
    words = {tuple(map(before.id_to_token, ids)): count for ids, count in found.split_words.items()}
    unknown: Counter[str] = Counter()
    for text, count in found.unknown_characters.items():
        unknown[before.normalize(text).strip()] += count
    told = _report(before, unknown)
    chosen = growing.choose_tokens(before.tokens, words, told, add, min_frequency=min_frequency, progress=progress)
    if not chosen:
        raise UserError(
            "no word of the text is cut into several pieces often enough: there is nothing to add",
            given=f"{found.total.words:,} words in {found.documents:,} documents",
            allowed=f"pieces that stand in the text {min_frequency} times or more",
        )
    return chosen


def _report(before: Tokenizer, unknown: Mapping[str, int]) -> dict[str, int]:
    """The unknown words that would be one piece if there was one: not those that are too long, or no single word."""
    words = [word for word in unknown if word and not word.startswith(CONTINUATION)]
    trial = before.with_added_tokens(sorted(set(words) - set(before.tokens)))
    pieces = [
        [number for number, special in zip(one.input_ids, one.special_tokens_mask, strict=True) if not special]
        for one in trial.encode_batch(words)
    ]
    return {
        word: unknown[word]
        for word, ids in zip(words, pieces, strict=True)
        if len(ids) == 1 and ids[0] >= before.vocab_size
    }


def _with_rows(opened: bundle.Bundle, added: Sequence[str]) -> tuple[Any, dict[str, Tensor]]:
    """The configuration and the weights with a row for each new piece; rows that no piece had are used first."""
    tokenizer, tensors = opened.tokenizer, dict(opened.tensors)
    pieces = set(tokenizer.tokens)
    longest = max(map(len, pieces))
    sources = [growing.split_word(piece, pieces, longest) for piece in added]
    size = max(opened.config.vocab_size, tokenizer.vocab_size + len(added))
    for name in (TABLE, BIAS):
        if name in tensors:
            old = tensors[name]
            table = old.new_zeros(size, *old.shape[1:])
            table[: len(old)] = old
            middle = old[torch.from_numpy(tokenizer.text_token_ids)].float().mean(0)
            for number, source in enumerate(sources, start=tokenizer.vocab_size):
                rows = None if source is None else torch.tensor([tokenizer.token_to_id(one) for one in source])
                table[number] = (middle if rows is None else old[rows].float().mean(0)).to(old.dtype)
            tensors[name] = table
    return changed(opened.config, vocab_size=size), tensors


def _measure_fit(tokenizer: Tokenizer, texts: Sequence[str], bits: float | None) -> VocabularyFit:
    found = tokenizer.statistics(texts)
    return VocabularyFit(found.characters_per_token, found.unknown_rate, bits)


def masked_bits_per_character(
    models: Sequence[bundle.Bundle], texts: Sequence[str], seed: int, progress: Progress = SILENT
) -> list[float | None]:
    """Bits per character that each model needs for the same masked words of the beginnings of some texts.

    All pieces of 15 % of the words are hidden, which are the same words for all models, among those that all can spell;
    what a word costs is the sum over its pieces, each predicted without the others. How many pieces a word has is seen
    from its masks: that helps a vocabulary that cuts words up. Models must cut texts into the same words. None for
    models without a masked-LM head, or without such words.
    """
    if not all(model.has_head("masked") for model in models):
        return [None] * len(models)
    length = min(LENGTH, *(model.config.max_position_embeddings for model in models))
    encoded = [model.tokenizer.encode_batch(texts, max_length=length) for model in models]
    predictors = [Predictor(TorchEngine(model)) for model in models]
    nats, characters = np.zeros(len(models)), 0
    progress.start(len(texts), "texts")
    for number, ways in enumerate(zip(*encoded, strict=True)):
        words = _chosen(ways, [model.tokenizer for model in models], seed, number)
        progress.advance(1)
        if not words:
            continue
        characters += sum(_characters(ways[0], word) for word in words)
        for index, (predictor, one) in enumerate(zip(predictors, ways, strict=True)):
            nats[index] += _nats(predictor, one, words)
    return [float(one) / math.log(2) / characters if characters else None for one in nats]


def _chosen(ways: Sequence[Encoding], tokenizers: Sequence[Tokenizer], seed: int, text: int) -> set[int]:
    """The numbers of the words to hide: whole in every way of cutting the text, and unknown in none."""
    whole: set[int] | None = None
    for one, tokenizer in zip(ways, tokenizers, strict=True):
        words = [word for word in one.word_ids if word is not None]
        own = set(words) - ({words[-1]} if one.truncated and words else set())
        own -= {
            word
            for word, number in zip(one.word_ids, one.input_ids, strict=True)
            if word is not None and number == tokenizer.unk_token_id
        }
        whole = own if whole is None else whole & own
    numbers = np.array(sorted(whole or ()), np.int64)
    return set(numbers[hash_uniform(seed, WORDS, text, numbers) < MASKED].tolist()) if len(numbers) else set()


def _characters(one: Encoding, word: int) -> int:
    """The length of a word in its text."""
    places = [place for place, owner in zip(one.offsets, one.word_ids, strict=True) if owner == word]
    return places[-1][1] - places[0][0]


def _nats(predictor: Predictor, one: Encoding, words: set[int]) -> float:
    """What a model needs for the pieces of these words, all of them hidden."""
    ids = np.array(one.input_ids)
    places = [place for place, word in enumerate(one.word_ids) if word in words]
    hidden = ids.copy()
    hidden[places] = predictor.tokenizer.mask_token_id
    logs = log_softmax(predictor.masked_logits(hidden.tolist(), one.token_type_ids, places))
    return -float(logs[np.arange(len(places)), ids[places]].sum())
