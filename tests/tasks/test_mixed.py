"""Heads that read a mix of all layers: with one layer alone they are the head on that layer."""

from collections.abc import Callable

import pytest
import torch

from unmask.config import changed, from_mapping
from unmask.data.batch import pack
from unmask.data.tables import Example, Span
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.tasks import Classify, ClassifyTask, Tag, TagTask
from unmask.tasks.task import head_outputs
from unmask.text.tokenizer import Tokenizer

ROWS = [
    Example(str(n), f"river {'stone ' * n}", None, "ab"[n % 2], n, "f", spans=(Span(0, 5, "PLACE"),)) for n in (4, 3, 1)
]


@pytest.mark.parametrize("kind", ["classify", "tag"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_one_layer_alone(
    tokenizer: Tokenizer,
    make_encoder: Callable[..., Encoder],
    tiny: EncoderConfig,
    kind: str,
    norm: str,
    layer: int,
) -> None:
    cls, task_cls = (Classify, ClassifyTask) if kind == "classify" else (Tag, TagTask)
    task, mixed = (
        task_cls.build(from_mapping(cls, {"mix_layers": mix, "length": 32}, "x"), tokenizer, ROWS)  # type: ignore[attr-defined]
        for mix in (False, True)
    )
    encoder = make_encoder(changed(tiny, norm=norm))
    head, mixing = task.head(tiny).eval(), mixed.head(tiny).eval()
    torch.nn.init.normal_(head.classifier.weight)
    mixing.load_state_dict(head.state_dict(), strict=False)
    with torch.no_grad():
        mixing.layer_mix.weights.fill_(-100)[layer] = 0.0
        batch, states = pack(mixed.encode(ROWS)), []
        encoder(batch.input_ids, batch.layout, batch.token_type_ids, states=states)
        torch.testing.assert_close(head_outputs(encoder, mixing, batch), head(states[layer], batch))
        if layer == 2:
            torch.testing.assert_close(head_outputs(encoder, mixing, batch), head_outputs(encoder, head, batch))
    assert mixing.query_positions(batch.layout) is None and (head.query_positions(batch.layout) is None) is (
        kind == "tag"
    )
    assert "mix" in mixing.saved_modules() and "mix" not in head.saved_modules()
    assert task.public_architecture[0] is not None and mixed.public_architecture == (
        None,
        task.public_architecture[1],
    )
