"""Checkpoints: the full state of a run in safetensors and JSON, written atomically in the background.

checkpoints/step-00000120/  learner.safetensors, optimizer.safetensors, state.json (with both checksums)
checkpoints/best/           the same, of the best evaluation so far
"""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unmask import console, files
from unmask.bundle import save_tensors
from unmask.errors import UserError

BEST = "best"
KEPT = 2  # the newest, and the one before in case the newest cannot be read


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(
        self, state: dict[str, Any], learner: nn.Module, optimizer: torch.optim.Optimizer, best: bool = False
    ) -> None:
        """Copy everything now, write it while training goes on. Raises what the write before raised."""
        self.wait()
        weights = {name: tensor.detach().cpu().clone() for name, tensor in learner.state_dict().items()}
        moments = {name: tensor.detach().cpu().clone() for name, tensor in _flat(optimizer).items()}
        names = [f"step-{state['step']:08d}"] + ([BEST] if best else [])
        self._pending = self._writer.submit(self._write, names, dict(state), weights, moments)

    def wait(self) -> None:
        """Until everything is on disk."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._writer.shutdown()

    def _write(
        self, names: list[str], state: dict[str, Any], weights: dict[str, Tensor], moments: dict[str, Tensor]
    ) -> None:
        for name in names:
            with files.atomic(self.folder / name) as temporary:
                temporary.mkdir()
                sums = {}
                for part, tensors in (("learner", weights), ("optimizer", moments)):
                    path = temporary / f"{part}.safetensors"
                    save_tensors(tensors, path)
                    sums[part] = files.sha256(path)
                files.write_json(temporary / "state.json", {**state, "sha256": sums})
        for old in self._numbered()[:-KEPT]:
            files.remove(old)

    def _numbered(self) -> list[Path]:
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []

    def restore(self, learner: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Load the newest checkpoint that is whole; says so where it falls back. None if there is none."""
        numbered = self._numbered()
        for path in reversed(numbered):
            try:
                state, weights, moments = _read(path)
            except UserError as error:
                console.remark(f"{error.what}; going back to the checkpoint before it")
                continue
            learner.load_state_dict(weights)
            _unflatten(optimizer, moments)
            for newer in numbered[numbered.index(path) + 1 :]:
                files.remove(newer)
            return state
        if numbered:
            raise UserError(
                f"no checkpoint in {self.folder} can be read",
                given=", ".join(path.name for path in numbered),
                to_do=f"remove {self.folder.parent} to start anew",
            )
        return None

    def load_best(self, learner: nn.Module) -> dict[str, Any] | None:
        """Load the weights of the best evaluation, if there was one."""
        if not (self.folder / BEST).is_dir():
            return None
        state, weights, _ = _read(self.folder / BEST)
        learner.load_state_dict(weights)
        return state


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    state = files.read_json(path / "state.json")
    tensors = []
    for part in ("learner", "optimizer"):
        file = path / f"{part}.safetensors"
        if not file.is_file() or files.sha256(file) != state["sha256"][part]:
            raise UserError(f"the checkpoint {path} is damaged: {file.name} is missing or was changed")
        tensors.append(load_file(file))
    return state, tensors[0], tensors[1]


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, row in state.items() for name, tensor in row.items()}


def _unflatten(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
