"""RoBERTa (Liu et al. 2019), also XLM-R and CamemBERT. The first position is the one after the id of the padding."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmask.model.families.family import Family, HeadStyle, bert_names, masked_names, read_integer


def _read(public: Mapping[str, Any], values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    length = values["max_position_embeddings"]
    pad = read_integer(public, "pad_token_id", where, default=1, low=0, high=length - 9)
    return {"position_offset": pad + 1, "max_position_embeddings": length - pad - 1}


ROBERTA = Family(
    name="roberta",
    model_types=("roberta", "xlm-roberta", "camembert"),
    prefix="roberta",
    classes="Roberta",
    head=HeadStyle(masked_activation="gelu"),
    requires={"position_embedding_type": ("learned",), "position_offset": tuple(range(1, 100))},
    special_tokens=("pad", "bos", "eos"),
    read=_read,
    decoder="lm_head.decoder",
    names={**bert_names("roberta"), **masked_names("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")},
    sequence_names={"pooler": "classifier.dense", "classifier": "classifier.out_proj"},
    other_names={"pooler": "roberta.pooler.dense", "classifier": "classifier"},
    preset_defaults={"type_vocab_size": 1, "norm_eps": 1e-5, "position_offset": 2},
)
