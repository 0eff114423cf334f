"""World: the processes that train one model together. One process alone is a world of one.

torchrun starts the processes and says in the environment of each which one it is; here they find each other and
exchange what they must: sums, decisions, gradients. Whatever a World offers is called by all of them alike, in the
same order. Plain values travel as JSON, tensors as they are.
"""

import copy
import inspect
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from unmask.errors import UserError
from unmask.learner.learner import Learner

T = TypeVar("T")
ParallelMode = Literal["ddp", "fsdp"]
StateParts = dict[str, dict[str, Tensor]]

TIMEOUT = timedelta(hours=1)  # for which processes wait while the main one evaluates; a lost one shows earlier
REQUIRED_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class World:
    """This process among those that train one model."""

    rank = 0
    size = 1

    def __init__(self, device: str | None = None) -> None:
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, prints and decides."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        return list(values)

    def max(self, values: Sequence[float]) -> list[float]:
        """The highest of each value over all processes."""
        return list(values)

    def run_on_rank0(self, work: Callable[[], T]) -> T:
        """What `work` returns on the main process, which alone does it. All raise its UserError."""
        return work()

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        """A UserError that one process raises inside is raised by all of them at its end."""
        yield

    def broadcast(self, parts: StateParts | None) -> StateParts:
        """The tensors of the main process (on the CPU) for all; the others give None."""
        assert parts is not None
        return parts

    def wrap(self, learner: Learner, how: ParallelMode) -> nn.Module:
        """What trains a learner, with the weights of the main process. See `unwrap`, `gather`."""
        return learner

    def unwrap(self, trained: nn.Module) -> Learner:
        """The Learner inside of what `wrap` made."""
        inner = trained.module if isinstance(trained, DistributedDataParallel) else trained
        assert isinstance(inner, Learner)
        return inner

    @torch.no_grad()
    def gather(self, trained: nn.Module, learner: Learner) -> None:
        """Bring the weights of `trained` into the learner that was wrapped, on the main process; often they are the
        same."""
        if self.unwrap(trained) is learner:
            return
        for mine, spread in zip(learner.parameters(), trained.parameters(), strict=True):
            gathered = full_tensor(spread)
            if self.is_main:
                mine.copy_(gathered)

    @contextmanager
    def gradient_sync(self, trained: nn.Module, now: bool) -> Iterator[None]:
        """Within it a backward pass averages gradients over all processes, if `now`, or keeps them for later."""
        if isinstance(trained, FSDPModule):
            trained.set_requires_gradient_sync(now)
        if isinstance(trained, DistributedDataParallel) and not now:
            with trained.no_sync():
                yield
        else:
            yield

    @torch.no_grad()
    def clip_grad_norm(self, parameters: Iterable[Tensor], max_grad_norm: float) -> Tensor:
        """Scale the gradient down to the 2-norm `max_grad_norm` over all parameters; returns its norm before."""
        parameters = list(parameters)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not is_distributed(*gradients):
            return torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        # one exchange for all, where torch makes one for each
        norm = math.sqrt(self.sum([sum_of_squares(gradients)])[0])
        torch._foreach_mul_([local_tensor(gradient) for gradient in gradients], min(1.0, max_grad_norm / (norm + 1e-6)))
        return torch.tensor(norm, dtype=torch.float64)


@contextmanager
def join_world(world: World | None = None) -> Iterator[World]:
    """The world given, or else that of the environment, which is left at the end. Raises UserError where another
    of its processes ends meanwhile."""
    if world is not None or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield world or World()
        return
    group = DistributedWorld()
    try:
        yield group
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        lost = UserError(
            "another process of this run has ended, so this one ends as well",
            hint="see the error of the other one; the same command goes on from the last checkpoint",
        )
        raise SharedError(lost, group.is_main) from error
    group.sum([0.0])  # nobody hangs up on one who still listens
    dist.destroy_process_group()


class SharedError(UserError):
    """An error that all processes raise; the main one shows it."""

    def __init__(self, error: UserError, is_main: bool) -> None:
        super().__init__(error.message, **error.facts)
        self.shown_elsewhere = not is_main


