"""Families of public encoders: one file each, listed here."""

from unmask.model.families.albert import ALBERT
from unmask.model.families.bert import BERT
from unmask.model.families.distilbert import DISTILBERT
from unmask.model.families.electra import ELECTRA
from unmask.model.families.family import Family, HeadStyle
from unmask.model.families.modernbert import MODERNBERT
from unmask.model.families.roberta import ROBERTA

__all__ = ["FAMILIES", "Family", "HeadStyle", "family_of_type"]

FAMILIES: dict[str, Family] = {
    family.name: family for family in (BERT, ROBERTA, ALBERT, DISTILBERT, ELECTRA, MODERNBERT)
}


def family_of_type(model_type: str) -> Family | None:
    """The family that a config.json means by its `model_type`."""
    return next((family for family in FAMILIES.values() if model_type in family.model_types), None)
