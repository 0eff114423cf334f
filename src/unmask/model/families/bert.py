"""BERT (Devlin et al. 2019), also its small sizes (Turc et al. 2019) and the Chinese RBT (Cui et al. 2021)."""

from unmask.model.families.family import Family, bert_names, masked_names

BERT = Family(
    name="bert",
    model_types=("bert",),
    prefix="bert",
    classes="Bert",
    decoder="cls.predictions.decoder",
    names={
        **bert_names("bert"),
        **masked_names(
            "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"
        ),
        "pooler": "bert.pooler.dense",
        "next_sentence": "cls.seq_relationship",
        "classifier": "classifier",
    },
    presets={  # Devlin et al. 2019, section 3; Turc et al. 2019, table 1; Cui et al. 2021: three layers
        "bert-tiny": (2, 128, 2),
        "bert-mini": (4, 256, 4),
        "bert-small": (4, 512, 8),
        "bert-medium": (8, 512, 8),
        "bert-base": (12, 768, 12),
        "bert-large": (24, 1024, 16),
        "rbt3": (3, 768, 12),
        "rbtl3": (3, 1024, 16),
    },
)
