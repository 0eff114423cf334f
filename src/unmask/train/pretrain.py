"""Pretraining: a corpus and a recipe in, a run folder with a model out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from unmask import bundle
from unmask.config import changed, difference, dump
from unmask.console import Progress
from unmask.data.corpus.shards import Shards
from unmask.data.sequences import CorpusSequences, split_documents
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches, evaluation_batches
from unmask.learner.learner import Learner
from unmask.learner.loss import Loss
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.objectives import Masked, MaskedObjective, NextSentenceObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train import transfer
from unmask.train.init import init_from_counts, token_counts
from unmask.train.recipe import PretrainRecipe, read_recipe
from unmask.train.run import Run
from unmask.train.steps.loop import Step, evaluate
from unmask.train.steps.parallel import World, join_world
from unmask.train.trainer import RunResult, Trainer

EVALUATION_SEED = 0  # held-out masks are the same for every run, so that losses compare
EVALUATION_BATCH_TOKENS = 8192
EVALUATION_TOKENS = 32768  # at most, in all


class PretrainLearner(Learner):
    """An encoder and the heads of its objectives; one pass of the encoder serves them all."""

    def __init__(self, encoder: Encoder, objectives: Sequence[MaskedObjective | NextSentenceObjective]) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectives = nn.ModuleDict({o.settings.name: o for o in objectives})

    def prepare(self, batch: Batch, seed: int, masks: Masked | None = None) -> Batch:
        """Choose the targets of a batch. masks: others than those of the recipe."""
        for objective in self.objectives.values():
            options = [masks] if isinstance(objective, MaskedObjective) else []
            batch = objective.prepare(batch, seed, *options)  # type: ignore[operator]
        return batch.with_queries("masked") if "masked" in batch.target_positions else batch

    def forward(self, batch: Batch) -> Loss:
        hidden = self.encoder(batch.input_ids, batch.layout, batch.token_type_ids, batch.query_positions)
        return Loss({name: o(self.encoder, hidden, batch) for name, o in self.objectives.items()})

    def saved_modules(self) -> dict[str, nn.Module]:
        heads: dict[str, nn.Module] = {"encoder": self.encoder}
        for objective in self.objectives.values():
            heads |= objective.saved_modules()  # type: ignore[operator]
        return heads


@dataclass(frozen=True, kw_only=True)
class PretrainResult(RunResult):
    """The outcome of a pretraining run. Losses are nats per predicted token, of a fixed 15 % mask on held-out text.

    heldout_before: of the model that it started from, before the first step, if there is one.
    """

    tokens: int
    parameters: int
    heldout_figures: dict[str, float]
    uniform_loss: float
    unigram_loss: float
    heldout_before: dict[str, float] | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens read per second of training."""
        return self.tokens / max(1e-9, self.seconds)


def pretrain(
    recipe: PretrainRecipe | Path | str,
    overrides: Sequence[str] = (),
    output: Path | str = "runs/pretrain",
    progress: Progress | None = None,
    world: World | None = None,
    *,
    corpus: Path | str | None = None,
    budget: str | None = None,
    allow_unused: bool = False,
) -> PretrainResult:
    """Train an encoder on a corpus; the run folder `output` then holds model/, the log and the checkpoints.

    recipe: a PretrainRecipe, a YAML file, or the name of a recipe that comes with unmask; overrides: `key.sub=value`;
    corpus, budget, allow_unused: in place of data.corpus (a folder of `unmask corpus build`), train.budget and
    transfer.allow_unused. An interrupted run goes on where it stopped, a finished one is returned as it is.
    world: the processes that train it together; by default those that torchrun has started, or this one. Raises
    UserError for what cannot be used.
    """
    shorthands = {"data.corpus": corpus, "train.budget": budget, "transfer.allow_unused": allow_unused or None}
    given = [f"{key}={json.dumps(value, default=str)}" for key, value in shorthands.items() if value is not None]
    with join_world(world) as world:
        with world.sync_errors():
            recipe = read_recipe(PretrainRecipe, recipe, [*given, *overrides])
            # a run that begins makes sure that the text is what was built: changed tokens would be trained on
            # unnoticed
            shards = Shards.open(recipe.data.corpus, check=not (Path(output) / "checkpoints").exists())
            recipe = fit_to_corpus(recipe, shards.tokenizer)
        with Run(Path(output), recipe, "pretrain", world) as run:
            return PretrainResult(**PretrainTrainer(run, shards)(progress))


