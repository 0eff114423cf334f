"""The log of a run once more, as TensorBoard reads it. What counts stays metrics.jsonl; this is for looking at."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unmask.errors import missing_extra

GROUPS = {
    "tokens_per_second": "speed",
    "data_wait": "speed",
    "progress": "progress",
    "seconds": "progress",
    "tokens": "progress",
}  # where a figure stands; the others are of training
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
        """Go on after `step`: TensorBoard drops what it was told before of the steps from there on."""
        self.close()
        self._writer = self._make(str(self._folder), purge_step=step + 1, flush_secs=FLUSH)

    def write(self, row: Mapping[str, Any]) -> None:
        if self._writer is None:
            self.begin(row["step"] - 1)
        for name, value in scalars(row):
            self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The figures of a row under the names that TensorBoard groups them by: `training/loss`, `gradient/block 03`."""
    if "evaluation" in row:  # its other figures are those of the row before
        yield from ((f"evaluation/{name}", value) for name, value in row["evaluation"].items())
        return
    for name, value in row.items():
        if name == "norms":
            for kind, layers in value.items():
                yield from ((f"{kind}/{layer_name(at)}", norm) for at, norm in enumerate(layers))
        elif name != "step":
            yield f"{GROUPS.get(name, 'training')}/{name}", value


def layer_name(at: int) -> str:
    """Of norms by layer, bottom to top; block numbers have two digits, so that they are sorted as they stand."""
    return f"block {at:02}" if at else "embeddings"
