"""The model folder: weights, configuration and tokenizer in a public layout, and what that layout cannot say.

model.safetensors, config.json, tokenizer.json, vocab.txt, tokenizer_config.json   as other libraries read them
unmask.json                                                                        ours: task, lineage, examples

A post-norm encoder is written in BERT's layout, a sinusoid as the table that BERT would have learnt. What
BERT's layout cannot express (pre-norm, rotary positions, ...) is written under our own names and `model_type` says so.
"""

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unmask import files
from unmask.config import dump, from_mapping
from unmask.errors import UserError
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.model.names import BERT, from_public, to_public
from unmask.model.positions import sinusoidal
from unmask.text.tokenizer import Tokenizer
from unmask.version import __version__

FORMAT = 1
CHECKED = ("model.safetensors", "tokenizer.json")  # whose checksums unmask.json holds
_TABLE = "encoder.embeddings.position.weight"  # a sinusoid is written under the name of a learned table


@dataclass(frozen=True)
class Bundle:
    """What a model folder holds. tensors: by our names, `encoder.` and one prefix per head."""

    folder: Path
    config: EncoderConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def task(self) -> Mapping[str, Any] | None:
        """The label schema and settings of the task it was fine-tuned for, or None."""
        return self.facts.get("task")

    @property
    def sha256(self) -> str:
        """The checksum of the weights."""
        return str(self.facts["sha256"]["model.safetensors"])

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """How it came about, oldest first."""
        return list(self.facts.get("lineage", []))

    def has(self, head: str) -> bool:
        return any(name.startswith(f"{head}.") for name in self.tensors)

    def encoder(self, dropout: float | None = None) -> Encoder:
        """The encoder with its weights; `dropout` replaces the configured rate."""
        from unmask.config import changed

        encoder = Encoder(self.config if dropout is None else changed(self.config, dropout=dropout))
        self.load_into(encoder, "encoder")
        return encoder

    def load_into(self, module: nn.Module, prefix: str) -> None:
        """Copy the weights below `prefix.` into a module; every one must be there, with its shape."""
        own = {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise UserError(
                f"the weights in {self.folder} do not fit its configuration", given=error
            ) from None


def write(
    folder: Path,
    config: EncoderConfig,
    modules: Mapping[str, nn.Module],
    tokenizer: Tokenizer,
    lineage: Sequence[Mapping[str, Any]],
    task: Mapping[str, Any] | None = None,
    public: tuple[str | None, Sequence[str]] = (None, ()),
    problem: str | None = None,
) -> None:
    """Write a model folder atomically: the old one or the new one is there, never a part of it.

    task: its schema; public: the name under which other libraries compute the same from its head, if there is
    one, and what the outputs of the head are; problem: its `problem_type` there.
    """
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    is_bert = _is_bert(config)
    if is_bert:
        if config.positions == "sinusoidal":
            tensors[_TABLE] = sinusoidal(config.length, config.width) * config.position_scale
        tensors = to_public(tensors, BERT, config.layers)
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        save_tensors(tensors, temporary / "model.safetensors", {"format": "pt"})
        tokenizer.save(temporary)
        files.write_json(
            temporary / "config.json", _config_json(config, modules, tokenizer, *public, problem)
        )
        files.write_json(
            temporary / "unmask.json",
            {
                "format": FORMAT,
                "unmask": __version__,
                "layout": "bert" if is_bert else "unmask",
                "encoder": dump(config),
                "task": task,
                "lineage": list(lineage),
                "sha256": {name: files.sha256(temporary / name) for name in CHECKED},
            },
        )


def read(folder: Path | str) -> Bundle:
    """Open a model folder. Raises UserError for anything that is not one, or that is damaged."""
    folder = Path(folder)
    if (folder / "model" / "unmask.json").is_file():  # a run folder: its model is meant
        folder = folder / "model"
    if not folder.is_dir() or not (folder / "unmask.json").is_file():
        if (folder / "run.json").is_file():
            raise UserError(
                f"{folder} is a run that is not finished: it has no model yet",
                to_do="give the command that began it again; it goes on where it stopped",
            )
        raise UserError(
            f"{folder} is not a model",
            given="no such folder" if not folder.exists() else "no unmask.json in it",
            allowed="a folder that `unmask pretrain` or `unmask finetune` wrote, or its model/ folder",
        )
    facts = files.read_json(folder / "unmask.json")
    if facts.get("format") != FORMAT:
        raise UserError(f"{folder} has another format", given=facts.get("format"), allowed=FORMAT)
    config = from_mapping(EncoderConfig, facts["encoder"], where=str(folder / "unmask.json"))
    for name, digest in facts["sha256"].items():
        path = folder / Path(name).name
        if not path.is_file() or files.sha256(path) != digest:
            raise UserError(
                f"{path} is missing, cut short or changed",
                to_do="copy the whole folder again, or train again",
            )
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} cannot be read", given=error) from None
    if facts["layout"] == "bert":
        tensors = from_public(tensors, BERT, config.layers)
        if config.positions == "sinusoidal":
            tensors.pop(_TABLE)
    return Bundle(folder, config, Tokenizer.load(folder), tensors, facts)


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file. A full disk is an OSError here, whatever the library calls it."""
    path.touch()
    mode = path.stat().st_mode  # of a new file here; the library's may be for its owner alone
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error
    path.chmod(mode)


def parameters(folder: Path) -> int:
    """How many numbers a model folder holds, without loading them."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return sum(torch.Size(file.get_slice(name).get_shape()).numel() for name in file.keys())  # noqa: SIM118


def _is_bert(config: EncoderConfig) -> bool:
    plain = config.norm == "post" and config.norm_kind == "layer" and config.bias and not config.qk_norm
    feed_forward = config.activation != "silu" and not config.gated
    everywhere = config.positions != "rotary" and not any(map(config.is_local, range(config.layers)))
    return plain and feed_forward and everywhere and config.segments == 2


def _config_json(
    config: EncoderConfig,
    modules: Mapping[str, nn.Module],
    tokenizer: Tokenizer,
    architecture: str | None,
    labels: Sequence[str],
    problem: str | None,
) -> dict[str, Any]:
    """The public config.json: BERT's where its layout can say it, else ours under `model_type: unmask`."""
    if not _is_bert(config):
        return {"model_type": "unmask", **dump(config)}
    return {
        "architectures": [architecture or ("BertForMaskedLM" if "masked" in modules else "BertModel")],
        "model_type": "bert",
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "hidden_act": {"gelu_tanh": "gelu_new"}.get(config.activation, config.activation),
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "max_position_embeddings": config.length,
        "type_vocab_size": config.segments,
        "initializer_range": config.init_std,
        "layer_norm_eps": config.norm_eps,
        "pad_token_id": tokenizer.pad_id,
        **(
            {"id2label": dict(enumerate(labels)), "label2id": {x: i for i, x in enumerate(labels)}}
            if labels
            else {}
        ),
        **({"problem_type": problem} if problem and architecture else {}),
    }
