"""Transfer: what a run takes over from the model that it starts from, which parts of it learn, and how fast."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmask import console
from unmask.bundle import Bundle
from unmask.config import changed, config, difference, dump, setting
from unmask.data.hashing import hash_integers
from unmask.errors import UserError
from unmask.heads import build_head
from unmask.learner.learner import Learner
from unmask.learner.task_learner import TaskLearner
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.tasks import Task, restore

REINIT = 41  # what a hash is for: blocks that are drawn anew differ from those that the seed gave to another run
WEIGHT_FREE_SETTINGS = ("vocab_size", "dropout")  # settings of a network that its weights do not depend on
POSITIONS = "encoder.embeddings.position.weight"
MIN_POSITIONS = 8  # pieces that a network may have

Heads = dict[str, Literal["kept", "new"]]


@config
class Transfer:
    """What is taken over from the model that a run starts from, which parts learn, and how fast."""

    freeze_embeddings: bool = setting(
        default=False,
        description="the embeddings stay as they are; in pretraining they are the output table as well",
    )
    freeze_layers: int = setting(
        default=0,
        ge=0,
        description="lowest blocks that stay as they are; under frozen embeddings they need no backward pass",
    )
    keep_layers: int | None = setting(
        default=None, ge=1, description="lowest blocks that are taken over; all if not given"
    )
    reinit_layers: int = setting(
        default=0,
        ge=0,
        description="highest blocks that are drawn anew, with the head above (Zhang et al. 2021, arXiv 2006.05987)",
    )
    max_position_embeddings: int | None = setting(
        default=None, ge=8, description="longest sequence in tokens, where the model has fewer positions"
    )
    extend_positions: Literal["tile", "interpolate"] = setting(
        default="tile",
        description="learned positions for `length`: repeated (Beltagy et al. 2020, section 5), or stretched",
    )
    new_head: bool = setting(
        default=False, description="begin with a new head, though the model has one for this very task"
    )
    head_lr_factor: float = setting(
        default=1.0, gt=0, description="learning rate of the head, as a multiple of the highest block's"
    )
    layerwise_lr_decay: float = setting(
        default=1.0,
        gt=0,
        le=1,
        description="learning rate of a block, as a multiple of that of the block above; the embeddings are the "
        "lowest (Howard and Ruder 2018, section 3.2)",
    )

    @property
    def why_new_heads(self) -> str | None:
        """Why every head is a new one, if so."""
        if self.new_head:
            return "transfer.new_head"
        return "the blocks below it are drawn anew" if self.reinit_layers else None


def architecture(model: EncoderConfig, transfer: Transfer) -> EncoderConfig:
    """The network that a run trains which takes over this one. Raises UserError where that cannot be."""
    layers, each = transfer.keep_layers or model.num_hidden_layers, layers_per_group(model)
    left = layers - transfer.freeze_layers
    wrong = None
    for name in ("keep_layers", "freeze_layers", "reinit_layers"):
        if (getattr(transfer, name) or 0) % each:
            wrong = (name, f"a multiple of {each}: so many layers share their weights")
    if layers > model.num_hidden_layers:
        wrong = ("keep_layers", f"at most {model.num_hidden_layers}, the blocks of the model")
    elif left < 0:
        wrong = ("freeze_layers", f"at most {layers}, the blocks there are")
    elif transfer.reinit_layers > left:
        wrong = ("reinit_layers", f"at most {left}, the blocks that are not frozen")
    elif (
        transfer.max_position_embeddings is not None
        and transfer.max_position_embeddings < model.max_position_embeddings
    ):
        wrong = ("max_position_embeddings", f"at least {model.max_position_embeddings}, the positions of the model")
    if wrong is not None:
        name, allowed = wrong
        given = f"transfer.{name}={getattr(transfer, name)}"
        raise UserError("transfer.{name} does not suit the model", name, given=given, allowed=allowed)
    blocks = None if model.num_hidden_groups is None else layers // each
    return changed(
        model,
        num_hidden_layers=layers,
        num_hidden_groups=blocks,
        max_position_embeddings=transfer.max_position_embeddings or model.max_position_embeddings,
    )


def layers_per_group(model: EncoderConfig) -> int:
    """How many layers in a row share the weights of a block; 1, but for ALBERT."""
    return model.num_hidden_layers // (model.num_hidden_groups or model.num_hidden_layers)


def same_network(model: EncoderConfig, opened: Bundle, transfer: Transfer) -> EncoderConfig:
    """The network of a pretraining recipe that takes over a model: that model's, with the recipe's own dropout.

    Raises UserError where the recipe describes another one.
    """
    wanted = changed(architecture(opened.config, transfer), dropout=model.dropout)
    apart = [line for line in difference(dump(wanted), dump(model)) if not line.startswith(WEIGHT_FREE_SETTINGS)]
    if apart:
        raise UserError(
            f"the recipe describes another network than {opened.folder} is",
            given="; ".join(f"model.{line}" for line in apart[:4]),
            hint="leave these settings out; transfer.keep_layers and "
            "transfer.max_position_embeddings change what is taken over",
        )
    return wanted


def load_pretrained(opened: Bundle, transfer: Transfer, seed: int) -> Bundle:
    """The model as the run takes it over: fewer blocks, some drawn anew, more positions."""
    network, each = architecture(opened.config, transfer), layers_per_group(opened.config)
    tensors = dict(opened.tensors)
    cut = _blocks(network.num_hidden_layers // each, opened.config.num_hidden_layers // each)
    if cut:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(cut)}
    if (
        network.max_position_embeddings > opened.config.max_position_embeddings
        and network.position_embedding_type == "learned"
    ):
        first = network.position_offset  # rows before that of the first position
        table = tensors[POSITIONS]
        longer = extend_position_table(table[first:], network.max_position_embeddings, transfer.extend_positions)
        tensors[POSITIONS] = torch.cat([table[:first], longer])
    if transfer.reinit_layers:
        top = _blocks((network.num_hidden_layers - transfer.reinit_layers) // each, network.num_hidden_layers // each)
        drawn = reinitialise(network, seed)
        tensors |= {name: tensor for name, tensor in drawn.items() if name.startswith(top)}
    return replace(opened, config=network, tensors=tensors)


def _blocks(start: int, stop: int) -> tuple[str, ...]:
    """How the names of the weights of these blocks begin."""
    return tuple(f"encoder.blocks.{number}." for number in range(start, stop))


def extend_position_table(table: Tensor, max_position_embeddings: int, how: Literal["tile", "interpolate"]) -> Tensor:
    """A table of learned positions for longer sequences. (old, width) -> (length, width)

    tile: position p is the old p modulo old, so that neighbours keep the distances that heads have learnt, but for
    the seams (Beltagy et al. 2020, Longformer, section 5); interpolate: the old positions stretched in straight
    lines, the first and the last stay the first and the last.
    """
    old = len(table)
    if how == "tile":
        return table.repeat(-(-max_position_embeddings // old), 1)[:max_position_embeddings]
    stretched = F.interpolate(table.T.unsqueeze(0).double(), max_position_embeddings, mode="linear", align_corners=True)
    return stretched.squeeze(0).T.contiguous().to(table.dtype)


def reinitialise(network: EncoderConfig, seed: int) -> dict[str, Tensor]:
    """The weights of new blocks, by their names in a bundle. The generator of torch stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(hash_integers(seed, REINIT, 0)[0] >> np.uint64(1)))
        encoder = Encoder(changed(network, vocab_size=MIN_POSITIONS))
    return {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}


