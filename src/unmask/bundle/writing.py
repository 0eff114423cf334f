"""Writing a model folder of ours: weights, configuration and tokenizer as own.py has them, and the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unmask import files
from unmask.bundle.card import model_card
from unmask.bundle.facts import bundle_facts
from unmask.bundle.own import FORMAT, Bundle, public_family, write_public
from unmask.bundle.weights import SINGLE_FILE
from unmask.config import dump
from unmask.model.config import EncoderConfig
from unmask.text.tokenizer import Tokenizer
from unmask.version import __version__

VERIFIED = (SINGLE_FILE, "tokenizer.json")  # whose checksums unmask.json holds


def write(
    folder: Path,
    config: EncoderConfig,
    modules: Mapping[str, nn.Module],
    tokenizer: Tokenizer,
    lineage: Sequence[Mapping[str, Any]],
    task: Mapping[str, Any] | None = None,
    public: tuple[str | None, Sequence[str]] = (None, ()),
    reading: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder atomically: the old one or the new one is there, never a part of it.

    task: its schema; public: the name under which other libraries compute the same from its head, if there is
    one, and what the outputs of the head are; reading: how the rows were read that it was trained on.
    """
    tensors = {
        f"{prefix}.{name}": tensor.detach().cpu()
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    facts = {"task": task, "reading": reading, "lineage": list(lineage)}
    write_bundle(Bundle(folder, config, tokenizer, tensors, facts), public)


def write_bundle(bundle: Bundle, public: tuple[str | None, Sequence[str]] = (None, ())) -> None:
    """`write` of tensors as they are, into the folder of the bundle."""
    family = public_family(bundle.config, bundle.tokenizer)
    with files.atomic(bundle.folder) as temporary:
        temporary.mkdir()
        write_public(temporary, bundle, *public)
        facts = {
            "format": FORMAT,
            "unmask": __version__,
            "layout": "unmask" if family is None else family.name,
            "encoder": dump(bundle.config),
            "task": bundle.task,
            **({"reading": bundle.facts["reading"]} if bundle.facts.get("reading") else {}),
            "lineage": bundle.lineage,
            "sha256": {name: files.sha256(temporary / name) for name in VERIFIED},
        }
        files.write_json(temporary / "unmask.json", facts)
        told = bundle_facts(replace(bundle, folder=temporary, facts=facts))
        files.write_text(temporary / "README.md", model_card(told, bundle.tokenizer))
