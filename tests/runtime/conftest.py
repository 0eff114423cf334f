"""Models that the tests of the runtime share: an export takes seconds. No test changes them."""

from pathlib import Path

import pytest

FAST = ["train.budget=30 steps", "train.evaluations=1", "task.max_length=24", "train.optimizer.lr=0.01"]


@pytest.fixture(scope="session")
def classifier(pretrained: Path, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a fine-tuning run."""
    from unmask.console import SILENT
    from unmask.train.finetune import finetune

    out = tmp_path_factory.mktemp("runs") / "classifier"
    return finetune(None, FAST, model=pretrained, train=table, output=out, progress=SILENT).model


@pytest.fixture(scope="session")
def onnx_folder(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier in ONNX, not verified."""
    from unmask.engine.export import export

    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export(classifier, "onnx", folder)
    return folder
