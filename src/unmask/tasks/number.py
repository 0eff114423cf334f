"""A number for a text or a pair of texts: how alike two sentences are, how many stars a review gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask.data.batch import Batch, Row
from unmask.data.tables import Example, Unknown
from unmask.errors import UserError
from unmask.metrics import Interval
from unmask.model.encoder import Encoder, EncoderConfig
from unmask.rowmetrics import OF_NUMBERS, ROW_METRICS, bootstrap_rows
from unmask.tasks.classifyhead import NumberHead, NumberLearner
from unmask.tasks.task import TITLES, Evidence, Head, Shown
from unmask.tasks.texts import TextTask, known_targets
from unmask.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify

FARTHEST = 8  # rows shown to people


@dataclass(frozen=True)
class Numbers:
    """The numbers of the training rows: mean and deviation, which learning goes by, and the range, where known."""

    mean: float = 0.0
    deviation: float = 1.0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class NumberEvaluation:
    """Correlations (Pearson, Spearman) and errors (MAE, RMSE, in the unit of the numbers) with 95 % bootstrap
    intervals over rows; farthest: the rows whose prediction errs most."""

    rows: int
    figures: Mapping[str, Interval]
    farthest: list[dict[str, Any]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{TITLES[name]} {interval}" for name, interval in self.figures.items())
        return f"NumberEvaluation({self.rows:,} rows, {shown})"

    def tables(self) -> list[Shown]:
        rows: list[tuple[object, ...]] = [
            (row["line"], f"{row['true']:.6g}", f"{row['predicted']:.3f}") for row in self.farthest
        ]
        return [Shown(("farthest from the truth: line", "true", "predicted"), rows)]

    def told(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


class NumberTask(TextTask[float]):
    """A number for each text, in the unit of the training rows. It may lie outside their range: what is predicted is
    what any other library gets from the published weights.
    """

    kind = "number"
    measures = OF_NUMBERS
    baseline = "mean"

    def __init__(self, settings: "Classify", tokenizer: Tokenizer, numbers: Numbers) -> None:
        super().__init__(settings, tokenizer, [])
        self.known_numbers = numbers

    @classmethod
    def build(cls, settings: "Classify", tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        values = np.array([example.number for example in train], dtype=np.float64)
        if values.min() == values.max():
            raise UserError(
                f"{train[0].source}: there is nothing to learn",
                given=f"{len(train):,} rows, all with the number {values[0]:g}",
                to_do="check the label column (--label-column)",
            )
        facts = (values.mean(), values.std(), values.min(), values.max())
        return cls(settings, tokenizer, Numbers(*map(float, facts)))

    @classmethod
    def restore(cls, settings: "Classify", tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, Numbers(**schema.get("numbers", {})))

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "numbers": asdict(self.known_numbers)}

    @property
    def public(self) -> tuple[str | None, list[str]]:
        return super().public[0], ["number"]

    @classmethod
    def known(
        cls, examples: Sequence[Example], labels: Iterable[str], of: str, unknown: Unknown = "stop"
    ) -> list[Example]:
        return list(examples)

    def wanted(self, example: Example) -> npt.NDArray[np.float32]:
        return np.array([example.number], dtype=np.float32)

    def head(self, encoder: EncoderConfig) -> NumberHead:
        """In the unit of the training rows, as the published weights are."""
        return NumberHead(self.settings, encoder)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[Row]) -> NumberLearner:
        head = self.head(encoder.config)
        head.begin_with(self.known_numbers.mean, self.known_numbers.deviation)
        return NumberLearner(encoder, head)

    def evidence(self, outputs: Tensor, batch: Batch) -> list[Evidence]:
        """The number (1,)."""
        return list(outputs.float().cpu().numpy()[:, None])

    def judge(
        self, head: Head, examples: Sequence[Example], rows: Sequence[Row], evidence: Sequence[Evidence]
    ) -> dict[str, float]:
        """The loss in squared deviations of the training rows, as it is trained."""
        rows, evidence = self.whole(rows, evidence)
        said, wanted = (values[:, 0].astype(np.float64) for values in known_targets(rows, evidence))
        loss = float((((said - wanted) / self.known_numbers.deviation) ** 2).mean())
        return {"classify.loss": loss, self.watch: ROW_METRICS[self.metric](wanted, said)}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[Row],
        evidence: Sequence[Evidence],
        top_k: int | None = None,
    ) -> list[float]:
        return [float(one[0]) for one in self.whole(rows, evidence)[1]]

    def best(self, prediction: float) -> float:
        return prediction

    def compared(self, examples: Sequence[Example], predictions: Sequence[float]) -> list[float]:
        return [round(prediction, 6) for prediction in predictions]

    def score(
        self, examples: Sequence[Example], predictions: Sequence[float], seed: int = 0
    ) -> NumberEvaluation:
        truth = [float(example.number or 0) for example in examples]
        figures = {
            name: bootstrap_rows(ROW_METRICS[name], truth, predictions, seed=seed)
            for name in dict.fromkeys((self.metric, *self.measures))
        }
        order = sorted(range(len(truth)), key=lambda number: -abs(truth[number] - predictions[number]))
        farthest = [
            {"line": examples[n].line, "true": truth[n], "predicted": round(predictions[n], 6)}
            for n in order[:FARTHEST]
        ]
        return NumberEvaluation(len(truth), figures, farthest)

    def constant(self, train: Sequence[Example]) -> float:
        """The mean."""
        return float(np.mean([example.number for example in train]))

    def record(self, example: Example, prediction: float, every: bool) -> dict[str, Any]:
        return {"id": example.id, "line": example.line, "number": round(prediction, 6)}

    def columns(self, every: bool) -> list[str]:
        return ["id", "line", "number"]

    def lines(self, example: Example, prediction: float, every: bool) -> list[list[object]]:
        return [[example.id, example.line, round(prediction, 6)]]
