"""ALBERT (Lan et al. 2020): one block for all layers, and embeddings smaller than the hidden states."""

from unmask.model.families.family import Family, block_names, embedding_names, masked_names

ALBERT = Family(
    name="albert",
    model_types=("albert",),
    prefix="albert",
    classes="Albert",
    sizes={"embedding_size": "embedding_size"},
    options={
        "hidden_act": ("hidden_act", "gelu_tanh"),
        "dropout": ("hidden_dropout_prob", 0.0),
        "num_hidden_groups": ("num_hidden_groups", 1),
    },
    never_none=("embedding_size", "num_hidden_groups"),
    constants={"inner_group_num": 1},
    decoder="predictions.decoder",
    names={
        **embedding_names("albert.embeddings"),
        "encoder.embeddings.project": "albert.encoder.embedding_hidden_mapping_in",
        **block_names(
            "albert.encoder.albert_layer_groups.{}.albert_layers.0",
            ("attention.query", "attention.key", "attention.value"),
            "attention.dense",
            "attention.LayerNorm",
            "ffn",
            "ffn_output",
            "full_layer_layer_norm",
        ),
        **masked_names("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
        "pooler": "albert.pooler",
        "sentence_order": "sop_classifier.classifier",
        "classifier": "classifier",
    },
    preset_defaults={"embedding_size": 128},
)
