"""Settings and heads of public checkpoints: what the peers compute with each folder today, beside what was recorded,
which the tests compare with ours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.record_settings import recorded
from tests.public_settings import KINDS

EXPECTED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "tests" / "public_settings.json").read_text())


@pytest.mark.parametrize("name", KINDS)
def test_the_peers_compute_what_was_recorded(name: str, tmp_path: Path) -> None:
    if name.startswith("vectors"):
        pytest.importorskip("sentence_transformers")
    found = recorded(name, tmp_path / "model")
    assert found.get("ids") == EXPECTED[name].get("ids")
    for ours, theirs in zip(found["outputs"], EXPECTED[name]["outputs"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
