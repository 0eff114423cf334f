"""The engine of torch: a model folder as backends that run its network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from unmask import bundle
from unmask.errors import UserError
from unmask.heads import build_head
from unmask.learner.batch import Batch
from unmask.learner.head import Head, run_head
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.runtime.manifest import HeadName, Manifest, Precision
from unmask.tasks import restore
from unmask.tasks.task import Arrays


@dataclass(frozen=True)
class TorchBackend:
    """An encoder and a head on a device. output: the name of what `compute` gives."""

    device: str
    precision: Precision
    compute: Callable[[Batch], Tensor]
    output: str
    parameters: Arrays
    pads: bool = False

    def run(self, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
        kind = torch.device(self.device).type
        narrow = torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")
        with torch.inference_mode(), narrow:
            outputs = self.compute(Batch.from_arrays(arrays).to(self.device))
            return {self.output: outputs.float().cpu().numpy()}


class TorchEngine:
    """An open model folder. Its backends are made when they are asked for, and share the encoder."""

    def __init__(self, opened: bundle.Bundle, device: str = "cpu", precision: Precision = "float32") -> None:
        self.bundle, self.device, self.precision = opened, device, precision
        longest = opened.config.max_position_embeddings
        self.manifest = Manifest(opened.folder, lambda: opened.tokenizer, longest, opened.task, opened.reading)
        self.encoder: Encoder = opened.encoder(dropout=0.0, shared=True).to(device).eval()
        self._backends: dict[HeadName, TorchBackend] = {}
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        source: Path | str,
        device: str = "auto",
        *,
        precision: Precision = "float32",
        revision: str | None = None,
        allow_unused: bool = False,
    ) -> "TorchEngine":
        """Open a model folder or a repository on the hub, as `bundle.read` does. device: auto for a GPU if any."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(bundle.read(source, revision=revision, allow_unused=allow_unused), device, precision)

    def __repr__(self) -> str:
        return repr(self.encoder)

    def backend(self, head: HeadName) -> TorchBackend:
        with self._lock:
            if head not in self._backends:
                self._backends[head] = self._open(head)
            return self._backends[head]

    def has_head(self, name: HeadName) -> bool:
        """Whether the model has such a head; with a task, the one that it was fine-tuned with."""
        return name == "task" or self.bundle.has_head(name)

    def head(self, name: HeadName) -> Head | MLMHead:
        """Make the head with its weights, for evaluation. Raises UserError where the model has none."""
        folder, schema = self.bundle.folder, self.bundle.task
        if name == "masked":
            masked = MLMHead(self.bundle.config)
            self._load(
                {name: masked}, f"{folder} has no masked-language head", "use the model folder of a pretraining run"
            )
            return masked.to(self.device).eval()
        assert schema is not None, "a predictor restores the task first"
        task = restore(schema, self.bundle.tokenizer, str(folder / "unmask.json"))
        head = build_head(task, self.bundle.config)
        hint = f"unmask finetune --model {folder} --task {task.name} --train FILE"
        self._load(head.saved_modules(), f"{folder} has no trained head for {task.name}", hint)
        return head.to(self.device).eval()

    def _open(self, name: HeadName) -> TorchBackend:
        head = self.head(name)
        if isinstance(head, Head):
            parameters = head.decoding_parameters()
            return TorchBackend(
                self.device, self.precision, lambda batch: run_head(self.encoder, head, batch), head.output, parameters
            )

        def logits(batch: Batch) -> Tensor:
            hidden = self.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
            return head(hidden.index_select(0, batch.positions), self.encoder)  # type: ignore[no-any-return]

        return TorchBackend(self.device, self.precision, logits, "logits", {})

    def save(self, folder: Path) -> None:
        bundle.write_bundle(replace(self.bundle, folder=folder))

    def _load(self, modules: Mapping[str, nn.Module], missing: str, hint: str) -> None:
        """Load the weights of modules of a head. missing, hint: of the error where the model has none."""
        for name, module in modules.items():
            if not self.bundle.has_head(name):
                raise UserError(missing, given=f"missing: {name}", hint=hint)
            self.bundle.load_into(module, name)
