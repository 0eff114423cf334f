"""Recipes: one file, one run. The settings of each component stand beside the component; here they are composed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from unmask import bundle
from unmask.config import config, dump, from_mapping, override, read_yaml, setting
from unmask.data.rows.options import ReadOptions
from unmask.errors import UserError, did_you_mean, suggest
from unmask.learner.regularise import Regularisation
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.families import PRESETS
from unmask.objectives import AnyObjective, Masked
from unmask.schedules import Ramp
from unmask.tasks import task_of
from unmask.tasks.answer import Answer
from unmask.tasks.classify import Classify
from unmask.tasks.embed import Embed
from unmask.tasks.multilabel import Multilabel
from unmask.tasks.nested import Nested
from unmask.tasks.regress import Regress
from unmask.tasks.tag import Tag
from unmask.train.budget import TrainConfig
from unmask.train.init import InitConfig
from unmask.train.transfer import Transfer, architecture

R = TypeVar("R")
AnyTask = Annotated[Classify | Multilabel | Regress | Tag | Nested | Answer | Embed, setting(discriminator="name")]
Kind = Literal["pretrain", "finetune"]
Policy = Literal["warn", "drop", "stop"]


@config
class CorpusConfig:
    """The text to pretrain on."""

    corpus: str = setting(description="a folder made by `unmask corpus build`")
    max_length: int = setting(default=128, ge=8, description="maximum length in tokens, including [CLS] and [SEP]")
    max_length_ramp: Ramp | None = setting(default=None, description="shorter sequences at the beginning of the run")
    tokens_per_step: int = setting(default=8192, ge=8, description="tokens per step (mean), over all micro-batches")
    heldout_share: float = setting(default=0.01, ge=0, lt=1, description="share of the documents for the held-out loss")


@config
class PretrainRecipe:
    """A pretraining run."""

    kind: Literal["pretrain"] = setting(default="pretrain", description="kind of run")
    seed: int = setting(default=0, ge=0, description="random seed of initial weights, order and masks")
    data: CorpusConfig = setting(description="the text to pretrain on")
    model: EncoderConfig = setting(default_factory=EncoderConfig, description="the architecture, or a `preset` of it")
    init_from: str | None = setting(default=None, description="model folder to start from, which sets the architecture")
    init: InitConfig = setting(default_factory=InitConfig, description="initial weights")
    transfer: Transfer = setting(default_factory=Transfer, description="transfer from the model of init_from")
    objectives: list[AnyObjective] = setting(
        default_factory=lambda: [Masked()], min_length=1, description="training objectives: masked, next_sentence"
    )
    train: TrainConfig = setting(default_factory=TrainConfig, description="training")


@config
class RowFiles:
    """The files of labelled rows, and what of them a run uses."""

    train: str = setting(description="file of rows: csv, tsv, jsonl, json, Parquet, Label Studio, CoNLL or SQuAD")
    dev: str | None = setting(default=None, description="rows that select the best step; default: dev_share of train")
    test: str | None = setting(default=None, description="file of rows to evaluate on at the end")
    dev_share: float = setting(default=0.1, gt=0, lt=1, description="share of train to use as dev without a file")
    test_share: float = setting(default=0.0, ge=0, lt=1, description="share of train to use as test rows")
    leaks: Policy = setting(default="warn", description="training rows whose text also occurs in dev or test")
    contradictions: Policy = setting(default="warn", description="training rows of one text with different labels")
    max_train_rows: int | None = setting(default=None, ge=1, description="approximate limit, drawn from all labels")
    max_dev_rows: int | None = setting(default=None, ge=1, description="approximate limit of dev rows")
    batch_size: int = setting(default=32, ge=1, description="rows per step, over all micro-batches")

    def __post_init__(self) -> None:
        if self.test is not None and self.test_share:
            raise ValueError("test and test_share exclude each other: set one of them")


@config
class RowsConfig(ReadOptions, RowFiles):
    """Labelled rows to fine-tune on, and how to read them."""


@config
class FinetuneRecipe:
    """A fine-tuning run."""

    kind: Literal["finetune"] = setting(default="finetune", description="kind of run")
    seed: int = setting(default=0, ge=0, description="random seed of new weights, order and dropout")
    init_from: str = setting(description="model folder to start from, written by pretraining or fine-tuning")
    pretrained: bool = setting(default=True, description="false: initialise randomly, as a baseline")
    transfer: Transfer = setting(default_factory=Transfer, description="transfer from this model")
    task: AnyTask = setting(default_factory=Classify, description="task and its settings")
    data: RowsConfig = setting(description="labelled rows")
    dropout: float = setting(default=0.1, ge=0, lt=1, description="dropout in the encoder during fine-tuning")
    mask_prob: float = setting(default=0.0, ge=0, lt=1, description="share of the tokens to replace by [MASK]")
    regularisation: Regularisation = setting(default_factory=Regularisation, description="regularisation")
    train: TrainConfig = setting(
        default_factory=lambda: TrainConfig(budget="3 epochs", evaluations=6), description="training"
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


KINDS: dict[Kind, type[Any]] = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with unmask, by name. They lie in the installed package, or in a checkout beside `src`."""
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def _find_recipe(recipe: Path | str) -> Path:
    """The file of a recipe given by its name or its path. Raises UserError where there is none."""
    known, path = shipped_recipes(), Path(recipe)
    if str(recipe) in known:
        return known[str(recipe)]
    if path.is_file():
        return path
    allowed = f"a YAML file, or one of {', '.join(known)}"
    if "=" in str(recipe):
        raise UserError("{recipe} is a setting; the recipe comes first", recipe, allowed=allowed)
    near = {**{other.stem: other for other in path.parent.glob("*.yaml")}, **{name: name for name in known}}
    hint = did_you_mean(near.get(suggest(path.stem, near) or ""))
    raise UserError("{path} is not a recipe", recipe, allowed=allowed, hint=hint)


