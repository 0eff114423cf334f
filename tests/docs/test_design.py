"""docs/design.md names files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
EXAMPLES = {"tasks/mine.py", "heads/mine.py", "objectives/mine.py"}  # files to add


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+\.py)`", PAGE)) - EXAMPLES))
def test_named_files_exist(path: str) -> None:
    folder = ROOT / ("." if path.startswith("benchmarks/") else "src/unmask")
    assert (folder / path).is_file()
