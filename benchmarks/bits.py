"""Held-out bits per character of a small masked-LM: what a vocabulary is worth, comparable across vocabularies.

Two losses per piece cannot be compared when the pieces differ. Here every held-out word is paid for once, in
bits, and the sum is divided by characters, which are the same for every vocabulary:

  Words are those of BERT's normalisation and pre-tokenisation, which do not depend on the vocabulary. Held-out
  text is cut into windows of at most WINDOW characters of whole words. A hash of (window, place) puts each word
  into one of PASSES groups; in pass k all pieces of all words of group k are masked at once. So each word is
  scored once, and what stays visible while it is scored is the same text for every vocabulary. (Masking single
  pieces would let the rest of a word give it away, the more the shorter the pieces: Kauf and Ivanova, arXiv
  2305.10588.)

  A word of pieces p_1 ... p_n costs   -log2 q(n) - sum of log2 P(p_i | what is visible, n masks):
  the number of masks tells the number of pieces, so that number is paid for too, q being the shares of words of n
  pieces in the training text, counted with one added to each n up to LONGEST.
  A word that is [UNK] costs that and, to be spelt out, SPELLING bits for each of its characters and log2 LONGEST
  for their number.

Each term is a conditional probability, so that a word's cost is the length of a code for it given the visible
text (hence no vocabulary can be favoured by leaving something unpaid); the sum over all words is a
pseudo-log-likelihood (Salazar et al., ACL 2020) by words, not the likelihood of the text.

The network and its training are the same for all: layers, width, tokens a step, learning rate, whole-word masks,
and the number of tokens read. That is equal compute: a vocabulary of longer pieces has then read more
characters of the same text (`trained_characters`). Small networks trained shortly judge vocabularies for small
networks trained shortly; three seeds (--judge-seeds 3) tell a difference from noise, one does not.
"""

import argparse
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers

from benchmarks import texts

if TYPE_CHECKING:
    from unmask.data.corpus.shards import Shards
    from unmask.train.pretrain import PretrainLearner

PASSES = 7  # a seventh is masked at a time, near the 15 % of training
LENGTH = 256  # tokens of a training sequence
WINDOW = 250  # characters: even at one piece a character no longer than what was trained
LONGEST = 100  # characters of a word; longer ones are [UNK]
SPELLING = math.log2(0x110000 - 0x800)  # bits of one of all Unicode characters
GROUP = 31  # what a hash is for
EVALUATION_TOKENS = 8192  # in one batch

Word = tuple[str, list[int]]  # as normalised, and its pieces


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge-seeds", type=int, default=1, help="networks trained on each vocabulary (default 1)")
    parser.add_argument("--judge-tokens", type=int, default=200_000, help="read by each network (default 200,000)")
    parser.add_argument("--judge-layers", type=int, default=4)
    parser.add_argument("--judge-width", type=int, default=128)
    parser.add_argument(
        "--judge-characters", type=int, default=60_000, help="held-out characters scored (default 60,000)"
    )


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("judge_tokens", "judge_layers", "judge_width", "judge_characters")
    return {name: getattr(arguments, name) for name in names}