def read_recipe(cls: type[R], recipe: R | Path | str, overrides: Iterable[str] = ()) -> R:
    """Read a recipe file, or one that comes with unmask by its name, with overrides; a `cls` is returned as it is.

    Raises UserError for a recipe of the other kind, and for settings that cannot be used.
    """
    if isinstance(recipe, cls):
        if any(True for _ in overrides):
            raise UserError(f"overrides go with a recipe file, not with a {cls.__name__}")
        return recipe
    assert isinstance(recipe, Path | str), "a recipe of the other kind"
    if KINDS[kind := recipe_kind(recipe)] is not cls:
        raise UserError("{recipe} is a recipe of kind {kind}", recipe, kind, hint=f"unmask {kind} {recipe}")
    return parse_recipe(cls, read_yaml(_find_recipe(recipe)), overrides, where=str(recipe))


def recipe_kind(recipe: Path | str) -> Kind:
    """The kind of a recipe, a file or one that comes with unmask. Raises UserError where its `kind` is none of ours."""
    kind = read_yaml(_find_recipe(recipe)).get("kind")
    if kind not in KINDS:
        given, allowed = kind or message("nothing"), ", ".join(KINDS)
        hint = "recipes of 0.1.0 have none, and other names of settings: docs/migration-0.2.md"
        raise UserError("{path}: kind cannot be used", recipe, given=given, allowed=allowed, hint=hint)
    return cast(Kind, kind)


def parse_recipe(cls: type[R], values: Mapping[str, Any], overrides: Iterable[str], where: str) -> R:
    """Nested values with overrides, checked. `model.preset` stands for the settings that it names, and so does the
    model of `init_from`, in its place.

    A task without a name is classification, as it is where no task is given.
    """
    values = override(values, overrides)
    task, model = values.get("task"), values.get("model", {})
    if isinstance(task, dict):
        task.setdefault("name", Classify().name)
    if isinstance(model, dict) and "preset" in model:
        name = model.pop("preset")
        if name not in PRESETS:
            allowed, hint = ", ".join(PRESETS), did_you_mean(suggest(str(name), PRESETS))
            raise UserError("{where}: model.preset cannot be used", where, given=name, allowed=allowed, hint=hint)
        values["model"] = {**PRESETS[name], **model}
    recipe = from_mapping(cls, values, where)
    if isinstance(recipe, PretrainRecipe) and recipe.init_from is not None:
        network = architecture(
            bundle.read(recipe.init_from, allow_unused=recipe.transfer.allow_unused).config, recipe.transfer
        )
        recipe = from_mapping(cls, {**values, "model": {**dump(network), **model}}, where)
    return recipe