def fit_to_corpus(recipe: PretrainRecipe, tokenizer: Tokenizer) -> PretrainRecipe:
    """The recipe with the vocabulary of the corpus and a learning rate, checked for what no single setting can see.

    A network that goes on from a model keeps the vocabulary of that.
    """
    model = recipe.model
    if recipe.init_from is not None:
        model = _network_of_model(recipe, tokenizer)
    elif recipe.transfer != transfer.Transfer():
        raise UserError("transfer needs a model to start from", hint="init_from=FOLDER, or leave transfer out")
    else:
        # other libraries count RoBERTa's positions from the id of the padding
        offset = tokenizer.pad_token_id + 1 if model.family == "roberta" else model.position_offset
        model = changed(model, vocab_size=tokenizer.vocab_size, position_offset=offset)
    names = [objective.name for objective in recipe.objectives]
    if len(set(names)) < len(names):
        raise UserError("the recipe names an objective twice", given=", ".join(names))
    group = "model" if recipe.init_from is None else "transfer"
    transfer.check_max_length("data.max_length", recipe.data.max_length, model.max_position_embeddings, group)
    if "next_sentence" in names and model.type_vocab_size < 2:
        raise UserError("next_sentence needs token type embeddings", given=f"type_vocab_size={model.type_vocab_size}")
    recipe.init.check(model, recipe.init_from)
    optimizer = changed(recipe.train.optimizer, lr=recipe.train.optimizer.peak_lr)
    return changed(recipe, model=model, train=changed(recipe.train, optimizer=optimizer))


def _network_of_model(recipe: PretrainRecipe, tokenizer: Tokenizer) -> EncoderConfig:
    """The network of the model that a recipe goes on from, with the dropout of the recipe.

    Raises UserError where the recipe describes another network, or the corpus has another tokenizer.
    """
    opened = bundle.read(str(recipe.init_from), allow_unused=recipe.transfer.allow_unused)
    theirs = opened.tokenizer
    if (theirs.sha256, theirs.special_tokens) != (tokenizer.sha256, tokenizer.special_tokens):
        hint = f"unmask corpus build FILES --tokenizer {opened.folder} --output FOLDER"
        raise UserError(f"{recipe.data.corpus} was built with another tokenizer than {opened.folder}", hint=hint)
    network = changed(transfer.architecture(opened.config, recipe.transfer), dropout=recipe.model.dropout)
    differences = difference(dump(network), dump(changed(recipe.model, vocab_size=network.vocab_size)))
    if differences:
        given = [f"model.{line}" for line in differences[:4]]
        hint = "leave these settings out; transfer.max_position_embeddings changes the number of positions"
        raise UserError(f"the recipe describes another network than {opened.folder} is", given=given, hint=hint)
    return network


