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
)
