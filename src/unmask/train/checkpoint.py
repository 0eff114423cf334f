"""Checkpoints: the full state of a run in safetensors and JSON, written atomically in the background.

checkpoints/step-00000120/  learner.safetensors, optimizer.safetensors, state.json (with their checksums), and
ema.safetensors where weights are averaged

The newest are kept, and those that they name as the best evaluation so far. A checkpoint is written once and
never replaced, so a kill at any moment leaves a state from which the run goes on exactly. Where several processes
train, the main one reads and writes for all: a checkpoint fits any number of them.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from unmask import console, files
from unmask.bundle import save_tensors
from unmask.errors import UserError
from unmask.train.steps.ema import EMA
from unmask.train.steps.parallel import StateParts, World, full_tensor, local_shard

KEEP_LAST = 2  # the newest, and the one before in case the newest cannot be read


class Checkpoints:
    """The checkpoints of one run; `save`, `wait` and `restore` are called by all of its processes."""

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.folder = folder
        self.world = world or World()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, state: dict[str, Any], learner: nn.Module, optimizer: Optimizer, ema: EMA | None = None) -> None:
        """Copy everything now, write it while training goes on. Raises what the write before raised.

        state: `step`, `best_step` (None before the first evaluation) and whatever else resuming needs.
        """
        self.wait()  # on the main process; its error is everyone's
        parts = {"learner": learner.state_dict(), "optimizer": _flatten(optimizer)}
        if ema is not None:
            parts["ema"] = ema.state_dict()
        copies: StateParts = {part: {} for part in parts}
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                gathered = full_tensor(tensor.detach())
                if self.world.is_main:
                    copies[part][name] = gathered.cpu().clone()
        if self.world.is_main:
            self._pending = self._writer.submit(self._write, dict(state), copies)

    def wait(self) -> None:
        """Until everything is on disk."""
        self.world.run_on_rank0(self._finish)

    def _finish(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Let this process write what it has begun to write."""
        try:
            self._finish()
        finally:
            self._writer.shutdown()

    def _write(self, state: dict[str, Any], parts: StateParts) -> None:
        if self._path(state["step"]).is_dir():  # an evaluation has just saved the step that a signal ends
            return
        with files.atomic(self._path(state["step"])) as temporary:
            temporary.mkdir()
            sums = {}
            for part, tensors in parts.items():
                path = temporary / f"{part}.safetensors"
                save_tensors(tensors, path)
                sums[part] = files.sha256(path)
            files.write_json(temporary / "state.json", {**state, "sha256": sums})
        self._prune()

    def _prune(self) -> None:
        """Remove all but the newest and those that the newest call their best."""
        numbered = self._numbered()
        saved = set(numbered[-KEEP_LAST:])
        for path in numbered[-KEEP_LAST:]:
            with suppress(UserError):  # a damaged one names none
                saved.add(self._path(_state(path).get("best_step") or 0))
        for path in set(numbered) - saved:
            files.remove(path)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _numbered(self) -> list[Path]:
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []

    @property
    def any(self) -> bool:
        """Whether there are any, whole or not."""
        return self.world.run_on_rank0(lambda: bool(self._numbered()))

    def restore(self, learner: nn.Module, optimizer: Optimizer, ema: EMA | None = None) -> dict[str, Any] | None:
        """Load the newest checkpoint that is whole; returns its state, None if there are no checkpoints.

        Raises UserError where there are checkpoints, but none that can be read.
        """
        read: list[StateParts] = []  # on the main process
        state = self.world.run_on_rank0(lambda: self._read_newest(read))
        if state is None:
            return None
        parts = self.world.broadcast(read[0] if read else None)
        own = learner.state_dict()
        learner.load_state_dict({n: local_shard(t, own[n]) if n in own else t for n, t in parts["learner"].items()})
        _unflatten(optimizer, parts["optimizer"])
        if ema is not None:
            ema.load_state_dict(parts["ema"])
        return state

    def _read_newest(self, parts: list[StateParts]) -> dict[str, Any] | None:
        """Read the newest checkpoint that is whole: its tensors into `parts`, its state is returned. Those after it are
        removed."""
        files.sweep(self.folder)
        damaged = []
        for path in reversed(self._numbered()):
            try:
                state, tensors = _read(path)
            except UserError as error:
                console.note("{message}; going back to the checkpoint before it", error.message)
                damaged.append(path)
                continue
            parts.append(tensors)
            for newer in damaged:
                files.remove(newer)
            return state
        if damaged:
            names = ", ".join(path.name for path in reversed(damaged))
            hint = f"remove {self.folder.parent} to start anew"
            raise UserError(f"no checkpoint in {self.folder} can be read", given=names, hint=hint)
        return None

    def load_weights(self, step: int, learner: nn.Module) -> None:
        """Load the weights of a kept checkpoint, their average where there is one. Raises UserError where it is
        gone or damaged."""
        parts = _read(self._path(step))[1]
        learner.load_state_dict({**parts["learner"], **parts.get("ema", {})})


def _state(path: Path) -> dict[str, Any]:
    state = files.read_json(path / "state.json")
    if not isinstance(state, dict) or not isinstance(state.get("sha256"), dict):
        raise UserError("the checkpoint {path} is damaged: state.json was changed", path)
    return state


def _read(path: Path) -> tuple[dict[str, Any], StateParts]:
    state = _state(path)
    parts = {}
    for part in {"learner", "optimizer", *state["sha256"]}:
        file = path / f"{part}.safetensors"
        if not file.is_file() or files.sha256(file) != state["sha256"].get(part):
            raise UserError("the checkpoint {path} is damaged: {name} is missing or was changed", path, file.name)
        parts[part] = load_file(file)
    return state, parts


def _flatten(optimizer: Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, row in state.items() for name, tensor in row.items()}


def _unflatten(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        spread = tensor.shape == parameter.shape  # but for the number of steps
        state.setdefault(int(number), {})[name] = local_shard(tensor, parameter) if spread else tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
