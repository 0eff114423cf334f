"""The table of public names, against the names that BERT checkpoints are published with."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unmask.bundle.layout import from_public, to_public
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.families import FAMILIES
from unmask.model.mlm_head import MLMHead
from unmask.model.pooler import Pooler

PUBLISHED = """
bert.embeddings.word_embeddings.weight
bert.embeddings.position_embeddings.weight
bert.embeddings.token_type_embeddings.weight
bert.embeddings.LayerNorm.weight
bert.embeddings.LayerNorm.bias
bert.encoder.layer.N.attention.self.query.weight
bert.encoder.layer.N.attention.self.query.bias
bert.encoder.layer.N.attention.self.key.weight
bert.encoder.layer.N.attention.self.key.bias
bert.encoder.layer.N.attention.self.value.weight
bert.encoder.layer.N.attention.self.value.bias
bert.encoder.layer.N.attention.output.dense.weight
bert.encoder.layer.N.attention.output.dense.bias
bert.encoder.layer.N.attention.output.LayerNorm.weight
bert.encoder.layer.N.attention.output.LayerNorm.bias
bert.encoder.layer.N.intermediate.dense.weight
bert.encoder.layer.N.intermediate.dense.bias
bert.encoder.layer.N.output.dense.weight
bert.encoder.layer.N.output.dense.bias
bert.encoder.layer.N.output.LayerNorm.weight
bert.encoder.layer.N.output.LayerNorm.bias
bert.pooler.dense.weight
bert.pooler.dense.bias
cls.predictions.bias
cls.predictions.transform.dense.weight
cls.predictions.transform.dense.bias
cls.predictions.transform.LayerNorm.weight
cls.predictions.transform.LayerNorm.bias
cls.seq_relationship.weight
cls.seq_relationship.bias
classifier.weight
classifier.bias
qa_outputs.weight
qa_outputs.bias
""".split()


CONFIG = EncoderConfig(
    vocab_size=20,
    num_hidden_layers=3,
    hidden_size=8,
    num_attention_heads=2,
    max_position_embeddings=8,
    position_embedding_type="learned",
)


@pytest.fixture
def tensors(make_encoder: Callable[..., Encoder]) -> dict[str, Tensor]:
    config = CONFIG
    modules: dict[str, nn.Module] = {
        "encoder": make_encoder(config),
        "masked": MLMHead(config),
        "pooler": Pooler(config).transform.dense,
        "next_sentence": nn.Linear(8, 2),
        "classifier": nn.Linear(8, 4),
        "qa_outputs": nn.Linear(8, 2),
    }
    return {f"{p}.{n}": t for p, module in modules.items() for n, t in module.state_dict().items()}


def test_public_names_are_those_of_published_checkpoints(tensors: dict[str, Tensor]) -> None:
    public = to_public(tensors, CONFIG)
    wanted = {name.replace("N", str(n), 1) if "layer.N" in name else name for name in PUBLISHED for n in range(3)}
    assert set(public) == wanted


def test_there_and_back_is_the_same_to_the_byte(tensors: dict[str, Tensor]) -> None:
    back = from_public(to_public(tensors, CONFIG), CONFIG)
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes(), name


def test_query_key_and_value_are_thirds_in_this_order(tensors: dict[str, Tensor]) -> None:
    public = to_public(tensors, CONFIG)
    for third, part in enumerate(("query", "key", "value")):
        ours = tensors["encoder.blocks.1.attention.qkv.weight"][8 * third : 8 * third + 8]
        assert torch.equal(public[f"bert.encoder.layer.1.attention.self.{part}.weight"], ours)


def test_no_row_is_unused_and_none_stands_twice(tensors: dict[str, Tensor]) -> None:
    rows = list(FAMILIES["bert"].parameter_names((), 3, public=False))
    ours = [name for name, _ in rows]
    public = [name for _, names in rows for name in names]
    assert len(set(ours)) == len(ours) and len(set(public)) == len(public)
    assert tensors.keys() == set(ours)


def test_names_without_a_row_stay(tensors: dict[str, Tensor]) -> None:
    extra = {**tensors, "something.else": torch.ones(1)}
    assert "something.else" in to_public(extra, CONFIG)
    assert set(from_public(to_public(extra, CONFIG), CONFIG)) == set(extra)
