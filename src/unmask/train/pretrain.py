"""Pretraining: a corpus and a recipe in, a run folder with a model out."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from unmask import bundle
from unmask.bundle import Bundle
from unmask.config import changed
from unmask.console import Progress
from unmask.data.corpus.shards import Shards
from unmask.data.sequences import CorpusSequences, split_documents
from unmask.errors import UserError
from unmask.learner.batch import Batch
from unmask.learner.batches import Batches, evaluation_batches
from unmask.learner.learner import Learner
from unmask.learner.loss import Loss
from unmask.messages import message
from unmask.model.encoder import Encoder
from unmask.objectives import Masked, MaskedObjective, NextSentenceObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train import trainer
from unmask.train.init import (
    SAMPLE,
    init_embeddings_from_counts,
    init_neighbour_heads,
    neighbour_axes,
    neighbour_counts,
    token_counts,
)
from unmask.train.loop import Step, evaluate
from unmask.train.parallel import World, join_world
from unmask.train.recipe import PretrainRecipe, read_recipe
from unmask.train.run import Run
from unmask.train.trainer import BestMetric, RunResult, TrainerState, Training, train_run
from unmask.train.transfer import (
    Transfer,
    load_heads,
    load_pretrained,
    same_network,
    set_trainable,
    transfer_summary,
)

EVALUATION_SEED = 0  # held-out masks are the same for every run, so that losses compare
EVALUATION_TOKENS = 8192  # in one batch


class PretrainLearner(Learner):
    """An encoder and the heads of its objectives; one pass of the encoder serves them all."""

    def __init__(self, encoder: Encoder, objectives: Sequence[MaskedObjective | NextSentenceObjective]) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectives = nn.ModuleDict({o.settings.name: o for o in objectives})

    def prepare(self, batch: Batch, seed: int) -> Batch:
        for objective in self.objectives.values():
            batch = objective.prepare(batch, seed)  # type: ignore[operator]
        return batch.with_queries("masked") if "masked" in batch.target_positions else batch

    def prepare_heldout(self, batch: Batch) -> Batch:
        """A fixed 15 % random mask whatever the recipe masks: losses compare across recipes."""
        for objective in self.objectives.values():
            if isinstance(objective, MaskedObjective):
                batch = objective.prepare(batch, EVALUATION_SEED, Masked())
            else:
                batch = objective.prepare(batch, EVALUATION_SEED)  # type: ignore[operator]
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
    """What a pretraining run brought. Losses are nats per predicted token, of a fixed 15 % mask on held-out text.

    heldout_before: of the model that it started from, as it was taken over, if there is one.
    """

    tokens: int
    parameters: int
    heldout_figures: dict[str, float]
    uniform_loss: float
    unigram_loss: float
    heldout_before: dict[str, float] | None = None

    @property
    def tokens_per_second(self) -> float:
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
) -> PretrainResult:
    """Train an encoder on a corpus; the run folder `output` then holds model/, the log and the checkpoints.

    recipe: a PretrainRecipe, a YAML file, or the name of a recipe that comes with unmask; overrides: `key.sub=value`;
    corpus: a folder of `unmask corpus build`, in place of data.corpus; budget: in place of train.budget. An interrupted
    run goes on where it stopped, a finished one is returned as it is. world: the processes that train it together; by
    default those that torchrun has started, or this one. Raises UserError for what cannot be used.
    """
    shorthands = {"data.corpus": corpus, "train.budget": budget}
    given = [f"{key}={json.dumps(str(value))}" for key, value in shorthands.items() if value is not None]
    with join_world(world) as world:
        with world.sync_errors():
            recipe = read_recipe(PretrainRecipe, recipe, [*given, *overrides])
            # a run that begins makes sure that the text is what was built: changed tokens would be trained on
            # unnoticed
            shards = Shards.open(recipe.data.corpus, check=not (Path(output) / "checkpoints").exists())
            recipe = fit_to_corpus(recipe, shards.tokenizer)
        with Run(Path(output), recipe, "pretrain", world) as run:
            build = partial(_training, run, recipe, shards)
            return PretrainResult(**train_run(run, "Pretraining", build, progress))


def fit_to_corpus(recipe: PretrainRecipe, tokenizer: Tokenizer) -> PretrainRecipe:
    """The recipe with the tokenizer's vocabulary, checked for what no single setting can see.

    A network that goes on from a model keeps the vocabulary of that.
    """
    vocabulary = tokenizer.vocab_size
    if recipe.init_from is not None:
        recipe = _continue_from(recipe, tokenizer)
        vocabulary = recipe.model.vocab_size
    elif recipe.transfer != Transfer():
        raise UserError("transfer needs a model to start from", hint="init_from=FOLDER, or leave transfer out")
    names = [objective.name for objective in recipe.objectives]
    if len(set(names)) < len(names):
        raise UserError("an objective stands twice in the recipe", given=", ".join(names))
    if recipe.data.max_length > recipe.model.max_position_embeddings:
        raise UserError(
            "data.max_length is above model.max_position_embeddings: there are no positions for so long a text",
            given=f"data.max_length={recipe.data.max_length}, "
            f"model.max_position_embeddings={recipe.model.max_position_embeddings}",
            hint="lower data.max_length or raise "
            f"{'model' if recipe.init_from is None else 'transfer'}.max_position_embeddings",
        )
    if "next_sentence" in names and recipe.model.type_vocab_size < 2:
        raise UserError(
            "next_sentence needs segment embeddings", given=f"model.type_vocab_size={recipe.model.type_vocab_size}"
        )
    recipe.init.check(recipe.model, recipe.init_from)
    rated = changed(recipe.train.optimizer, lr=recipe.train.optimizer.peak_lr)
    recipe = changed(recipe, train=changed(recipe.train, optimizer=rated))
    network = changed(recipe.model, vocab_size=vocabulary)
    if network.family == "roberta" and recipe.init_from is None:
        # other libraries count its positions from the id of the padding
        network = changed(network, position_offset=tokenizer.pad_token_id + 1)
    return changed(recipe, model=network)


def _continue_from(recipe: PretrainRecipe, tokenizer: Tokenizer) -> PretrainRecipe:
    """The recipe with the network of the model that it goes on from. Raises UserError where that does not suit it."""
    opened = bundle.read(str(recipe.init_from))
    theirs = opened.tokenizer
    if (theirs.sha256, theirs.special_tokens) != (tokenizer.sha256, tokenizer.special_tokens):
        raise UserError(
            f"{recipe.data.corpus} was built with another tokenizer than that of {opened.folder}",
            given=f"tokenizer.json has the sha256 {tokenizer.sha256[:12]}",
            allowed=f"sha256 {theirs.sha256[:12]}",
            hint=f"unmask corpus build FILES --tokenizer {opened.folder} --output FOLDER",
        )
    return changed(recipe, model=same_network(recipe.model, opened, recipe.transfer))


def _training(run: Run, recipe: PretrainRecipe, shards: Shards, progress: Progress) -> Training:
    """What a recipe trains, with the weights of the model that it starts from."""
    opened = None if recipe.init_from is None else bundle.read(recipe.init_from)
    run.check_inputs(corpus=shards.sha256, **({} if opened is None else {"model": opened.sha256}))
    torch.manual_seed(recipe.seed)
    learner = build_learner(recipe, shards.tokenizer)
    origin = None if opened is None else _load_weights(opened, learner, recipe)
    heldout = _heldout(learner, shards, recipe) if run.world.is_main else []
    unigram, uniform = shards.unigram_entropy(), math.log(shards.vocab_size)

    def init_weights() -> None:
        _init_weights(learner, recipe, shards, progress, origin)
        if origin is not None:
            run.write_facts(init={**origin, "heldout_figures": evaluate(learner, heldout)})

    def describe(step: Step, best: float | None) -> str:
        if "masked" not in step.losses:
            return message("loss {loss:.2f}", step.loss)
        return message("loss {loss:.2f} (unigram {unigram:.2f})", step.loss, unigram)

    def save_model(lineage: list[dict[str, Any]], state: TrainerState) -> dict[str, Any]:
        bundle.write(run.model, recipe.model, learner.saved_modules(), shards.tokenizer, lineage)
        return {
            "tokens": state.tokens,
            "parameters": sum(p.numel() for p in learner.parameters()),
            "heldout_figures": evaluate(learner, heldout),
            "uniform_loss": uniform,
            "unigram_loss": unigram,
            "heldout_before": run.facts().get("init", {}).get("heldout_figures"),
        }

    return Training(
        learner=learner,
        batches=build_batches(recipe, shards, run.world),
        config=recipe.train,
        seed=recipe.seed,
        lineage=[] if opened is None else opened.lineage,
        init_weights=init_weights,
        evaluate=lambda: evaluate(learner, heldout),
        best_metric=BestMetric(f"{recipe.objectives[0].name}.loss", higher_is_better=False),
        keep_best=False,
        describe=describe,
        save_model=save_model,
    )


def _load_weights(opened: Bundle, learner: PretrainLearner, recipe: PretrainRecipe) -> dict[str, Any]:
    """Give the learner the weights of the model that it goes on from; returns what run.json says of that."""
    taken = load_pretrained(opened, recipe.transfer, recipe.seed)
    taken.load_into(learner.encoder, "encoder")
    heads = {name: objective.saved_modules() for name, objective in learner.objectives.items()}  # type: ignore[operator]
    return transfer_summary(opened, learner, recipe.transfer, load_heads(taken, heads, recipe.transfer))


def _init_weights(
    learner: PretrainLearner,
    recipe: PretrainRecipe,
    shards: Shards,
    progress: Progress,
    origin: dict[str, Any] | None = None,
) -> None:
    """What counting the training documents gives the network before its first step. origin: that of its weights."""
    documents = split_documents(shards.documents, recipe.data.heldout_share, "train")
    counts = token_counts(shards, documents)
    for name, objective in learner.objectives.items():
        if isinstance(objective, MaskedObjective) and (origin is None or origin["heads"][name] == "new"):
            objective.head.init_from_counts(F.pad(counts, (0, recipe.model.vocab_size - len(counts))))
    if recipe.init.neighbour_layers:
        init_neighbour_heads(learner.encoder, recipe.init.neighbour_layers)
    if recipe.init.embeddings == "counts":
        progress.start(float(min(SAMPLE, shards.tokens)), "tokens")
        progress.show("counting neighbours")
        table = neighbour_counts(shards, documents, counts, recipe.init.window, progress)
        kept = neighbour_axes(recipe.model) if recipe.init.neighbour_layers else []
        init_embeddings_from_counts(
            learner.encoder.embeddings.token.weight, table, recipe.model.initializer_range, kept
        )


def has_pairs(recipe: PretrainRecipe) -> bool:
    return any(objective.name == "next_sentence" for objective in recipe.objectives)


def build_batches(recipe: PretrainRecipe, shards: Shards, world: World | None = None) -> Batches:
    """The training batches of a recipe, as this process reads them."""
    data, pairs = recipe.data, has_pairs(recipe)
    examples = CorpusSequences(
        shards, data.max_length, recipe.seed, data.heldout_share, "train", pairs, data.max_length_ramp
    )
    per_step = max(1, round(data.tokens_per_step / examples.mean_tokens))
    return trainer.build_batches(examples, per_step, recipe.train, recipe.seed, world or World())


def build_learner(recipe: PretrainRecipe, tokenizer: Tokenizer) -> PretrainLearner:
    ordinary = tokenizer.text_token_ids
    objectives = [o.build(recipe.model, tokenizer.mask_token_id, ordinary) for o in recipe.objectives]
    learner = PretrainLearner(Encoder(recipe.model), objectives)
    set_trainable(learner, recipe.transfer)
    return learner


def _heldout(learner: PretrainLearner, shards: Shards, recipe: PretrainRecipe) -> list[Batch]:
    """Batches of held-out documents, at most `data.heldout_tokens` tokens, masked once and for all."""
    data = recipe.data
    part = "heldout" if data.heldout_share > 0 and shards.documents > 1 else "train"
    examples = CorpusSequences(shards, data.max_length, EVALUATION_SEED, data.heldout_share, part, has_pairs(recipe))
    batches = evaluation_batches(examples, EVALUATION_TOKENS, max_tokens=data.heldout_tokens)
    return [learner.prepare_heldout(batch) for batch in batches]
