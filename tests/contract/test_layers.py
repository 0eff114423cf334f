"""The layers of the architecture: `lint-imports` is part of the tests; importing the package is cheap."""

import subprocess
import sys
from pathlib import Path

import pytest

from errors import refused

ROOT = Path(__file__).parents[2]


def test_the_layers_hold() -> None:
    pytest.importorskip("importlinter")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_importing_unmask_does_not_import_torch() -> None:
    code = "import sys, unmask, unmask.cli.app; print(sorted({'torch', 'tokenizers', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    import unmask

    for name in unmask.__all__:
        assert getattr(unmask, name) is not None
    with refused("unmask", "'nothing'", kind=AttributeError):
        _ = unmask.nothing
