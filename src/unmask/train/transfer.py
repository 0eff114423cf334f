"""Transfer: what a run takes over from the model that it starts from, which parts of it are trained, and how fast."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unmask import console
from unmask.bundle import Bundle
from unmask.config import changed, config, setting
from unmask.data.hashing import hash_integers
from unmask.errors import UserError
from unmask.heads import build_head
from unmask.learner.learner import Learner
from unmask.learner.task_learner import TaskLearner
from unmask.messages import message
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import Task, restore

REINIT = 41  # what a hash is for: re-initialised blocks differ from those that the seed gave to another run
POSITIONS = "encoder.embeddings.position.weight"


@config
class Transfer:
    """Settings of transfer from another model: frozen and re-initialised parts, positions, learning rates.

    With frozen embeddings, the frozen blocks need no backward pass; in pretraining the embeddings are the output table
    as well. Learned positions are repeated (Beltagy et al. 2020, section 5). Re-initialised blocks: Zhang et al. 2021,
    arXiv 2006.05987; rates by layer: Howard and Ruder 2018, section 3.2.
    """

    freeze_embeddings: bool = setting(default=False, description="do not train the embeddings")
    freeze_layers: int = setting(default=0, ge=0, description="lowest blocks that are not trained")
    reinit_layers: int = setting(default=0, ge=0, description="highest blocks to re-initialise, with the head")
    max_position_embeddings: int | None = setting(default=None, ge=8, description="positions to extend the model to")
    new_head: bool = setting(default=False, description="initialise a new head, even if the model has one for the task")
    allow_unused: bool = setting(default=False, description="ignore weights of the model that unmask does not use")
    head_lr_factor: float = setting(default=1.0, gt=0, description="factor on the learning rate of the head")
    layerwise_lr_decay: float = setting(default=1.0, gt=0, le=1, description="lr relative to that of the block above")

    @property
    def why_new_heads(self) -> str | None:
        """Why every head is a new one, if so."""
        if self.new_head:
            return "transfer.new_head"
        return message("the blocks below it are re-initialised") if self.reinit_layers else None


def architecture(model: EncoderConfig, transfer: Transfer) -> EncoderConfig:
    """The network that a run trains which starts from this one. Raises UserError where the settings do not suit it."""
    layers, positions = model.num_hidden_layers, transfer.max_position_embeddings or model.max_position_embeddings
    each = layers_per_group(model)
    blocks = {
        "freeze_layers": range(0, layers + 1, each),
        "reinit_layers": range(0, layers - transfer.freeze_layers + 1, each),
    }
    wrong = {name: ", ".join(map(str, fits)) for name, fits in blocks.items() if getattr(transfer, name) not in fits}
    if positions < model.max_position_embeddings:
        wrong["max_position_embeddings"] = f"at least {model.max_position_embeddings}, the positions of the model"
    for name, allowed in wrong.items():
        given = f"transfer.{name}={getattr(transfer, name)}"
        raise UserError("transfer.{name} does not suit the model", name, given=given, allowed=allowed)
    return changed(model, max_position_embeddings=positions)


def check_max_length(setting: str, max_length: int, positions: int, group: str = "transfer") -> None:
    """Raises UserError where texts may be longer than a network has positions. group: the settings that add some."""
    if max_length > positions:
        given = f"{setting}={max_length}"
        either = "{setting}={positions}, or {group}.max_position_embeddings={length}"
        hint = message(either, setting, positions, group, max_length)
        raise UserError("{setting} is above the positions of the model", setting, given=given, hint=hint)


def layers_per_group(model: EncoderConfig) -> int:
    """How many layers in a row share the weights of a block; 1, but for ALBERT."""
    return model.num_hidden_layers // (model.num_hidden_groups or model.num_hidden_layers)


def load_pretrained(opened: Bundle, transfer: Transfer, seed: int) -> Bundle:
    """The model as a run starts from it: with more positions, and its highest blocks re-initialised."""
    network, tensors = architecture(opened.config, transfer), dict(opened.tensors)
    longer = network.max_position_embeddings > opened.config.max_position_embeddings
    if longer and network.position_embedding_type == "learned":
        table, first = tensors[POSITIONS], network.position_offset  # rows before that of the first position
        tensors[POSITIONS] = torch.cat([table[:first], tile_positions(table[first:], network.max_position_embeddings)])
    if transfer.reinit_layers:
        each = layers_per_group(network)
        blocks = range((network.num_hidden_layers - transfer.reinit_layers) // each, network.num_hidden_layers // each)
        drawn, prefixes = _initial_weights(network, seed), tuple(f"encoder.blocks.{number}." for number in blocks)
        tensors |= {name: tensor for name, tensor in drawn.items() if name.startswith(prefixes)}
    return replace(opened, config=network, tensors=tensors)


def tile_positions(table: Tensor, max_position_embeddings: int) -> Tensor:
    """Repeat a table of learned positions for longer sequences. (old, hidden_size) -> (new, hidden_size)

    Position p is the old p modulo old, so that neighbours keep the distances that heads have learnt, but for the seams
    (Beltagy et al. 2020, Longformer, section 5).
    """
    return table.repeat(-(-max_position_embeddings // len(table)), 1)[:max_position_embeddings]


def _initial_weights(network: EncoderConfig, seed: int) -> dict[str, Tensor]:
    """The weights of new blocks, by their names in a bundle. The generator of torch stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(hash_integers(seed, REINIT, 0)[0] >> np.uint64(1)))
        encoder = Encoder(changed(network, vocab_size=8))  # the embeddings are not used
    return {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}