def judge(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Train on settings["train"] with the tokenizer in settings["keep"], score settings["heldout"]."""
    from unmask.data.corpus import documents as corpus
    from unmask.data.corpus import shards
    from unmask.text.tokenizer import Tokenizer

    keep = Path(settings["keep"])
    tokenizer = Tokenizer.from_pretrained(keep / "tokenizer")
    built = shards.build(corpus.read_documents(settings["train"]), tokenizer, keep / "corpus", restart=True)
    learner, tokens = trained(built, settings)
    backend = tokenizers.Tokenizer.from_file(str(keep / "tokenizer" / "tokenizer.json"))
    windows = list(windows_of(settings["heldout"], backend, settings["judge_characters"]))
    model = sum(piece_bits(learner, windows, tokenizer))
    words = [word for window in windows for word in window]
    characters = sum(len(text) for text, _ in words)
    if not characters:
        raise ValueError("there is no held-out text")
    costs = number_bits(built)
    number = sum(costs[min(len(ids), LONGEST) - 1] for _, ids in words)
    unknown = [len(text) for text, ids in words if ids == [tokenizer.unk_token_id]]
    spelt = sum(size * SPELLING + math.log2(LONGEST) for size in unknown)
    return {
        "bits_per_character": (model + number + spelt) / characters,
        "bits_per_character_of_pieces": model / characters,
        "bits_per_character_of_their_number": number / characters,
        "bits_per_character_of_unknown": spelt / characters,
        "scored_characters": characters,
        "scored_words": len(words),
        "trained_tokens": tokens,
        "trained_characters": round(tokens * sum(map(len, texts.documents_of(settings["train"]))) / built.tokens),
    }


def trained(built: "Shards", settings: Mapping[str, Any]) -> "tuple[PretrainLearner, int]":
    """A network after its budget, and the tokens that it has read."""
    import torch

    from unmask.train.pretrain import build_batches, build_learner, fit_to_corpus
    from unmask.train.recipe import PretrainRecipe, parse_recipe
    from unmask.train.steps import optim
    from unmask.train.steps.loop import LoopState, train_steps

    width = settings["judge_width"]
    values = {
        "seed": settings["seed"],
        "data": {"corpus": str(built.folder), "max_length": LENGTH, "tokens_per_step": 1024, "heldout_share": 0.0},
        "model": {
            "num_hidden_layers": settings["judge_layers"],
            "hidden_size": width,
            "num_attention_heads": max(1, width // 64),
            "max_position_embeddings": LENGTH,
        },
        "objectives": [{"name": "masked", "unit": "word"}],
        "train": {"budget": f"{settings['judge_tokens']} tokens"},
    }
    recipe = fit_to_corpus(parse_recipe(PretrainRecipe, values, (), "bits.py"), built.tokenizer)
    torch.manual_seed(recipe.seed)
    learner = build_learner(recipe, built.tokenizer)
    optimizer = optim.build_optimizer(recipe.train.optimizer, learner)
    state = LoopState()
    for _ in train_steps(learner, optimizer, build_batches(recipe, built), recipe.train, state, recipe.seed):
        pass
    return learner.eval(), state.tokens


def windows_of(path: str | Path, backend: Any, characters: int) -> Iterator[list[Word]]:
    """The words of the documents in windows, up to so many characters in all; no window crosses documents."""
    model = tokenizers.Tokenizer(backend.model)
    normalizer, cut = backend.normalizer, backend.pre_tokenizer
    scored = 0
    for text in texts.documents_of(path):
        words = [word for word, _ in cut.pre_tokenize_str(normalizer.normalize_str(text))]
        encoded = model.encode_batch_fast(words, add_special_tokens=False)
        window: list[Word] = []
        size = 0
        for word, encoding in zip(words, encoded, strict=True):
            if window and size + len(word) > WINDOW:
                yield window
                scored, window, size = scored + size, [], 0
                if scored >= characters:
                    return
            window.append((word, encoding.ids))
            size += len(word)
        if window:
            yield window
            scored += size


def groups(window: int, words: int) -> list[int]:
    """The pass in which each word of a window is masked."""
    from unmask.data.hashing import hash_uniform

    return [int(chance * PASSES) for chance in hash_uniform(GROUP, window, np.arange(words))]


def piece_bits(learner: "PretrainLearner", windows: list[list[Word]], tokenizer: Any) -> Iterator[float]:
    """The bits of all pieces, batch by batch: each piece is scored in exactly one pass."""
    import torch

    from unmask.data.encoded import IGNORE_INDEX, SPECIAL_TOKEN, EncodedRow, groups_by_length
    from unmask.learner.batch import pack

    rows = []
    for number, window in enumerate(windows):
        group = np.repeat(groups(number, len(window)), [len(ids) for _, ids in window])
        pieces = np.array([piece for _, ids in window for piece in ids], np.int64)
        for each in range(PASSES):
            hidden = group == each
            if hidden.any():
                ids = np.concatenate(
                    [
                        [tokenizer.cls_token_id],
                        np.where(hidden, tokenizer.mask_token_id, pieces),
                        [tokenizer.sep_token_id],
                    ]
                )
                wanted = np.concatenate([[IGNORE_INDEX], np.where(hidden, pieces, IGNORE_INDEX), [IGNORE_INDEX]])
                flags = np.zeros(len(ids), np.uint8)
                flags[[0, -1]] = SPECIAL_TOKEN
                rows.append(EncodedRow(ids, np.zeros(len(ids), np.int64), flags, number, targets={"masked": wanted}))
    with torch.no_grad():
        for chosen in groups_by_length(rows, EVALUATION_TOKENS):
            loss = learner(pack([rows[index] for index in chosen]))
            yield float(loss.terms["masked"].sum) / math.log(2)


def number_bits(built: "Shards") -> list[float]:
    """-log2 q(n) for n = 1 ... LONGEST: the number of pieces of a word of the training text."""
    from unmask.data.corpus.shards import WORD_START

    counts = np.ones(LONGEST)
    for document, size in enumerate(built.document_lengths.tolist()):
        _, flags = built.read(document, 0, size)
        starts = np.flatnonzero(flags & WORD_START)
        lengths = np.diff(np.append(starts, size))
        counts += np.bincount(np.minimum(lengths, LONGEST) - 1, minlength=LONGEST)
    return [float(bits) for bits in -np.log2(counts / counts.sum())]
