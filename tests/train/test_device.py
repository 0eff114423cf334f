"""Freed memory stays with the process, in a process of its own: what is set cannot be taken back."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unmask.train.steps import device

# pages that are touched anew when 40 MB are freed and taken again, twenty times
CODE = """
import ctypes, resource, sys
from unmask.train.steps.device import keep_freed_memory
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
if sys.argv[1] == "keep":
    keep_freed_memory()
def use():
    place = library.malloc(40_000_000)
    ctypes.memset(place, 1, 40_000_000)
    library.free(place)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in device.VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", CODE, how],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_pages_are_kept() -> None:
    fresh, again = faults("leave"), faults("keep")
    assert fresh > 20 * 100 and again < fresh / 20
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="1000000") > fresh / 2, "what was set from outside is left"


@pytest.mark.parametrize("library", ["musl", ""])
def test_another_c_library_is_left_alone(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in device.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(device.platform, "libc_ver", lambda: (library, ""))
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: pytest.fail("its mallopt means something else"))
    device.keep_freed_memory()


# what the process holds after the activation of tensors of many lengths, in MiB
MANY_SHAPES = """
import sys, torch
from benchmarks.child import held_bytes
from unmask.train.steps.device import limit_kernel_cache
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    limit_kernel_cache()
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
    environment = {name: value for name, value in os.environ.items() if name != device.KERNELS}
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
    assert grown("keep", **{device.KERNELS: "1024"}) > everything / 2, "what was set from outside holds"
