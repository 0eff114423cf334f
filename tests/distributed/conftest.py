"""Several processes that train together, forked: importing torch anew would take seconds for each."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch._dynamo  # FSDP2 imports it; here once for all
import torch.distributed as dist

from unmask import console

LIMIT = 120.0  # seconds after which processes that wait for each other are a failure

Together = Callable[[int, Callable[[], object]], list[int]]


@pytest.fixture
def together(tmp_path: Path) -> Together:
    """Run the same work in so many processes, as torchrun starts them; returns their exit codes, or -signal.

    What they print goes to err-0, err-1, ... in tmp_path. work: may return its exit code.
    """

    def run(count: int, work: Callable[[], object]) -> list[int]:
        # the agreed place to meet, with a port that the system chooses: what torchrun's agent offers
        store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        children = [_fork(rank, count, store.port, work, tmp_path / f"err-{rank}") for rank in range(count)]
        return _ended(children)

    return run


def _fork(rank: int, count: int, port: int, work: Callable[[], object], said: Path) -> int:
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        with said.open("w", buffering=1) as file:
            os.dup2(file.fileno(), 2)
            os.dup2(file.fileno(), 1)
            sys.stderr = sys.stdout = file
            torch.set_num_threads(1)
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": str(port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
            }
            console.set_quiet(False)
            result = work()
            code = result if isinstance(result, int) else 0
    except BaseException:
        import traceback

        said.write_text(said.read_text() + traceback.format_exc())
    finally:
        os._exit(code)


def _ended(children: list[int]) -> list[int]:
    codes: dict[int, int] = {}
    until = time.monotonic() + LIMIT
    while len(codes) < len(children):
        for child in children:
            if child not in codes:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            pytest.fail("processes were left waiting for each other")
        time.sleep(0.01)
    return [codes[child] for child in children]
