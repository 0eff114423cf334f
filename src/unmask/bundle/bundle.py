"""Bundle: a model as its folder holds it, opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask import files
from unmask.bundle.weights import weights_file
from unmask.config import changed
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Bundle:
    """What a model folder holds.

    tensors: by our names, `encoder.` and one prefix per head; task: the label schema and settings of the task that it
    was fine-tuned for; reading: how the rows were read that it was trained on, and whether they are `pairs`; lineage:
    how it came about, oldest first; checksum: of the file of weights, where that was read before.
    """

    folder: Path
    config: EncoderConfig
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]
    task: Mapping[str, Any] | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    lineage: list[dict[str, Any]] = field(default_factory=list)
    checksum: str | None = None

    @cached_property
    def sha256(self) -> str:
        """The checksum of the weights: of the file that holds them, or that says which do."""
        return self.checksum or files.sha256(weights_file(self.folder))

    def has_head(self, head: str) -> bool:
        """Whether it holds weights of this head."""
        return any(name.startswith(f"{head}.") for name in self.tensors)

    def encoder(self, dropout: float | None = None, *, shared: bool = False) -> Encoder:
        """The encoder with its weights; `dropout` replaces the configured rate.

        shared: it computes with the very tensors of this bundle, which takes no memory; not for training.
        """
        with torch.device("meta"):  # initial weights would be drawn for nothing
            encoder = Encoder(self.config if dropout is None else changed(self.config, dropout=dropout))
        self.load_into(encoder, "encoder", assign=True)
        for parameter in encoder.parameters():
            if not shared and parameter.dtype == torch.float32:
                parameter.data = parameter.data.clone()
        return encoder.float()  # half precision is for storage: on a CPU nothing computes in it

    def load_into(self, module: nn.Module, prefix: str, *, assign: bool = False) -> None:
        """Copy the weights below `prefix.` into a module, or `assign` them; every one must be there, with its shape."""
        start = f"{prefix}."
        own = {name.removeprefix(start): tensor for name, tensor in self.tensors.items() if name.startswith(start)}
        try:
            module.load_state_dict(own, assign=assign)
        except RuntimeError as error:
            raise UserError(f"the weights in {self.folder} do not fit its configuration", given=error) from None
