"""Pretraining signals. To add one: a file here and its settings class in `AnyObjective`."""

from typing import Annotated

from unmask.config import setting
from unmask.objectives.masked import Masked, MaskedObjective
from unmask.objectives.order import NextSentence, NextSentenceObjective

AnyObjective = Annotated[Masked | NextSentence, setting(discriminator="name")]

__all__ = ["AnyObjective", "Masked", "MaskedObjective", "NextSentence", "NextSentenceObjective"]
