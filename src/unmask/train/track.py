"""The log of a run once more, as TensorBoard reads it. The record stays metrics.jsonl; this is for looking at."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unmask.errors import missing_extra

FLUSH = 10  # seconds after which TensorBoard sees a row, at the latest


class TensorBoardMirror:
    """Writes rows of metrics.jsonl into a folder of TensorBoard events. Raises UserError where it is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_extra("tensorboard", "track", "train.tensorboard=true") from None
        self._folder, self._make = folder, SummaryWriter
        self._writer: Any = None

    def begin(self, step: int) -> None:
        """Go on after `step`: TensorBoard drops its rows of the steps from there on."""
        self.close()
        self._writer = self._make(str(self._folder), purge_step=step + 1, flush_secs=FLUSH)

    def write(self, row: Mapping[str, Any]) -> None:
        """Write the figures of a row of metrics.jsonl."""
        for name, value in scalars(row):
            self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what is left, if anything was written."""
        if self._writer is not None:
            self._writer.close()


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a row under the names that TensorBoard groups them by: `training/loss`, `gradient/block 03`."""
    if "evaluation" in row:  # its other figures are those of the row before
        yield from ((f"evaluation/{name}", value) for name, value in row["evaluation"].items())
        return
    for name, value in row.items():
        if name == "norms":
            for kind, layers in value.items():
                names = ("embeddings", *(f"block {number:02}" for number in range(1, len(layers))))
                yield from zip((f"{kind}/{layer}" for layer in names), layers, strict=True)
        elif name != "step":
            yield f"training/{name}", value
