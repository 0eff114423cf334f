"""Growing the vocabulary of a model: tokens for a text of one's own, their embeddings, and what that changes."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from unmask.bundle.own import Bundle
from unmask.bundle.public import public_task
from unmask.bundle.writing import write_bundle
from unmask.config import changed
from unmask.console import SILENT, Progress
from unmask.data.hashing import hash_uniform
from unmask.data.public.split import share
from unmask.errors import UserError
from unmask.model.attention import SequenceLayout
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.text import grow as growing
from unmask.text.tokenizer import Encoding, Tokenizer
from unmask.text.usage import Usage, count_usage
from unmask.text.wordpiece import CONTINUATION

TABLE, BIAS = "encoder.embeddings.token.weight", "masked.bias"  # the weights that have a row for each token
HELD_OUT = 0.1  # share of the documents
HELD_OUT_CHARACTERS = 10_000_000  # of them, at most, on which is measured
TEXTS, LENGTH = 256, 128  # held-out documents whose masked words are predicted, and the tokens of each
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
    opened: Bundle,
    texts: Iterable[str],
    output: Path,
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
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already", hint="remove it, or choose another --output")
    sample = _Sample(texts, seed)
    found = count_usage(before, sample.training(), progress)
    if not sample.held_out or not found.documents:
        raise UserError(
            "there are too few documents to keep a tenth of them aside",
            given=f"{found.documents + len(sample.held_out):,} documents",
            hint="give more text; --split line makes each line a document",
        )
    chosen = _chosen_from(found, add, min_frequency, progress)
    lineage = {
        "kind": "grow",
        "tokens_added": len(chosen),
        "vocab_size_before": before.vocab_size,
        "documents": found.documents,
        "text_sha256": sample.digest.hexdigest(),
        "seed": seed,
        "min_frequency": min_frequency,
    }
    grown = replace(
        _with_rows(opened, [one.token for one in chosen]),
        folder=output,
        facts={**opened.facts, "lineage": [*opened.lineage, lineage]},
    )
    models = (opened, grown)
    bits = masked_bits_per_character(models, sample.held_out[:TEXTS], seed, progress)
    write_bundle(grown, public_task(opened))
    counted = [count_usage(model.tokenizer, sample.held_out).total for model in models]
    fits = [VocabularyFit(one.characters_per_token, one.unknown_rate, n) for one, n in zip(counted, bits, strict=True)]
    return GrowResult(chosen, found.documents, len(sample.held_out), *fits)


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
            "no word of the text is cut into several pieces often enough: there is nothing to add",
            given=f"{found.total.words:,} words in {found.documents:,} documents",
            allowed=f"pieces that stand in the text {min_frequency} times or more",
        )
    return chosen


def _single_tokens(before: Tokenizer, unknown: Counter[str]) -> dict[str, int]:
    """The unknown words that would be one token if there was one: not those that are too long, or no single word."""
    words = [word for word in unknown if word and not word.startswith(CONTINUATION)]
    trial = before.with_added_tokens(sorted(set(words) - set(before.tokens)))
    split = [
        [id_ for id_, special in zip(one.input_ids, one.special_tokens_mask, strict=True) if not special]
        for one in trial.encode_batch(words)
    ]
    return {
        word: unknown[word]
        for word, ids in zip(words, split, strict=True)
        if len(ids) == 1 and ids[0] >= before.vocab_size
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


def masked_bits_per_character(
    models: Sequence[Bundle], texts: Sequence[str], seed: int, progress: Progress = SILENT
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
    networks = [(model.encoder(dropout=0.0, shared=True).eval(), MLMHead(model.config).eval()) for model in models]
    for model, (_, head) in zip(models, networks, strict=True):
        model.load_into(head, "masked")
    nats, characters = np.zeros(len(models)), 0
    progress.start(len(texts), "texts")
    for number, ways in enumerate(zip(*encoded, strict=True)):
        words = _chosen(ways, [model.tokenizer for model in models], seed, number)
        progress.advance(1)
        if not words:
            continue
        characters += sum(_characters(ways[0], word) for word in words)
        for index, (model, one) in enumerate(zip(models, ways, strict=True)):
            nats[index] += _nats(*networks[index], one, words, model.tokenizer.mask_token_id)
    return [float(one) / math.log(2) / characters if characters else None for one in nats]


def _chosen(ways: Sequence[Encoding], tokenizers: Sequence[Tokenizer], seed: int, text: int) -> set[int]:
    """The numbers of the words to mask: whole in every way of cutting the text, and unknown in none."""
    whole: list[set[int]] = []
    for one, tokenizer in zip(ways, tokenizers, strict=True):
        tokens = [(word, id_) for word, id_ in zip(one.word_ids, one.input_ids, strict=True) if word is not None]
        cut = {tokens[-1][0]} if one.truncated and tokens else set()
        whole.append(
            {word for word, _ in tokens} - cut - {word for word, id_ in tokens if id_ == tokenizer.unk_token_id}
        )
    numbers = np.array(sorted(set.intersection(*whole)), np.int64)
    return set(numbers[hash_uniform(seed, WORDS, text, numbers) < MASKED].tolist()) if len(numbers) else set()


def _characters(one: Encoding, word: int) -> int:
    """The length of a word in its text."""
    offsets = [offset for offset, owner in zip(one.offsets, one.word_ids, strict=True) if owner == word]
    return offsets[-1][1] - offsets[0][0]


@torch.inference_mode()
def _nats(encoder: Encoder, head: MLMHead, one: Encoding, words: set[int], mask_token_id: int) -> float:
    """The cross-entropy of the tokens of these words, all of them masked."""
    ids = torch.tensor(one.input_ids)
    positions = torch.tensor([place for place, word in enumerate(one.word_ids) if word in words])
    masked = ids.index_fill(0, positions, mask_token_id)
    hidden = encoder(masked, SequenceLayout.packed([len(ids)]), torch.tensor(one.token_type_ids))
    return float(F.cross_entropy(head(hidden[positions], encoder).float(), ids[positions], reduction="sum"))
