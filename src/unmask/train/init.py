"""What pretraining begins with, before any step: heads that look at the neighbours, vectors from counting them.

Counting reads millions of tokens in seconds; the same statistics take gradient descent minutes to find. A network
that learns a task without pretraining begins at random.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask import advice
from unmask.config import config, setting
from unmask.console import SILENT, Progress
from unmask.data.corpus.shards import Shards
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Block, Encoder
from unmask.model.positions import POSITION_SCALE

Ids = npt.NDArray[np.int64]

SAMPLE = 20_000_000  # tokens that are counted at most, spread evenly over the documents
CONTEXTS = 2048  # the most frequent pieces, as neighbours on either side
CELLS = 1 << 26  # bounds the table of counts, in numbers of 4 bytes: with more pieces, fewer contexts
SMOOTHING = 0.75  # exponent of the contexts' frequencies (Levy et al. 2015, section 3.1)
BLANK = -1  # between documents: no piece stands there
PART = 1 << 20  # tokens counted at a time
PAIRS = 8  # of sine and cosine by which heads find the neighbours
SCORE = 10.0  # of the neighbour that a head looks for; about half of the attention then goes to it
CONTENT = 0.3  # factor on the other weights of these heads' queries and keys


@config
class InitConfig:
    """Settings of the initial weights."""

    embeddings: Literal["random", "counts"] = setting(default="random", description="counts: from neighbour counts")
    window: int = setting(default=2, ge=1, le=16, description="counts: neighbouring tokens on each side")
    neighbour_layers: int = setting(default=0, ge=0, description="lowest blocks initialised to attend to neighbours")

    def check(self, model: EncoderConfig, init_from: str | None = None) -> None:
        """Raises UserError where this network cannot begin so."""
        if init_from is not None and (self.embeddings == "counts" or self.neighbour_layers):
            hint = advice.setting("init.embeddings=random init.neighbour_layers=0")
            raise UserError("init needs a randomly initialised network", given=f"init_from={init_from}", hint=hint)
        axes = model.num_attention_heads < model.hidden_size and not model.qk_norm
        layers = self.neighbour_layers <= model.num_hidden_layers
        if self.neighbour_layers and not (axes and layers and model.position_embedding_type == "sinusoidal"):
            names = ("num_hidden_layers", "position_embedding_type", "num_attention_heads", "hidden_size", "qk_norm")
            network = ", ".join(f"model.{name}={getattr(model, name)}" for name in names)
            given = f"init.neighbour_layers={self.neighbour_layers}, {network}"
            allowed = "so many layers, sinusoidal positions, heads of two axes or more, no qk_norm"
            raise UserError("init.neighbour_layers does not suit the network", given=given, allowed=allowed)


def init_from_counts(
    encoder: Encoder, settings: InitConfig, shards: Shards, documents: Ids, counts: Tensor, progress: Progress = SILENT
) -> None:
    """Initialise heads and embeddings as the settings say. counts: of the tokens in these documents, (vocab_size,)."""
    if settings.neighbour_layers:
        init_neighbour_heads(encoder, settings.neighbour_layers)
    if settings.embeddings == "counts":
        progress.start(float(min(SAMPLE, shards.tokens)), "tokens")
        progress.show("counting neighbours")
        table = neighbour_counts(shards, documents, counts, settings.window, progress)
        model = encoder.config
        free = neighbour_axes(model) if settings.neighbour_layers else []
        init_embeddings(encoder.embeddings.token.weight, table, model.initializer_range, free)


def neighbour_axes(model: EncoderConfig) -> list[int]:
    """The axes that tokens leave to the positions at the beginning: pairs of sine and cosine, fast ones."""
    pairs = max(1, min(PAIRS, model.hidden_size // model.num_attention_heads // 2, model.hidden_size // 6))
    apart = max(1, model.hidden_size // 96)  # so that wavelengths are about 6 to 25 tokens at any width
    return [axis for pair in range(pairs) for axis in (2 * pair * apart, 2 * pair * apart + 1)]


@torch.no_grad()
def init_neighbour_heads(encoder: Encoder, layers: int) -> None:
    """Let the heads of the first `layers` blocks attend to the token before and after, in turn.

    With key (sin wj, cos wj) and query (sin w(i + o), cos w(i + o)) the score is cos w(i + o - j), greatest at
    j = i + o; and that query is a linear function of the sinusoid at i (Vaswani et al. 2017, section 3.5).
    """
    model = encoder.config
    axes, size = neighbour_axes(model), model.hidden_size // model.num_attention_heads
    used = len(axes)
    tables = [table for table in (encoder.embeddings.token, encoder.embeddings.segment) if table is not None]
    for table in tables:
        table.weight[:, axes] = 0
    variance = len(tables) * model.initializer_range**2 * (1 - used / model.hidden_size) + POSITION_SCALE**2 / 2
    amplitude = POSITION_SCALE / math.sqrt(variance)  # of a sine in the first block's normalised input
    gain = math.sqrt(SCORE * math.sqrt(size) / (used // 2)) / amplitude
    for number, block in enumerate(cast(list[Block], list(encoder.blocks)[:layers])):
        query, key, _ = block.attention.qkv.weight.view(3, model.num_attention_heads, size, model.hidden_size)
        for weights in (query, key):
            weights *= CONTENT
            weights[:, :used] = 0
        for head in range(model.num_attention_heads):
            offset = (-1, 1)[(number * model.num_attention_heads + head) % 2]
            for place in range(0, used, 2):
                turn = offset * 10000.0 ** (-axes[place] / model.hidden_size)
                sine, cosine = gain * math.sin(turn), gain * math.cos(turn)
                pair = slice(place, place + 2), axes[place : place + 2]
                query[head, *pair] = query.new_tensor([[cosine, sine], [-sine, cosine]])
                key[head, *pair] = key.new_tensor([[gain, 0], [0, gain]])
        if number + 1 < layers:  # the next block finds the positions as they were
            for linear in (block.attention.output, block.feed_forward.output):
                linear.weight[axes] = 0


def sample_text(shards: Shards, documents: Ids, gap: int) -> Iterator[Ids]:
    """The ids of these documents with `gap` blanks after each, whole documents, PART or more tokens at a time; of
    many documents about SAMPLE tokens, from documents spread evenly."""
    lengths = shards.document_lengths
    every = max(1, -(-int(lengths[documents].sum()) // SAMPLE))
    blank = np.full(gap, BLANK)
    held: list[Ids] = []
    size = 0
    for document in documents[::every].tolist():
        ids, _ = shards.read(document, 0, int(lengths[document]))
        held += [ids, blank]
        size += len(ids)
        if size >= PART:
            yield np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)


def token_counts(shards: Shards, documents: Ids) -> Tensor:
    """How often each token occurs in these documents (in a sample of them, if they are many). (vocab_size,)"""
    counts = np.zeros(shards.vocab_size, dtype=np.int64)
    for ids in sample_text(shards, documents, gap=0):
        counts += np.bincount(ids, minlength=shards.vocab_size)
    return torch.from_numpy(counts)


def neighbour_counts(
    shards: Shards, documents: Ids, tokens: Tensor, window: int, progress: Progress = SILENT
) -> Tensor:
    """How often each token has each frequent token to its left and to its right; 1 / distance for each time.

    tokens: their counts, (vocab_size,). Returns float32 (vocab_size, 2 x contexts): left, then right. The sides are
    apart because what may stand before a token says other things than what may follow it.
    """
    size = len(tokens)
    contexts = max(1, min(CONTEXTS, size, CELLS // (2 * size)))
    column = torch.full((size,), -1, dtype=torch.int64)
    column[torch.sort(tokens, descending=True, stable=True).indices[:contexts]] = torch.arange(contexts)
    counts = torch.zeros(size * 2 * contexts)
    for part in sample_text(shards, documents, gap=window):
        ids = torch.from_numpy(part)
        for distance in range(1, window + 1):
            pair = torch.stack([ids[:-distance], ids[distance:]])
            left, right = pair[:, (pair != BLANK).all(0)]
            for side, token, context in ((0, right, left), (1, left, right)):
                place = column[context]
                frequent = place >= 0
                cell = (token[frequent] * 2 + side) * contexts + place[frequent]
                counts.index_add_(0, cell, torch.full((len(cell),), 1 / distance))
        progress.advance(int((part != BLANK).sum()))
    return counts.view(size, 2 * contexts)


def embeddings_from_counts(counts: Tensor, hidden_size: int) -> Tensor:
    """Vectors of tokens such that products of two approximate how much their neighbours have in common.

    counts (tokens, contexts), each token with a count -> float32 (tokens, hidden_size): left singular vectors, times
    the square root of the singular values, of the positive pointwise mutual information max(0, ln p(token, context) /
    (p(token) p(context)^0.75)) (Levy, Goldberg and Dagan 2015, sections 2.1 and 3), by random projections (Halko et
    al. 2011). Turned at random, so that no axis means more than another; centred.
    """
    context = counts.sum(0) ** SMOOTHING
    context /= context.sum()
    information = (counts / (counts.sum(1, keepdim=True) * context.clamp_min(1e-12))).clamp_min(1e-12).log_()
    information.clamp_min_(0)
    rank = min(hidden_size, *information.shape)
    left, values, _ = torch.svd_lowrank(information, q=min(rank + 16, *information.shape), niter=3)
    vectors = torch.zeros(len(counts), hidden_size)
    vectors[:, :rank] = left[:, :rank] * values[:rank].sqrt()
    turn, _ = torch.linalg.qr(torch.randn(hidden_size, hidden_size))
    vectors = vectors @ turn
    centred: Tensor = vectors - vectors.mean(0)
    return centred


@torch.no_grad()
def init_embeddings(embeddings: Tensor, counts: Tensor, std: float, free: Sequence[int] = ()) -> None:
    """Replace the embeddings (tokens, hidden_size) of the tokens that were counted, at the size of random ones.

    free: axes that are left as they are.
    """
    axes = torch.tensor([axis for axis in range(embeddings.shape[1]) if axis not in set(free)])
    counted = (counts.sum(1) > 0).nonzero()
    if len(counted) > 1:
        vectors = embeddings_from_counts(counts[counted.squeeze(1)], len(axes))
        if (spread := vectors.std()) > 0:
            embeddings[counted, axes] = (vectors * (std / spread)).to(embeddings)
