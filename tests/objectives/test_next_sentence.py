"""Next-sentence prediction against the formula."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unmask.data.encoded import EncodedRow
from unmask.learner.batch import pack
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives.next_sentence import NextSentence


def test_the_loss_is_that_of_two_classes_on_cls(make_encoder: Callable[..., Encoder], tiny: EncoderConfig) -> None:
    encoder = make_encoder(tiny)
    objective = NextSentence(weight=0.7).build(tiny, 4, range(5, tiny.vocab_size)).eval()
    torch.nn.init.normal_(objective.head.weight)
    rows = [
        EncodedRow(
            np.arange(n) + 5,
            np.zeros(n, dtype=np.int64),
            np.zeros(n, dtype=np.uint8),
            n,
            targets={"next_sentence": np.array([n % 2])},
        )
        for n in (4, 9, 7)
    ]
    batch = objective.prepare(pack(rows), seed=0)
    hidden = encoder(batch.input_ids, batch.layout, batch.token_type_ids)
    part = objective(encoder, hidden, batch)
    total, correct = 0.0, 0
    for state, label in zip(hidden[[0, 9, 16]], (1, 1, 0), strict=True):  # the longest first
        pooled = torch.tanh(objective.pooler.transform.dense(state))
        logits = (objective.head.weight @ pooled + objective.head.bias).double()
        total -= (logits[label] - logits.exp().sum().log()).item()
        correct += int(logits.argmax()) == label
    assert part.sum.item() == pytest.approx(total, rel=1e-5)
    assert (part.count, part.weight, int(part.correct)) == (3, 0.7, correct)


def test_published_modules_are_bert_heads(tiny: EncoderConfig) -> None:
    published = NextSentence().build(tiny, 4, range(5, tiny.vocab_size)).saved_modules()
    assert published["pooler"].weight.shape == (16, 16)
    assert published["next_sentence"].weight.shape == (2, 16)