def load_task_head(opened: Bundle, learner: TaskLearner, task: Task[Any], transfer: Transfer) -> str:
    """Load the head of the model where it is for this very task; returns "kept" or "new".

    In a new head, what pretraining trains as well (BERT's pooler) is that of the model where it has one.
    """
    modules = learner.head.saved_modules()
    origin = load_head(opened, task.name, modules, transfer.why_new_heads or _other_task(opened, task))
    if origin == "kept":
        learner.head.load_from(modules)
    elif transfer.why_new_heads is None and opened.task is None:
        pooler = {prefix: modules[prefix] for prefix in learner.head.pretrained_prefixes}
        if pooler and _missing(opened, pooler) is None:
            _load(opened, pooler)
            console.note("pooler loaded from {folder}", opened.folder)
    return origin


def load_head(opened: Bundle, name: str, modules: Mapping[str, nn.Module], why_new: str | None) -> str:
    """Load a head that the model has, unless there is a reason why it is a new one; returns "kept" or "new".

    name: of the task or the objective; modules: those of the head that a bundle stores.
    """
    why_new = why_new or _missing(opened, modules)
    if why_new is not None:
        console.note("new head for {name}: {because}", name, why_new)
        return "new"
    _load(opened, modules)
    console.note("head for {name} loaded from {folder}", name, opened.folder)
    return "kept"


def _load(opened: Bundle, modules: Mapping[str, nn.Module]) -> None:
    for prefix, module in modules.items():
        opened.load_into(module, prefix)


def _missing(opened: Bundle, modules: Mapping[str, nn.Module]) -> str | None:
    """Why the model has no weights for these modules; None where it has."""
    own = {f"{prefix}.{name}": tensor for prefix, m in modules.items() for name, tensor in m.state_dict().items()}
    if any(name not in opened.tensors for name in own):
        return message("{folder} has none", opened.folder)
    alike = all(opened.tensors[name].shape == tensor.shape for name, tensor in own.items())
    return None if alike else message("that of {folder} has another size", opened.folder)


def _other_task(opened: Bundle, task: Task[Any]) -> str | None:
    """Why the head of the model is none for this task; None where it is, but for the shapes of its weights."""
    if opened.task is None:
        return message("{folder} has none", opened.folder)
    if opened.task.get("name") != task.name:
        return message("that of {folder} is for another task", opened.folder)
    before = restore(opened.task, opened.tokenizer, str(opened.folder / "unmask.json"))
    if before.labels != task.labels:
        return message("that of {folder} is for other labels", opened.folder)
    heads = [build_head(each, opened.config) for each in (before, task)]
    modules = [set(head.saved_modules()) for head in heads]
    settings = [[each.schema()[name] for name in heads[1].shared_settings] for each in (before, task)]
    alike = modules[0] == modules[1] and settings[0] == settings[1]
    return None if alike else message("that of {folder} reads in another way", opened.folder)


def set_trainable(learner: Learner, transfer: Transfer) -> None:
    """Freeze parameters, and set the factors on the learning rates of the others.

    A frozen parameter has no gradient and no place in the optimiser. Rates: eta of the highest block and of what
    stands above, eta xi^(B - 1 - n) of block n of B, eta xi^B of the embeddings (Sun et al. 2019, arXiv 1905.05583).
    """
    encoder = learner.encoder
    for part in list(encoder.blocks)[: transfer.freeze_layers // layers_per_group(encoder.config)]:
        part.requires_grad_(False)
    if transfer.freeze_embeddings:
        encoder.embeddings.requires_grad_(False)
    count = len(encoder.blocks)
    rates = {f"encoder.blocks.{n}.": transfer.layerwise_lr_decay ** (count - 1 - n) for n in range(count)}
    rates["encoder.embeddings."] = transfer.layerwise_lr_decay**count
    rates |= {f"{name}.": transfer.head_lr_factor for name, _ in learner.named_children() if name != "encoder"}
    learner.lr_factors = {**learner.lr_factors, **{prefix: rate for prefix, rate in rates.items() if rate != 1}}


def summary(opened: Bundle, learner: Learner, transfer: Transfer, heads: Mapping[str, str]) -> dict[str, Any]:
    """`init` of run.json: the model that a run started from, as it was, and what is new and trained."""
    sizes = [(p.numel(), p.requires_grad) for p in learner.parameters()]
    return {
        "model": str(opened.folder),
        "sha256": opened.sha256,
        "heads": heads,
        **{name: getattr(transfer, name) for name in ("reinit_layers", "freeze_layers", "freeze_embeddings")},
        "max_position_embeddings_of_model": opened.config.max_position_embeddings,
        "max_position_embeddings": learner.encoder.config.max_position_embeddings,
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trained in sizes if trained),
    }
