"""Every head computes the same outputs and the same loss of packed and of padded sequences."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from task_helpers import learner_of, rows_of
from unmask.config import from_mapping
from unmask.data.rows.example import Answers, Example, Labels, ReferenceAnswer, Span, Spans
from unmask.learner.batch import Batch, pack
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import task_of
from unmask.tasks.answer import Answer
from unmask.tasks.classify import Classify
from unmask.tasks.embed import Embed
from unmask.tasks.multilabel import Multilabel
from unmask.tasks.nested import Nested
from unmask.tasks.regress import Regress
from unmask.tasks.tag import Tag
from unmask.text.tokenizer import Tokenizer

TEXTS = ["river stone captain winter", "river", "captain river river stone harbour letter", "winter stone"]


def examples(**values: Any) -> list[Example]:
    """Four texts, each with its value of every field."""
    rows = [Example(text, None, None, str(n), n + 1, "rows") for n, text in enumerate(TEXTS)]
    return [dataclasses.replace(row, **{name: of[n] for name, of in values.items()}) for n, row in enumerate(rows)]


SPANS = [Spans(one) for one in ((Span(0, 5, "A"), Span(12, 19, "B")), (Span(0, 5, "A"),), (Span(8, 19, "B"),), ())]
PAIRS = ["river", "stone bridge", "lantern", "winter"]
ANSWERS = [Answers(one) for one in ((ReferenceAnswer("river", 0),), (), (ReferenceAnswer("lantern", 0),), ())]
KINDS: dict[str, tuple[type, dict[str, Any], list[Example]]] = {
    "classify": (Classify, {}, examples(target="abab")),
    "classify, mean": (Classify, {"pooling": "mean"}, examples(target="abab")),
    "classify, max": (Classify, {"pooling": "max"}, examples(target="abab")),
    "classify, attention": (Classify, {"pooling": "attention"}, examples(target="abab")),
    "classify, adaptive": (Classify, {"head": "adaptive"}, examples(target="abac")),
    "multilabel": (Multilabel, {}, examples(target=[Labels(one) for one in ("a", "", "ab", "b")])),
    "regress": (Regress, {}, examples(target=[1.0, 2.0, 3.0, 5.0])),
    "tag": (Tag, {}, examples(target=SPANS)),
    "tag, crf": (Tag, {"decoder": "crf"}, examples(target=SPANS)),
    "tag, lstm": (Tag, {"lstm_hidden_size": 4}, examples(target=SPANS)),
    "tag, wide": (Tag, {"wide": True}, examples(target=SPANS)),
    "nested": (Nested, {}, examples(target=SPANS)),
    "answer": (Answer, {}, examples(pair=PAIRS, target=ANSWERS)),
    "embed": (Embed, {}, examples(pair=PAIRS)),
    "embed, cls": (Embed, {"pooling": "cls"}, examples(pair=PAIRS)),
}


def padded(batch: Batch) -> Batch:
    """The same sequences in rows of one length; tokens at padding are any."""
    lengths, longest = batch.lengths, batch.layout.max_seqlen
    mask = torch.arange(longest) < lengths.unsqueeze(1)
    begins = torch.arange(len(lengths)) * longest - batch.layout.first_tokens

    def spread(x: torch.Tensor) -> torch.Tensor:
        rows = torch.ones(*mask.shape, *x.shape[1:], dtype=x.dtype)
        rows[mask] = x
        return rows

    targets = {name: spread(x) if len(x) == len(batch.input_ids) else x for name, x in batch.targets.items()}
    return dataclasses.replace(
        batch,
        input_ids=spread(batch.input_ids),
        token_type_ids=spread(batch.token_type_ids),
        flags=spread(batch.flags),
        layout=SequenceLayout.padded(mask),
        targets=targets,
        positions=batch.positions + begins.repeat_interleave(batch.position_counts)
        if len(batch.positions)
        else batch.positions,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_packed_and_padded_sequences_have_the_same_outputs_and_loss(
    kind: str, tokenizer: Tokenizer, make_encoder: Callable[..., Encoder], tiny: EncoderConfig
) -> None:
    cls, settings, given = KINDS[kind]
    settings = from_mapping(cls, {**settings, "max_length": 64}, "the test")
    task = task_of(settings).build(settings, tokenizer, given)
    rows = rows_of(task, given)
    torch.manual_seed(0)
    learner = learner_of(task, make_encoder(tiny), rows).eval()
    with torch.no_grad():
        for parameter in learner.head.parameters():
            parameter.normal_(std=0.5)
    packed = learner.prepare(pack(rows, copies=learner.copies), 0)
    other = padded(packed)
    with torch.no_grad():
        one, two = learner.outputs(packed), learner.outputs(other)
        losses = [learner.head.loss(*both).terms[task.name] for both in ((one, packed), (two, other))]
    if two.dim() == 3 and kind == "answer":  # outputs of tokens are padded like them
        two = two[other.layout.attention_mask]
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert losses[0].count == losses[1].count > 0
    torch.testing.assert_close(losses[0].sum, losses[1].sum, rtol=1e-4, atol=1e-5)
