"""Freed memory stays with the process, in a process of its own: what is set cannot be taken back."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unmask.train import allocator

# pages that are touched anew when 40 MB are freed and taken again, twenty times
CODE = """
import ctypes, json, resource, sys
from unmask.train.allocator import keep_freed_memory
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def use():
    place = library.malloc(40_000_000)
    ctypes.memset(place, 1, 40_000_000)
    library.free(place)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def faults(how: str, **variables: str) -> tuple[bool | None, int]:
    environment = {name: value for name, value in os.environ.items() if name not in allocator.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", CODE, how],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
    )
    kept, count = json.loads(done.stdout)
    return kept, count


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_pages_are_kept() -> None:
    _, fresh = faults("leave")
    kept, again = faults("keep")
    assert kept is True
    assert fresh > 20 * 100 and again < fresh / 20


def test_what_was_set_from_outside_is_left() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="1000000")[0] is False


@pytest.mark.parametrize("lacks", ["gnu_get_libc_version", "mallopt", "library"])
def test_another_c_library_is_left_alone(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __getattr__(self, name: str) -> object:
            if name == lacks:
                raise AttributeError(name)
            return object()

    def load(_: None) -> Library:
        if lacks == "library":
            raise OSError
        return Library()

    for name in allocator.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", load)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    assert allocator.keep_freed_memory() is False


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False


# what the process holds after the activation of tensors of many lengths, in MiB
MANY_SHAPES = """
import sys, torch
from benchmarks.child import held_bytes
from unmask.train.allocator import keep_few_kernels
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_few_kernels()
given = torch.randn(4000, 8)
def use(lengths):
    for length in lengths:
        torch.nn.functional.gelu(given[:length])
use(range(1000, 1040))
before = held_bytes()
use(range(1040, 2000))
print((held_bytes() - before) / 2**20)
"""


def grown(how: str, **variables: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != allocator.KERNELS}
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    command = [sys.executable, "-c", MANY_SHAPES, how]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": path, **variables},
    )
    return float(done.stdout)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_kernels_of_many_shapes_are_not_all_kept() -> None:
    everything, few = grown("leave"), grown("keep")
    assert everything > 5 and few < everything / 4
    assert grown("keep", **{allocator.KERNELS: "1024"}) > everything / 2, "what was set from outside holds"