class PretrainTrainer(Trainer):
    """Trains the encoder and the objectives of a recipe. origin: `init` of run.json, where it starts from a model."""

    title, keep_best, higher_is_better = "Pretraining", False, False
    learner: PretrainLearner
    recipe: PretrainRecipe
    origin: dict[str, Any] | None = None

    def __init__(self, run: Run, shards: Shards) -> None:
        super().__init__(run)
        self.shards, self.unigram_loss = shards, shards.unigram_entropy()
        self.settings, self.metric = self.recipe.train, f"{self.recipe.objectives[0].name}.loss"

    def prepare(self, progress: Progress) -> None:
        """Make the learner, with the weights of the model that it starts from, and the batches."""
        recipe, shards = self.recipe, self.shards
        opened = None
        if recipe.init_from is not None:
            opened = bundle.read(recipe.init_from, allow_unused=recipe.transfer.allow_unused)
        inputs = {"corpus": shards.sha256, **({} if opened is None else {"model": opened.sha256})}
        self.world.run_on_rank0(lambda: self.run.check_inputs(**inputs))
        torch.manual_seed(recipe.seed)
        self.learner = build_learner(recipe, shards.tokenizer)
        self.batches = build_batches(recipe, shards, self.world)
        if opened is not None:
            self.lineage = opened.lineage
            loaded = transfer.load_pretrained(opened, recipe.transfer, recipe.seed)
            loaded.load_into(self.learner.encoder, "encoder")
            heads, why_new = self.learner.objectives.items(), recipe.transfer.why_new_heads
            origins = {name: transfer.load_head(loaded, name, head.saved_modules(), why_new) for name, head in heads}  # type: ignore[operator]
            self.origin = transfer.summary(opened, self.learner, recipe.transfer, origins)
        self.heldout = _heldout(self.learner, shards, recipe) if self.world.is_main else []

    def init_weights(self, progress: Progress) -> None:
        """Initialise what is new, and evaluate the model that the run starts from."""
        origins = {} if self.origin is None else self.origin["heads"]
        _init_weights(self.learner, self.recipe, self.shards, progress, origins)
        if self.origin is not None:
            self.run.write_facts(init={**self.origin, "heldout_figures": self.evaluate()})

    def evaluate(self) -> dict[str, float]:
        """Losses and accuracies on held-out text."""
        return evaluate(self.learner, self.heldout)

    def describe(self, step: Step) -> str:
        """The loss, beside that of guessing by frequency."""
        if "masked" not in step.losses:
            return message("loss {loss:.2f}", step.loss)
        return message("loss {loss:.2f} (unigram {unigram:.2f})", step.loss, self.unigram_loss)

    def save_model(self, lineage: list[dict[str, Any]]) -> dict[str, Any]:
        """Write encoder and heads; returns the values of a PretrainResult."""
        modules, tokenizer = self.learner.saved_modules(), self.shards.tokenizer
        bundle.write(self.run.folder / "model", self.recipe.model, modules, tokenizer, lineage)
        return {
            "tokens": self.state.tokens,
            "parameters": sum(p.numel() for p in self.learner.parameters()),
            "heldout_figures": self.evaluate(),
            "uniform_loss": math.log(self.shards.vocab_size),
            "unigram_loss": self.unigram_loss,
            "heldout_before": self.run.facts().get("init", {}).get("heldout_figures"),
        }


def _init_weights(
    learner: PretrainLearner, recipe: PretrainRecipe, shards: Shards, progress: Progress, origins: Mapping[str, str]
) -> None:
    """Initialise from counts over the training documents. origins: of the heads, where weights were loaded."""
    documents = split_documents(shards.documents, recipe.data.heldout_share, "train")
    counts = token_counts(shards, documents)
    for name, objective in learner.objectives.items():
        if isinstance(objective, MaskedObjective) and origins.get(name) != "kept":
            objective.head.init_from_counts(F.pad(counts, (0, recipe.model.vocab_size - len(counts))))
    init_from_counts(learner.encoder, recipe.init, shards, documents, counts, progress)


def _sequences(recipe: PretrainRecipe, shards: Shards, seed: int, part: str) -> CorpusSequences:
    pairs = any(objective.name == "next_sentence" for objective in recipe.objectives)
    data = recipe.data
    return CorpusSequences(shards, data.max_length, seed, data.heldout_share, part, pairs, data.max_length_ramp)


def build_batches(recipe: PretrainRecipe, shards: Shards, world: World | None = None) -> Batches:
    """The training batches of a recipe, as this process reads them."""
    world, train = world or World(), recipe.train
    sequences = _sequences(recipe, shards, recipe.seed, "train")
    per_step = max(1, round(recipe.data.tokens_per_step / sequences.mean_tokens))
    ranks = train.gradient_accumulation_steps, world.rank, world.size
    return Batches(sequences, per_step, recipe.seed, *ranks, train.batch_ramp)


def build_learner(recipe: PretrainRecipe, tokenizer: Tokenizer) -> PretrainLearner:
    """A learner with new weights, frozen where the recipe says."""
    tokens = tokenizer.mask_token_id, tokenizer.text_token_ids
    objectives = [objective.build(recipe.model, *tokens) for objective in recipe.objectives]
    learner = PretrainLearner(Encoder(recipe.model), objectives)
    transfer.set_trainable(learner, recipe.transfer)
    return learner


def _heldout(learner: PretrainLearner, shards: Shards, recipe: PretrainRecipe) -> list[Batch]:
    """Batches of held-out documents, with the same 15 % mask for all recipes, so that losses compare."""
    part = "heldout" if recipe.data.heldout_share > 0 and shards.documents > 1 else "train"
    sequences = _sequences(recipe, shards, EVALUATION_SEED, part)
    batches = evaluation_batches(sequences, EVALUATION_BATCH_TOKENS, max_tokens=EVALUATION_TOKENS)
    return [learner.prepare(batch, EVALUATION_SEED, Masked()) for batch in batches]
