"""DistilBERT (Sanh et al. 2019): BERT without segments."""

from unmask.model.families.family import Family, HeadStyle, block_names, embedding_names, masked_names

DISTILBERT = Family(
    name="distilbert",
    model_types=("distilbert",),
    prefix="distilbert",
    classes="DistilBert",
    head=HeadStyle(activation="relu"),
    sizes={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
    },
    options={
        "hidden_act": ("activation", "gelu"),
        "dropout": ("dropout", 0.1),
        "type_vocab_size": None,
        "norm_eps": None,
    },
    requires={"type_vocab_size": (0,), "norm_eps": (1e-12,), "hidden_act": ("gelu", "relu")},
    write=lambda config: {"sinusoidal_pos_embds": False},
    decoder="vocab_projector",
    names={
        **embedding_names("distilbert.embeddings"),
        **block_names(
            "distilbert.transformer.layer.{}",
            ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
            "attention.out_lin",
            "sa_layer_norm",
            "ffn.lin1",
            "ffn.lin2",
            "output_layer_norm",
        ),
        **masked_names("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
        "pooler": "pre_classifier",
        "classifier": "classifier",
    },
    base=(6, 768, 12),
)
