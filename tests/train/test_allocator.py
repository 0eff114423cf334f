"""Freed memory stays with the process, in a process of its own: what is set cannot be taken back."""

import json
import os
import platform
import subprocess
import sys

import pytest

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