class DistributedWorld(World):
    """This process among several that torchrun has started, here and perhaps on other machines.

    Raises UserError where the environment is not torchrun's, or has more processes than GPUs.
    """

    def __init__(self) -> None:
        missing = [name for name in REQUIRED_VARIABLES if name not in os.environ]
        if missing:
            raise UserError(
                "several processes must be started by torchrun",
                given=[f"WORLD_SIZE={os.environ['WORLD_SIZE']}", f"missing: {', '.join(missing)}"],
                hint="torchrun --nproc-per-node 2 -m unmask pretrain RECIPE, or unset WORLD_SIZE",
            )
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
        if 0 < gpus <= local:
            raise UserError(
                "more processes than GPUs on this machine",
                given=f"LOCAL_RANK={local}",
                allowed=f"torchrun --nproc-per-node {gpus}",
            )
        super().__init__(f"cuda:{local}" if gpus else "cpu")
        if self.on_gpu:
            torch.cuda.set_device(self.device)
        backend, store = "cpu:gloo,cuda:nccl" if self.on_gpu else "gloo", _rendezvous_store(self.rank, self.size)
        dist.init_process_group(backend, timeout=TIMEOUT, store=store, rank=self.rank, world_size=self.size)

    def sum(self, values: Sequence[float]) -> list[float]:
        return self._reduced(values, dist.ReduceOp.SUM)

    def max(self, values: Sequence[float]) -> list[float]:
        return self._reduced(values, dist.ReduceOp.MAX)

    @staticmethod
    def _reduced(values: Sequence[float], how: Any) -> list[float]:
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, how)
        return tensor.tolist()

    def run_on_rank0(self, work: Callable[[], T]) -> T:
        outcome: dict[str, Any] = {}
        if self.is_main:
            try:
                outcome = {"value": work()}
            except UserError as error:
                outcome = {"error": error.to_dict()}
        return self._exchange(outcome)[0]["value"]  # type: ignore[no-any-return]

    @contextmanager
    def sync_errors(self) -> Iterator[None]:
        try:
            yield
        except SharedError:
            raise
        except UserError as error:
            self._exchange({"error": error.to_dict()})
        else:
            self._exchange({})

    def _exchange(self, mine: dict[str, Any]) -> list[dict[str, Any]]:
        """The values of each process; raises the first error among them. One protocol for all decisions, so that
        whoever fails early is understood by those who are further on."""
        text = torch.frombuffer(bytearray(json.dumps(mine).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(text)]))
        longest = max(int(length) for length in lengths)
        padded = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(padded, torch.cat([text, torch.zeros(longest - len(text), dtype=torch.uint8)]))
        every = [json.loads(bytes(part[: int(n)].tolist())) for part, n in zip(padded, lengths, strict=True)]
        for each in every:
            if "error" in each:
                raise SharedError(UserError.from_dict(each["error"]), self.is_main)
        return every

    def broadcast(self, parts: StateParts | None) -> StateParts:
        layout: dict[str, dict[str, Any]] = self.run_on_rank0(
            lambda: {
                part: {name: [str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()}
                for part, tensors in (parts or {}).items()
            }
        )
        every = parts or {
            part: {name: torch.empty(shape, dtype=getattr(torch, dtype)) for name, (dtype, shape) in row.items()}
            for part, row in layout.items()
        }
        for part in layout:
            for name in layout[part]:
                dist.broadcast(every[part][name], 0)
        return every

    def wrap(self, learner: Learner, how: ParallelMode) -> nn.Module:
        if how == "fsdp":
            return self._sharded(learner)
        devices = [torch.device(self.device)] if self.on_gpu else None
        # buffers are tables that never change; torch 2.13 gave the option another name
        names = ("forward_sync_buffers", "broadcast_buffers")
        option = next(name for name in names if name in inspect.signature(DistributedDataParallel).parameters)
        static: dict[str, Any] = {option: False}
        return DistributedDataParallel(learner, device_ids=devices, gradient_as_bucket_view=True, **static)

    def _sharded(self, learner: Learner) -> nn.Module:
        """A copy whose weights, gradients and optimiser state are spread over the processes (FSDP2).

        Blocks are gathered one at a time. What is used at both ends, the tied embeddings, stays in one unit, and so
        do blocks that are used more than once.
        """
        for parameter in learner.parameters():
            dist.broadcast(parameter.detach(), 0)
        trained = copy.deepcopy(learner)
        if not self.is_main:  # where nobody evaluates it
            learner.to("cpu")
        mesh = init_device_mesh(torch.device(self.device).type, (self.size,))
        encoder = trained.encoder
        if len(set(encoder.blocks)) == encoder.config.num_hidden_layers:
            for block in encoder.blocks:
                fully_shard(block, mesh=mesh)
        fully_shard(trained, mesh=mesh, reshard_after_forward=False)
        return trained


def _rendezvous_store(rank: int, size: int) -> Any:
    """A place that only these processes know, of those that torchrun's store has seen.

    That store outlives workers that torchrun replaces, and holds the addresses of the dead: so each process says
    hello with a name that nobody had before, and the main one answers those that live with the name of the place.
    """
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # else the main process is the host
    store = dist.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not agent,
        timeout=TIMEOUT,
        multi_tenant=True,
    )
    name = secrets.token_hex(8)
    if rank:
        store.set(f"unmask/hello/{rank}", name)
        place = store.get(f"unmask/answer/{name}").decode()
        store.set(f"unmask/heard/{place}/{rank}", "")
        return dist.PrefixStore(place, store)  # type: ignore[attr-defined]
    waited_for = set(range(1, size))
    while waited_for:
        for other in sorted(waited_for):
            if store.check([f"unmask/heard/{name}/{other}"]):
                waited_for.remove(other)
            elif store.check([f"unmask/hello/{other}"]):
                store.set(f"unmask/answer/{store.get(f'unmask/hello/{other}').decode()}", name)
        time.sleep(0.01)
    return dist.PrefixStore(name, store)  # type: ignore[attr-defined]


def is_distributed(*tensors: Tensor) -> bool:
    """Whether processes hold parts of tensors."""
    return any(isinstance(tensor, DTensor) for tensor in tensors)


def local_tensor(tensor: Tensor) -> Tensor:
    """What this process has of a tensor that may be spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def sum_of_squares(gradients: Sequence[Tensor]) -> float:
    """Of all numbers that this process has of them."""
    if not gradients:
        return 0.0
    norms = torch._foreach_norm([local_tensor(gradient) for gradient in gradients])
    return float(torch.stack(norms).double().square().sum())


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor that may be spread over the processes, on each of them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_shard(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, where `like` is spread over the processes; else the tensor itself."""
    if not isinstance(like, DTensor):
        return tensor
    # without a source, each process cuts its part out of what it has
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
