"""A public checkpoint beside the encoder of a quick start: what minutes of pretraining bring, and what it brings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import bundle
from unmask.config import changed
from unmask.console import Progress
from unmask.data.publicmodels import PUBLIC_MODELS, get_model
from unmask.model.encoder import EncoderConfig
from unmask.train.optim import finetuning_rate
from unmask.train.recipe import FinetuneRecipe
from unmask.train.speed import Work, flops


@dataclass(frozen=True)
class Start:
    """where: what `bundle.read` takes; source, licence: of a checkpoint that we know."""

    title: str
    where: str
    config: EncoderConfig
    source: str | None = None
    licence: str | None = None

    @staticmethod
    def of(name: str, progress: Progress) -> "Start":
        """A checkpoint by its name in PUBLIC_MODELS, or anything that `bundle.read` takes. Raises UserError."""
        known = PUBLIC_MODELS.get(name)
        where = name if known is None else str(get_model(name, progress))
        config = bundle.read(where).config
        if known is None:
            return Start(Path(name).name, where, config)
        return Start(known.title, where, config, known.source, known.licence)

    @property
    def told(self) -> dict[str, Any]:
        """What results.json says of it."""
        return {"name": self.title, "source": self.source or self.where, "licence": self.licence}

    def cost(self, ours: EncoderConfig, length: int) -> float:
        """How much longer it takes over a text of this length than our own encoder."""
        work = Work([length], [length])
        theirs, own = (sum(flops(config, work).values()) for config in (self.config, ours))
        return theirs / own

    def recipe(self, ours: FinetuneRecipe) -> FinetuneRecipe:
        """The same rows and settings from the checkpoint, at the rate that suits its width."""
        train = changed(
            ours.train, optimizer=changed(ours.train.optimizer, lr=finetuning_rate(self.config.width))
        )
        task = changed(ours.task, length=min(ours.task.length, self.config.length))
        return changed(ours, model=self.where, task=task, train=train)
