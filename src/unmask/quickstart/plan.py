"""How a quick start spends its time: pretraining, and fine-tuning that fits what is left.

The shares and factors below were measured (docs/studies.md); nothing is run here.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from unmask import bundle
from unmask.config import changed
from unmask.console import Progress
from unmask.data.public.models import PUBLIC_MODELS, download_model
from unmask.data.rows.example import Example
from unmask.model.config import EncoderConfig
from unmask.quickstart.jobs import Material, Request
from unmask.tasks import task_of
from unmask.text.tokenizer import Tokenizer
from unmask.train.budget import Budget
from unmask.train.recipe import FinetuneRecipe, read_recipe
from unmask.train.steps.optim import default_finetune_lr

# of the budget; fine-tuning with and without pretraining share the rest. Tags of single words want many rows.
PRETRAIN_SHARE = {"classify": 0.5, "tag": 0.3}
FINETUNE_SPEED = 1.2  # tokens read in fine-tuning for one in pretraining, which has a vocabulary to predict
PUBLIC_SHARE = 0.35  # of the budget, beside it: a public checkpoint, which takes longer over a text
OVERHEAD = 1.15  # time of a fine-tuning run over its training steps alone: evaluations, checkpoints
LENGTHS = (128, 64)  # tokens read of each text: the longest that can be read ENOUGH_EPOCHS times, else the last
RECIPES = {"classify": "quickstart-finetune", "tag": "quickstart-tag"}
ENOUGH_EPOCHS = 2
MAX_EPOCHS = {"classify": 3, "tag": 4}  # more overfit (docs/studies.md)


@dataclass(frozen=True)
class Plan:
    """A request, its training rows, and the tokenizer whose tokens are counted in them."""

    request: Request
    train: list[Example]
    tokenizer: Tokenizer

    @property
    def base(self) -> FinetuneRecipe:
        """The recipe of fine-tuning, without its files and its budget."""
        return read_recipe(FinetuneRecipe, RECIPES[self.request.learns], [f"seed={self.request.seed}"])

    def tokens_per_row(self, length: int) -> float:
        """Of a sample of the rows, when at most `length` tokens of each text are read."""
        sample = self.train[:: max(1, len(self.train) // 500)]
        settings = changed(self.base.task, max_length=length)
        task = task_of(settings).build(settings, self.tokenizer, sample)
        bare = [example.without_targets for example in sample]
        return sum(len(row.input_ids) for row in task.encode(bare)[0]) / len(sample)

    def pretraining_seconds(self, speed: float | None) -> float:
        """The share of pretraining, and what the epochs of fine-tuning will not need of theirs.

        speed: of pretraining, in tokens a second, where it is known.
        """
        rest = self.request.seconds * (1 - PRETRAIN_SHARE[self.request.learns])
        if speed is not None:
            tokens = MAX_EPOCHS[self.request.learns] * len(self.train) * self.tokens_per_row(LENGTHS[0])
            rest = min(rest, 2 * OVERHEAD * tokens / (FINETUNE_SPEED * speed))
        return max(1.0, self.request.seconds - rest)

    def finetuning(self, model: Path, files: Material, speed: float, threads: int) -> FinetuneRecipe:
        """Length, rows and epochs that fit half of the rest of the budget. speed: of pretraining, tokens a second."""
        base, learns = self.base, self.request.learns
        seconds = max(1.0, self.request.seconds * (1 - PRETRAIN_SHARE[learns]) / 2 / OVERHEAD)
        available = len(self.train) * (1 if files.dev else 1 - base.data.dev_share)
        for length in LENGTHS:
            affordable = FINETUNE_SPEED * speed * seconds / self.tokens_per_row(length)  # rows, repeated ones counted
            if affordable >= ENOUGH_EPOCHS * available:
                break
        min_epochs = Budget.parse(base.train.budget).amount
        rows = min(len(self.train), max(200, math.ceil(affordable / min_epochs)))
        epochs = min(MAX_EPOCHS[learns], max(min_epochs, affordable / available))
        data = changed(
            base.data,
            train=files.train,
            dev=files.dev,
            test=files.test,
            max_train_rows=None if rows >= available else rows,
            **files.read_options.changed,
        )
        return changed(
            base,
            init_from=str(model),
            task=changed(base.task, max_length=length),
            data=data,
            train=changed(base.train, budget=f"{epochs:.2f} epochs", threads=threads),
        )

    def public_finetuning(
        self, checkpoint: "Checkpoint", own: EncoderConfig, recipe: FinetuneRecipe, speed: float
    ) -> FinetuneRecipe:
        """The same rows from a public checkpoint, at the rate that suits its width: as many epochs as the own encoder
        has where the time is enough for them, else what the time allows, of the beginnings of the texts."""
        length = recipe.task.max_length
        tokens = Budget.parse(recipe.train.budget).amount * len(self.train) * self.tokens_per_row(length)
        seconds = max(1.0, PUBLIC_SHARE * self.request.seconds)
        train = recipe.train
        factor = block_weights(checkpoint.config) / block_weights(own)
        if OVERHEAD * factor * tokens / (FINETUNE_SPEED * speed) > seconds:
            length, train = LENGTHS[-1], changed(train, budget=f"{seconds:.0f}s")
        length = min(length, checkpoint.config.max_position_embeddings)
        optimizer = changed(train.optimizer, lr=default_finetune_lr(checkpoint.config.hidden_size))
        return changed(
            recipe,
            init_from=checkpoint.folder,
            transfer=changed(recipe.transfer, allow_unused=self.request.allow_unused),
            task=changed(recipe.task, max_length=length),
            train=changed(train, optimizer=optimizer),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A public checkpoint. folder: what `bundle.read` takes; source, licence: where they are known."""

    title: str
    folder: str
    config: EncoderConfig
    source: str | None = None
    licence: str | None = None


def load_checkpoint(name: str, progress: Progress, allow_unused: bool = False) -> Checkpoint:
    """A checkpoint by its name in PUBLIC_MODELS, or anything that `bundle.read` takes. Raises UserError."""
    model = PUBLIC_MODELS.get(name)
    if model is None:
        return Checkpoint(Path(name).name, name, bundle.read(name, allow_unused=allow_unused).config)
    folder = str(download_model(name, progress))
    return Checkpoint(model.title, folder, bundle.read(folder).config, model.source, model.licence)


def block_weights(config: EncoderConfig) -> int:
    """The weights of the matrices of all blocks, to which the time for a short text is about proportional."""
    matrices = 4 * config.hidden_size + (3 if config.gated else 2) * config.resolved_intermediate_size
    return config.num_hidden_layers * config.hidden_size * matrices
