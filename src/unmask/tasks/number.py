"""A number for a text or a pair of texts: how alike two sentences are, how many stars a review gives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from unmask.data.batch import Batch, EncodedRow
from unmask.data.rows.tables import Example, UnknownLabels
from unmask.errors import UserError
from unmask.metrics import Interval
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.rowmetrics import OF_NUMBERS, ROW_METRICS, bootstrap_rows
from unmask.tasks.classifyhead import NumberHead, NumberLearner
from unmask.tasks.task import METRIC_TITLES, Head, Logits, ScoreTable
from unmask.tasks.texts import TextTask, labelled_logits
from unmask.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from unmask.tasks.classify import Classify

MAX_WORST = 8  # rows shown to people


@dataclass(frozen=True)
class NumberStatistics:
    """The numbers of the training rows: mean and deviation, which learning goes by, and the range, where known."""

    mean: float = 0.0
    std: float = 1.0
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class NumberEvaluation:
    """Correlations (Pearson, Spearman) and errors (MAE, RMSE, in the unit of the numbers) with 95 % bootstrap
    intervals over rows; farthest: the rows whose prediction errs most."""

    rows: int
    figures: Mapping[str, Interval]
    farthest: list[dict[str, Any]]

    def __repr__(self) -> str:
        shown = ", ".join(f"{METRIC_TITLES[name]} {interval}" for name, interval in self.figures.items())
        return f"NumberEvaluation({self.rows:,} rows, {shown})"

    def tables(self) -> list[ScoreTable]:
        rows: list[tuple[object, ...]] = [
            (row["line"], f"{row['true']:.6g}", f"{row['predicted']:.3f}") for row in self.farthest
        ]
        return [ScoreTable(("farthest from the truth: line", "true", "predicted"), rows)]

    def to_dict(self) -> dict[str, Any]:
        known = asdict(self)
        return {"rows": self.rows, **known.pop("figures"), **known}


class NumberTask(TextTask[float]):
    """A number for each text, in the unit of the training rows. It may lie outside their range: what is predicted is
    what any other library gets from the published weights.
    """

    kind = "number"
    metrics = OF_NUMBERS
    baseline = "mean"

    def __init__(self, settings: "Classify", tokenizer: Tokenizer, numbers: NumberStatistics) -> None:
        super().__init__(settings, tokenizer, [])
        self.statistics = numbers

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
        return cls(settings, tokenizer, NumberStatistics(*map(float, facts)))

    @classmethod
    def restore(cls, settings: "Classify", tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        return cls(settings, tokenizer, NumberStatistics(**schema.get("numbers", {})))

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "numbers": asdict(self.statistics)}

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        return super().public_architecture[0], ["number"]

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        return list(examples)

    def target_of(self, example: Example) -> npt.NDArray[np.float32]:
        return np.array([example.number], dtype=np.float32)

    def head(self, encoder: EncoderConfig) -> NumberHead:
        """In the unit of the training rows, as the published weights are."""
        return NumberHead(self.settings, encoder)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> NumberLearner:
        head = self.head(encoder.config)
        head.init_from_statistics(self.statistics.mean, self.statistics.std)
        return NumberLearner(encoder, head)

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """The number (1,)."""
        return list(outputs.float().cpu().numpy()[:, None])

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        """The loss in squared deviations of the training rows, as it is trained."""
        rows, logits = self.merge_windows(rows, logits)
        said, wanted = (values[:, 0].astype(np.float64) for values in labelled_logits(rows, logits))
        loss = float((((said - wanted) / self.statistics.std) ** 2).mean())
        return {"classify.loss": loss, self.metric_key: ROW_METRICS[self.metric](wanted, said)}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[float]:
        return [float(one[0]) for one in self.merge_windows(rows, logits)[1]]

    def top_prediction(self, prediction: float) -> float:
        return prediction

    def comparable(self, examples: Sequence[Example], predictions: Sequence[float]) -> list[float]:
        return [round(prediction, 6) for prediction in predictions]

    def score(self, examples: Sequence[Example], predictions: Sequence[float], seed: int = 0) -> NumberEvaluation:
        truth = [float(example.number or 0) for example in examples]
        figures = {
            name: bootstrap_rows(ROW_METRICS[name], truth, predictions, seed=seed)
            for name in dict.fromkeys((self.metric, *self.metrics))
        }
        order = sorted(range(len(truth)), key=lambda number: -abs(truth[number] - predictions[number]))
        farthest = [
            {"line": examples[n].line, "true": truth[n], "predicted": round(predictions[n], 6)}
            for n in order[:MAX_WORST]
        ]
        return NumberEvaluation(len(truth), figures, farthest)

    def constant_baseline(self, train: Sequence[Example]) -> float:
        """The mean."""
        return float(np.mean([example.number for example in train]))

    def to_record(self, example: Example, prediction: float, all_scores: bool) -> dict[str, Any]:
        return {"id": example.id, "line": example.line, "number": round(prediction, 6)}

    def columns(self, all_scores: bool) -> list[str]:
        return ["id", "line", "number"]

    def to_rows(self, example: Example, prediction: float, all_scores: bool) -> list[list[object]]:
        return [[example.id, example.line, round(prediction, 6)]]
