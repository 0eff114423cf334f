"""A public checkpoint beside the encoder of a quick start: what minutes of pretraining bring, and what it brings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import bundle
from unmask.config import changed
from unmask.console import Progress
from unmask.data.public.models import PUBLIC_MODELS, download_model
from unmask.model.config import EncoderConfig
from unmask.model.cost import forward_flops
from unmask.train.optim import default_finetune_lr
from unmask.train.recipe import FinetuneRecipe


@dataclass(frozen=True)
class StartingModel:
    """where: what `bundle.read` takes; source, licence: of a checkpoint that we know."""

    title: str
    where: str
    config: EncoderConfig
    source: str | None = None
    licence: str | None = None

    @staticmethod
    def from_name(name: str, progress: Progress) -> "StartingModel":
        """A checkpoint by its name in PUBLIC_MODELS, or anything that `bundle.read` takes. Raises UserError."""
        known = PUBLIC_MODELS.get(name)
        where = name if known is None else str(download_model(name, progress))
        config = bundle.read(where).config
        if known is None:
            return StartingModel(Path(name).name, where, config)
        return StartingModel(known.title, where, config, known.source, known.licence)

    @property
    def to_dict(self) -> dict[str, Any]:
        """What results.json says of it."""
        return {"name": self.title, "source": self.source or self.where, "licence": self.licence}

    def cost(self, ours: EncoderConfig, length: int) -> float:
        """How much longer it takes over a text of this length than our own encoder."""
        theirs, own = (forward_flops(config, length) for config in (self.config, ours))
        return (sum(theirs.values()) - theirs["masked"]) / (sum(own.values()) - own["masked"])

    def recipe(self, ours: FinetuneRecipe) -> FinetuneRecipe:
        """The same rows and settings from the checkpoint, at the rate that suits its width."""
        train = changed(
            ours.train,
            optimizer=changed(ours.train.optimizer, lr=default_finetune_lr(self.config.hidden_size)),
        )
        task = changed(ours.task, max_length=min(ours.task.max_length, self.config.max_position_embeddings))
        return changed(ours, init_from=self.where, task=task, train=train)