def has_modules(opened: Bundle, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the model has weights of these shapes for all of these modules; modules: by their prefixes."""
    wanted = {
        f"{prefix}.{name}": tensor.shape
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    return all(name in opened.tensors and opened.tensors[name].shape == wanted[name] for name in wanted)


def load_heads(opened: Bundle, heads: Mapping[str, Mapping[str, nn.Module]], transfer: Transfer) -> Heads:
    """Load the heads of pretraining that the model has, and say of each whether it is that one or new.

    heads: by the objective, the modules that a bundle keeps. What the model has beside them is left behind.
    """
    found: Heads = {}
    for name, modules in heads.items():
        because = transfer.why_new_heads or _missing_modules(opened, modules)
        found[name] = "new" if because else "kept"
        if because is None:
            for prefix, module in modules.items():
                opened.load_into(module, prefix)
        _report_head(name, opened, because)
    own = {prefix for modules in heads.values() for prefix in modules} | {"encoder"}
    left = {name.partition(".")[0] for name in opened.tensors} - own
    if left:
        console.note("left behind of {folder}: {left}", opened.folder, ", ".join(sorted(left)))
    return found


def load_head(opened: Bundle, learner: TaskLearner, task: Task[Any], transfer: Transfer) -> Heads:
    """Load the head of the model where it is for this very task, and say whether it is that one or new.

    Of a new head, what pretraining trains as well (BERT's pooler) is that of the model where it has one.
    """
    modules = learner.head.saved_modules()
    because = transfer.why_new_heads or _other(opened, task) or _missing_modules(opened, modules)
    if because is None:
        for prefix, module in modules.items():
            opened.load_into(module, prefix)
        learner.head.load_from(modules)
    elif transfer.why_new_heads is None and opened.task is None:
        pooler = {prefix: modules[prefix] for prefix in learner.head.pretrained_prefixes}
        if pooler and has_modules(opened, pooler):
            for prefix, module in pooler.items():
                opened.load_into(module, prefix)
            console.note("the pooler is that of {folder}", opened.folder)
    _report_head(task.name, opened, because)
    return {task.name: "new" if because else "kept"}


def _other(opened: Bundle, task: Task[Any]) -> str | None:
    """Why the head of the model is none for this task; None where it is, as far as labels and reading go."""
    if opened.task is None:
        return f"{opened.folder} has none"
    if opened.task.get("name") != task.name:
        return f"that of {opened.folder} is for another task"
    before = restore(opened.task, opened.tokenizer, str(opened.folder / "unmask.json"))
    if before.labels != task.labels:
        return f"that of {opened.folder} is for other labels"
    heads = [build_head(each, opened.config) for each in (before, task)]
    parts = [set(head.saved_modules()) for head in heads]
    settings = [[each.schema()[name] for name in heads[1].shared_settings] for each in (before, task)]
    alike = parts[0] == parts[1] and settings[0] == settings[1]
    return None if alike else f"that of {opened.folder} reads in another way"


def _missing_modules(opened: Bundle, modules: Mapping[str, nn.Module]) -> str | None:
    """Why the model has no weights for these modules; None where it has."""
    if has_modules(opened, modules):
        return None
    there = all(opened.has_head(prefix) for prefix in modules)
    return f"that of {opened.folder} has another size" if there else f"{opened.folder} has none"


def _report_head(name: str, opened: Bundle, because: str | None) -> None:
    if because is None:
        console.note("the head for {name} is that of {folder}", name, opened.folder)
    else:
        console.note("the head for {name} is new: {because}", name, because)


def set_trainable(learner: Learner, transfer: Transfer) -> None:
    """Freeze what stays as it is, and give each part its rate.

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


def transfer_summary(opened: Bundle, learner: Learner, transfer: Transfer, heads: Heads) -> dict[str, Any]:
    """What run.json says of the start of a run. opened: the model as it was; layers, positions: numbers."""
    network = learner.encoder.config
    longer = network.max_position_embeddings > opened.config.max_position_embeddings
    extend = transfer.extend_positions if longer and network.position_embedding_type == "learned" else None
    return {
        "model": str(opened.folder),
        "sha256": opened.sha256,
        "heads": heads,
        "num_hidden_layers_of_model": opened.config.num_hidden_layers,
        "num_hidden_layers": network.num_hidden_layers,
        "reinit_layers": transfer.reinit_layers,
        "freeze_layers": transfer.freeze_layers,
        "freeze_embeddings": transfer.freeze_embeddings,
        "max_position_embeddings_of_model": opened.config.max_position_embeddings,
        "max_position_embeddings": network.max_position_embeddings,
        **({"extend_positions": extend} if extend else {}),
        "parameters": sum(p.numel() for p in learner.parameters()),
        "trainable_parameters": sum(p.numel() for p in learner.parameters() if p.requires_grad),
    }
