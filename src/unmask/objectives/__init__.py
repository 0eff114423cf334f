"""Pretraining objectives. To add one: a file here and its settings class in `AnyObjective`.

The settings have `build`; what it makes has `prepare` (labels and masks of a batch), `forward` (the loss) and
`saved_modules`, as in masked.py.
"""

from typing import Annotated

from unmask.config import setting
from unmask.objectives.masked import Masked, MaskedObjective
from unmask.objectives.next_sentence import NextSentence, NextSentenceObjective

AnyObjective = Annotated[Masked | NextSentence, setting(discriminator="name")]

__all__ = ["AnyObjective", "Masked", "MaskedObjective", "NextSentence", "NextSentenceObjective"]
