"""Grow the vocabulary of a model: tokens for a text of one's own, and their embeddings."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from unmask.advice import advise, option
from unmask.bundle.bundle import Bundle
from unmask.bundle.folder import write_bundle
from unmask.config import changed
from unmask.console import SILENT, Progress
from unmask.data.public.split import share
from unmask.errors import UserError
from unmask.text import grow as growing
from unmask.text.tokenizer import Tokenizer
from unmask.text.usage import Usage, count_usage
from unmask.text.wordpiece import CONTINUATION

TABLE, BIAS = "encoder.embeddings.token.weight", "masked.bias"  # the weights that have a row for each token
HELD_OUT = 0.1  # share of the documents
HELD_OUT_CHARACTERS = 10_000_000  # of them, at most, on which is measured


@dataclass(frozen=True)
class VocabularyFit:
    """How a vocabulary suits held-out text."""

    characters_per_token: float
    unknown_rate: float


@dataclass(frozen=True)
class GrowResult:
    """The tokens added, from how many documents, and how the vocabulary suits held-out ones before and after."""

    chosen: list[growing.AddedToken]
    documents: int
    held_out: int
    before: VocabularyFit
    after: VocabularyFit


def grow(
    opened: Bundle,
    texts: Iterable[str],
    output: Path,
    *,
    add: int = 1000,
    min_frequency: int = 2,
    seed: int = 0,
    progress: Progress = SILENT,
) -> GrowResult:
    """Write a model with up to `add` more tokens, chosen from the texts (text/grow.py), into `output`.

    A new token begins with the mean of the embeddings of the tokens that its word was cut into, and of their biases in
    the masked-LM head (Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression", arXiv 2402.09977):
    its logit is then the mean of theirs. One of an unknown word begins with the mean over all ordinary tokens (Hewitt
    2021, "Initializing New Word Embeddings for Pretrained Language Models"). Every other weight stays.
    A tenth of the documents is held out, chosen by a hash of (seed, text), to measure how the vocabulary suits text
    that it was not chosen from.

    Raises UserError for another vocabulary than WordPiece, for a folder that is there, for too little text, and where
    there is nothing to add.
    """
    before = opened.tokenizer
    before.with_added_tokens([])  # whether it can grow at all, before long work
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        another = advise("choose another {option} folder", option("output"))
        raise UserError(f"{output} already exists", hint=["remove it", another])
    held_out: list[str] = []
    digest = hashlib.sha256()
    found = count_usage(before, _without(held_out, texts, seed, digest), progress)
    if not held_out or not found.documents:
        raise UserError(
            "too few documents to hold out a tenth of them",
            given=f"{found.documents + len(held_out):,} documents",
            hint=["provide more text", advise("{option} makes each line a document", option("split", "line"))],
        )
    chosen = _chosen_from(found, add, min_frequency, progress)
    lineage = {
        "kind": "grow",
        "tokens_added": len(chosen),
        "vocab_size_before": before.vocab_size,
        "documents": found.documents,
        "text_sha256": digest.hexdigest(),
        "seed": seed,
        "min_frequency": min_frequency,
    }
    grown = _with_rows(opened, [one.token for one in chosen])
    write_bundle(replace(grown, folder=output, lineage=[*opened.lineage, lineage]))
    counted = [count_usage(tokenizer, held_out).total for tokenizer in (before, grown.tokenizer)]
    fits = [VocabularyFit(one.characters_per_token, one.unknown_rate) for one in counted]
    return GrowResult(chosen, found.documents, len(held_out), *fits)


def _without(held_out: list[str], texts: Iterable[str], seed: int, digest: "hashlib._Hash") -> Iterator[str]:
    """All but a tenth of the documents, which goes into `held_out`: equal ones on the same side."""
    held = 0
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        if share(hashlib.sha256(content).hexdigest(), seed) >= HELD_OUT:
            digest.update(content + b"\0")
            yield text
        elif held < HELD_OUT_CHARACTERS:
            held_out.append(text)
            held += len(text)


def _chosen_from(found: Usage, add: int, min_frequency: int, progress: Progress) -> list[growing.AddedToken]:
    """Choose tokens for a text. Raises UserError where there are none."""
    before = found.tokenizer
    words = {tuple(map(before.id_to_token, ids)): count for ids, count in found.split_words.items()}
    unknown: Counter[str] = Counter()
    for text, count in found.unknown_characters.items():
        unknown[before.normalize(text).strip()] += count
    single = _single_tokens(before, unknown)
    chosen = growing.choose_tokens(before.tokens, words, single, add, min_frequency=min_frequency, progress=progress)
    if not chosen:
        raise UserError(
            "no word that is split into several tokens is frequent enough: no tokens to add",
            given=f"{found.total.words:,} words in {found.documents:,} documents",
            allowed=f"tokens that occur {min_frequency} times or more",
        )
    return chosen


def _single_tokens(before: Tokenizer, unknown: Counter[str]) -> dict[str, int]:
    """The unknown words that would be one token if there was one: not those that are too long, or no single word."""
    words = [word for word in unknown if word and not word.startswith(CONTINUATION)]
    trial = before.with_added_tokens(sorted(set(words) - set(before.tokens)))
    return {
        word: unknown[word]
        for word, one in zip(words, trial.encode_batch(words), strict=True)
        if sum(one.special_tokens_mask) == len(one.input_ids) - 1 and max(one.input_ids) >= before.vocab_size
    }


def _with_rows(opened: Bundle, added: Sequence[str]) -> Bundle:
    """The model with a row for each new token; rows that no token had are used first."""
    tokenizer, tensors = opened.tokenizer, dict(opened.tensors)
    known = set(tokenizer.tokens)
    sources = [growing.split_word(token, known) for token in added]
    size = max(opened.config.vocab_size, tokenizer.vocab_size + len(added))
    for name in {TABLE, BIAS} & tensors.keys():
        old = tensors[name]
        table = old.new_zeros(size, *old.shape[1:])
        table[: len(old)] = old
        middle = old[torch.from_numpy(tokenizer.text_token_ids)].float().mean(0)
        for number, source in enumerate(sources, start=tokenizer.vocab_size):
            rows = None if source is None else torch.tensor([tokenizer.token_to_id(one) for one in source])
            table[number] = (middle if rows is None else old[rows].float().mean(0)).to(old.dtype)
        tensors[name] = table
    config = changed(opened.config, vocab_size=size)
    return replace(opened, config=config, tokenizer=tokenizer.with_added_tokens(added), tensors=tensors)
