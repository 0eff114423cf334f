"""Recipes: one file, one run. Each component's settings stand beside the component; here they are composed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from unmask import bundle
from unmask.config import config, dump, from_mapping, override, read_yaml, setting
from unmask.data.rows.options import ReadOptions
from unmask.errors import UserError, did_you_mean, suggest
from unmask.learner.regularise import Regularisation
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.presets import PRESETS
from unmask.objectives import AnyObjective, Masked
from unmask.tasks import AnyTask, Classify, task_of
from unmask.train.budget import TrainConfig
from unmask.train.init import InitConfig
from unmask.train.shipped import find_recipe
from unmask.train.transfer import Transfer, architecture

R = TypeVar("R")


@config
class CorpusConfig:
    """The text to pretrain on."""

    corpus: str = setting(description="a folder made by `unmask corpus build`")
    max_length: int = setting(default=128, ge=8, description="longest sequence in tokens, [CLS] and [SEP] included")
    tokens_per_step: int = setting(
        default=8192, ge=8, description="tokens per step (on average), over all micro-batches"
    )
    heldout_share: float = setting(
        default=0.01,
        ge=0,
        lt=1,
        description="share of the documents kept for the held-out loss, at least one",
    )


@config
class PretrainRecipe:
    """A pretraining run."""

    kind: Literal["pretrain"] = setting(default="pretrain", description="what the recipe is for")
    seed: int = setting(default=0, ge=0, description="of initial weights, order and masks")
    data: CorpusConfig = setting(description="the text to pretrain on")
    model: EncoderConfig = setting(
        default_factory=EncoderConfig,
        description="the architecture; `preset` names a house model or a published one, single settings override it",
    )
    init_from: str | None = setting(
        default=None,
        description="a model folder to go on from: its architecture, weights and heads; the corpus must be built with "
        "its tokenizer",
    )
    init: InitConfig = setting(default_factory=InitConfig, description="what the network begins with")
    transfer: Transfer = setting(default_factory=Transfer, description="what becomes of the model of init_from")
    objectives: list[AnyObjective] = setting(
        default_factory=lambda: [Masked()], min_length=1, description="what is learnt: masked, next_sentence"
    )
    train: TrainConfig = setting(default_factory=TrainConfig, description="how to train")


@config
class RowFiles:
    """The files of labelled rows, and what of them a run uses."""

    train: str = setting(
        description="file of training rows: csv, tsv, jsonl, json, Parquet, Label Studio; tags: CoNLL; answers: SQuAD"
    )
    dev: str | None = setting(default=None, description="file of rows to choose by; a tenth of train if not given")
    test: str | None = setting(
        default=None, description="file of rows to evaluate on at the end; nothing is chosen by them"
    )
    dev_share: float = setting(
        default=0.1, gt=0, lt=1, description="share of train that becomes dev where none is given"
    )
    test_share: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of train that becomes test, if any; what is cut is written into split/ of the run",
    )
    leaks: Literal["warn", "drop", "stop"] = setting(
        default="warn",
        description="dev or test rows whose text stands in train: said, left out of train, or an error",
    )
    contradictions: Literal["warn", "drop", "stop"] = setting(
        default="warn",
        description="training rows of one text with different labels: said, left out, or an error",
    )
    max_train_rows: int | None = setting(
        default=None,
        ge=1,
        description="use about so many training rows, chosen by hash, so that every label is among them",
    )
    max_dev_rows: int | None = setting(
        default=None,
        ge=1,
        description="use about so many dev rows, chosen by hash: each evaluation reads them",
    )
    batch_size: int = setting(default=32, ge=1, description="rows per step, over all micro-batches")

    def __post_init__(self) -> None:
        if self.test is not None and self.test_share:
            raise ValueError("test is a file of its own, so that test_share cuts nothing: give one of them")


@config
class RowsConfig(ReadOptions, RowFiles):
    """Labelled rows to fine-tune on, and how to read them."""


@config
class FinetuneRecipe:
    """A fine-tuning run."""

    kind: Literal["finetune"] = setting(default="finetune", description="what the recipe is for")
    seed: int = setting(default=0, ge=0, description="of new weights, order and dropout")
    init_from: str = setting(description="a model folder, as pretraining or fine-tuning writes it")
    pretrained: bool = setting(
        default=True, description="false: start from random weights, to see what pretraining brings"
    )
    transfer: Transfer = setting(default_factory=Transfer, description="what becomes of this model")
    task: AnyTask = setting(default_factory=Classify, description="what is learnt")
    data: RowsConfig = setting(description="labelled rows")
    dropout: float = setting(default=0.1, ge=0, lt=1, description="in the encoder while fine-tuning")
    mask_prob: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the pieces that are replaced by [MASK] while fine-tuning, other ones in each epoch",
    )
    regularisation: Regularisation = setting(default_factory=Regularisation, description="regularisation")
    train: TrainConfig = setting(
        default_factory=lambda: TrainConfig(budget="3 epochs", evaluations=6),
        description="how to train",
    )

    def __post_init__(self) -> None:
        if not self.regularisation.rdrop:
            return
        if not task_of(self.task).supports_rdrop:
            raise ValueError(f"regularisation.rdrop is not for the task {self.task.name}")
        if not (self.dropout or getattr(self.task, "classifier_dropout", 0)):
            raise ValueError(
                "regularisation.rdrop compares dropout masks: dropout or task.classifier_dropout must be above 0"
            )


def read_recipe(cls: type[R], recipe: R | Path | str, overrides: Iterable[str] = ()) -> R:
    """Read a recipe file, or one that comes with unmask by its name, with overrides; a `cls` is returned as it is.

    Raises UserError for a recipe of the other kind, and for settings that cannot be used.
    """
    if isinstance(recipe, cls):
        if any(True for _ in overrides):
            raise UserError(f"overrides go with a recipe file, not with a {cls.__name__}")
        return recipe
    assert isinstance(recipe, Path | str), "a recipe of the other kind"
    kind = recipe_kind(recipe)
    if kind is not cls:
        other, command = ("fine-tuning", "finetune") if kind is FinetuneRecipe else ("pretraining", "pretrain")
        raise UserError("{recipe} is a recipe for {other}", recipe, other, hint=f"unmask {command} {recipe}")
    return parse_recipe(cls, read_yaml(find_recipe(recipe)), overrides, where=str(recipe))


def parse_recipe(cls: type[R], values: Mapping[str, Any], overrides: Iterable[str], where: str) -> R:
    """Nested values with overrides, checked. `model.preset` stands for the settings that it names, and so does the
    model of `init_from`, in its place.

    A task without a name is classification, as it is where no task is given.
    """
    values = override(values, overrides)
    task = values.get("task")
    if isinstance(task, dict):
        task.setdefault("name", Classify().name)
    model = values.get("model", {})
    if isinstance(model, dict) and "preset" in model:
        name = model.pop("preset")
        if name not in PRESETS:
            raise UserError(
                "{where}: model.preset cannot be used",
                where,
                given=name,
                allowed=", ".join(PRESETS),
                hint=did_you_mean(suggest(str(name), PRESETS)),
            )
        values["model"] = {**PRESETS[name], **model}
    recipe = from_mapping(cls, values, where)
    if isinstance(recipe, PretrainRecipe) and recipe.init_from is not None:
        network = architecture(bundle.read(recipe.init_from).config, recipe.transfer)
        recipe = from_mapping(cls, {**values, "model": {**dump(network), **model}}, where)
    return recipe


def recipe_kind(path: Path | str) -> type[PretrainRecipe] | type[FinetuneRecipe]:
    """Which kind of recipe a file holds. Raises UserError where its `kind` is none of ours."""
    kinds = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}
    kind = read_yaml(find_recipe(path)).get("kind")
    if kind not in kinds:
        raise UserError(
            "{path}: kind cannot be used",
            path,
            given=kind or message("nothing"),
            allowed=", ".join(kinds),
            hint="recipes of 0.1.0 have none, and other names of settings: docs/migration-0.2.md",
        )
    return kinds[kind]
