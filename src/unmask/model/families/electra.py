"""ELECTRA (Clark et al. 2020): the discriminators, and generators of the same layout."""

from unmask.model.families.family import Family, HeadStyle, bert_names, masked_names

ELECTRA = Family(
    name="electra",
    model_types=("electra",),
    prefix="electra",
    classes="Electra",
    head=HeadStyle(activation="gelu", masked_activation="gelu"),
    options={"embedding_size": ("embedding_size", 128)},
    decoder="generator_lm_head",
    names={
        **bert_names("electra"),
        "encoder.embeddings.project": "electra.embeddings_project",
        **masked_names("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
        "replaced.dense": "discriminator_predictions.dense",
        "replaced.score": "discriminator_predictions.dense_prediction",
    },
    sequence_names={"pooler": "classifier.dense", "classifier": "classifier.out_proj"},
    other_names={"classifier": "classifier"},
    preset_defaults={"embedding_size": None},
)
