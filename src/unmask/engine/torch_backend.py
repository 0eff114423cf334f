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
from unmask.learner.head import run_head
from unmask.model.encoder import Encoder
from unmask.model.mlm_head import MLMHead
from unmask.runtime.backend import HeadName, Manifest
from unmask.tasks import restore
from unmask.tasks.task import Arrays


@dataclass(frozen=True)
class TorchBackend:
    """An encoder and a head on a device. output: the name of what `compute` gives."""

    device: str
    compute: Callable[[Batch], Tensor]
    output: str
    parameters: Arrays

    def run(self, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
        with torch.inference_mode():
            outputs = self.compute(Batch.from_arrays(arrays).to(self.device))
            return {self.output: outputs.float().cpu().numpy()}


class TorchEngine:
    """An open model folder. Its backends are made when they are asked for, and share the encoder."""

    def __init__(self, opened: bundle.Bundle, device: str = "cpu") -> None:
        self.bundle, self.device = opened, device
        longest = opened.config.max_position_embeddings
        self.manifest = Manifest(opened.folder, opened.tokenizer, longest, opened.task, opened.reading)
        self.encoder: Encoder = opened.encoder(dropout=0.0, shared=True).to(device).eval()
        self._backends: dict[HeadName, TorchBackend] = {}
        self._lock = Lock()

    @classmethod
    def open(
        cls,
        source: Path | str,
        device: str = "auto",
        *,
        revision: str | None = None,
        allow_unused: bool = False,
    ) -> "TorchEngine":
        """Open a model folder or a repository on the hub, as `bundle.read` does. device: auto for a GPU if any."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(bundle.read(source, revision=revision, allow_unused=allow_unused), device)

    def __repr__(self) -> str:
        return repr(self.encoder)

    def backend(self, head: HeadName) -> TorchBackend:
        with self._lock:
            if head not in self._backends:
                self._backends[head] = self._task() if head == "task" else self._masked()
            return self._backends[head]

    def save(self, folder: Path) -> None:
        bundle.write_bundle(replace(self.bundle, folder=folder))

    def _task(self) -> TorchBackend:
        folder, schema = self.bundle.folder, self.bundle.task
        assert schema is not None, "a predictor restores the task first"
        task = restore(schema, self.bundle.tokenizer, str(folder / "unmask.json"))
        head = build_head(task, self.bundle.config)
        hint = f"unmask finetune --model {folder} --task {task.name} --train FILE"
        self._load(head.saved_modules(), f"{folder} has no trained head for {task.name}", hint)
        head = head.to(self.device).eval()
        parameters = head.decoding_parameters()
        return TorchBackend(self.device, lambda batch: run_head(self.encoder, head, batch), head.output, parameters)

    def _masked(self) -> TorchBackend:
        head = MLMHead(self.bundle.config)
        missing = f"{self.bundle.folder} has no masked-language head"
        self._load({"masked": head}, missing, "use the model folder of a pretraining run")
        head = head.to(self.device).eval()

        def logits(batch: Batch) -> Tensor:
            hidden = self.encoder(batch.input_ids, batch.layout, batch.token_type_ids)
            return head(hidden.index_select(0, batch.positions), self.encoder)  # type: ignore[no-any-return]

        return TorchBackend(self.device, logits, "logits", {})

    def _load(self, modules: Mapping[str, nn.Module], missing: str, hint: str) -> None:
        """Load the weights of modules of a head. missing, hint: of the error where the model has none."""
        for name, module in modules.items():
            if not self.bundle.has_head(name):
                raise UserError(missing, given=f"missing: {name}", hint=hint)
            self.bundle.load_into(module, name)
