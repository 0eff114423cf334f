"""Small networks of every family, with weights that no initialisation would hide a mistake in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from unmask.text.tokenizer import Tokenizer

TEXT = "the quick brown fox jumps over the lazy dog, then it sleeps. 今天天气很好，我们去公园。 naïve café 1999 !?"
PIECES = 120

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


def configurations(vocabulary: int) -> dict[str, Any]:
    """name -> configuration. Some with other values than the default."""
    classic = {**SIZES, "vocab_size": vocabulary}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    modern = {**classic, **special, "cls_token_id": 2, "sep_token_id": 3}
    return {
        "bert": hf.BertConfig(**classic),
        "bert-other-values": hf.BertConfig(**classic, hidden_act="gelu_new", layer_norm_eps=1e-3, type_vocab_size=1),
        "roberta": hf.RobertaConfig(**{**classic, "max_position_embeddings": 65}, type_vocab_size=1, pad_token_id=0),
        "xlm-roberta": hf.XLMRobertaConfig(
            **{**classic, "max_position_embeddings": 65}, type_vocab_size=1, pad_token_id=0
        ),
        "camembert": hf.CamembertConfig(
            **{**classic, "max_position_embeddings": 65}, type_vocab_size=1, pad_token_id=0, hidden_act="relu"
        ),
        "albert": hf.AlbertConfig(**classic, embedding_size=16),
        "albert-groups": hf.AlbertConfig(**{**classic, "num_hidden_layers": 4}, embedding_size=16, num_hidden_groups=2),
        "distilbert": hf.DistilBertConfig(
            vocab_size=vocabulary, dim=32, n_layers=3, n_heads=4, hidden_dim=48, max_position_embeddings=64
        ),
        "electra": hf.ElectraConfig(**classic, embedding_size=16),
        "electra-wide": hf.ElectraConfig(**classic, embedding_size=32),
        "modernbert": hf.ModernBertConfig(**{**modern, "num_hidden_layers": 5}, local_attention=8),
        "modernbert-biases": hf.ModernBertConfig(
            **modern,
            attention_bias=True,
            mlp_bias=True,
            norm_bias=True,
            global_attn_every_n_layers=2,
            classifier_pooling="mean",
        ),
    }


NAMES = tuple(configurations(PIECES))
HEADS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
LABELS = {
    "ForSequenceClassification": ["no", "yes", "maybe"],
    "ForTokenClassification": ["I-PER", "O", "B-PER", "B-ORG", "I-ORG"],
}
AUTO = {
    "Model": hf.AutoModel,
    "ForMaskedLM": hf.AutoModelForMaskedLM,
    "ForSequenceClassification": hf.AutoModelForSequenceClassification,
    "ForTokenClassification": hf.AutoModelForTokenClassification,
    "ForQuestionAnswering": hf.AutoModelForQuestionAnswering,
}


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([TEXT] * 3, vocab_size=PIECES, allow_fewer=True)


def disturbed(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Every parameter, biases and norms included, from N(0, 0.2)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def publish(config: Any, head: str, tokenizer: Tokenizer, folder: Path) -> torch.nn.Module:
    """A checkpoint of the peer in a folder, written by the peer, with our tokenizer beside it."""
    if head in LABELS:
        config.id2label = dict(enumerate(LABELS[head]))
        config.label2id = {label: number for number, label in enumerate(LABELS[head])}
    model = disturbed(AUTO[head].from_config(config))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    hf.logging.set_verbosity_error()
    yield
