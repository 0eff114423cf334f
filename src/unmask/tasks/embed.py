"""Vectors of texts: the nearer two vectors, by their cosine, the more alike the texts are.

They are learnt from pairs that belong together, from pairs with scores, or from texts alone (`task.loss`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unmask import console
from unmask.config import config, dump, setting
from unmask.data.batch import SPECIAL_TOKEN, Batch, EncodedRow
from unmask.data.batches import GroupedSequences, RowSequences, SequenceSource
from unmask.data.rows.labels import with_similarity
from unmask.data.rows.memory import Source
from unmask.data.rows.tables import Example, UnknownLabels, read_examples
from unmask.errors import UserError
from unmask.model.config import EncoderConfig
from unmask.model.encoder import Encoder
from unmask.model.pooler import Pooling
from unmask.rowmetrics import ROW_METRICS
from unmask.tasks import embedscore
from unmask.tasks.embedhead import (
    TARGET,
    AnyEmbedLoss,
    Contrastive,
    Cosine,
    EmbedHead,
    EmbedLearner,
    Unsupervised,
    contrastive_loss,
    scaled_cosines,
)
from unmask.tasks.embedscore import CORRELATIONS, RETRIEVAL, EmbedEvaluation, Vectors
from unmask.tasks.task import Head, Logits, ReadOptions, Task, TaskLearner
from unmask.text.tokenizer import Tokenizer

MetricName = Literal["spearman", "pearson", "mrr", "ndcg_10", "recall_1", "recall_10"]

SHOWN = 300  # characters of a text in a report
GROUP_ROWS = 64  # dev pairs that are told apart from one another in the loss


@config
class Embed:
    """Settings of vectors of texts."""

    name: Literal["embed"] = "embed"
    max_length: int = setting(
        default=128, ge=8, description="longest text in tokens; longer ones are cut, which is said"
    )
    pooling: Pooling = setting(
        default="mean",
        description="one vector per text: the mean over tokens (as Reimers and Gurevych 2019), the [CLS] state, the "
        "greatest values, or the mean weighted by attention, which other libraries do not know",
    )
    normalize_embeddings: bool = setting(
        default=True, description="vectors have the length 1, so that their product is the cosine"
    )
    loss: AnyEmbedLoss = setting(
        default_factory=Contrastive, description="what is learnt: contrastive, cosine or unsupervised"
    )
    metric: MetricName | None = setting(
        default=None,
        description="the figure that the best step is chosen by and models are compared by; spearman of rows with "
        "scores, mrr of pairs, where it is not given or not for these",
    )

    @property
    def task(self) -> type[Task[Any]]:
        return EmbedTask


class EmbedTask(Task[Vectors]):
    """A prediction is the vector of a text, (width,) float32, or of a pair those of both, (2, width).

    scores: the lowest and the highest score, where training rows have scores.
    """

    settings: Embed
    kind = "vectors"
    baseline = "words"
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "csv", "npy")

    def __init__(self, settings: Embed, tokenizer: Tokenizer, scores: tuple[float, float] | None = None) -> None:
        super().__init__(settings, tokenizer, ())
        self.scores = scores
        scored = isinstance(settings.loss, Cosine)
        self.metric = settings.metric or (CORRELATIONS if scored else RETRIEVAL)[0]

    @classmethod
    def build(cls, settings: Embed, tokenizer: Tokenizer, train: Sequence[Example]) -> Self:
        loss, scored = settings.loss, train[0].number is not None
        if not isinstance(loss, Unsupervised):
            cls.check_labels(train, (), "")
        if isinstance(loss, Contrastive) and scored:
            raise UserError(
                f"{train[0].source} has scores, which pairs that belong together have not",
                given="task.loss=contrastive",
                to_do="task.loss=cosine to learn the scores; or a file without the column of the scores",
            )
        return cls(settings, tokenizer, _bounds(loss, train) if isinstance(loss, Cosine) else None)

    @classmethod
    def restore(cls, settings: Embed, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        scores = schema.get("scores")
        return cls(settings, tokenizer, None if scores is None else (scores[0], scores[1]))

    def schema(self) -> dict[str, Any]:
        scores = None if self.scores is None else list(self.scores)
        return {**dump(self.settings), "metric": self.metric, "labels": [], "scores": scores}

    @property
    def head_settings(self) -> dict[str, Any]:
        return {"pooling": self.settings.pooling}

    @property
    def public_architecture(self) -> tuple[str | None, list[str]]:
        return None, []

    @classmethod
    def read(cls, path: Source, read_options: ReadOptions) -> list[Example]:
        """A text or two a row; the label, if there is one, is the score of a pair. Rows of one first text stay together
        in a split, where there are no scores: what belongs to it would be known from training."""
        examples = read_examples(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            encoding=read_options.encoding,
            format=read_options.format,
        )
        return [
            replace(example, group=example.text) if example.group is None and example.number is None else example
            for example in with_similarity(examples, read_options.columns.label, read_options.on_error)
        ]

    def read_new(self, path: Source, read_options: ReadOptions) -> list[Example]:
        return read_examples(
            path,
            columns=read_options.columns,
            on_error=read_options.on_error,
            encoding=read_options.encoding,
            kind=None,
            format=read_options.format,
        )

    def read_test(self, path: Source, read_options: ReadOptions) -> list[Example]:
        return self.read(path, read_options)

    @classmethod
    def check_labels(
        cls, examples: Sequence[Example], labels: Iterable[str], owner: str, unknown: UnknownLabels = "stop"
    ) -> list[Example]:
        """All of them: there are no labels. Raises UserError where rows are not all pairs, or not all of them or
        none have scores."""
        scored = any(example.number is not None for example in examples)
        for example in examples:
            if example.pair is None:
                raise UserError(
                    f"{example.location} has one text, where two are needed",
                    allowed="pairs, such as text_a,text_b; with a column `score`, or without",
                    to_do="--pair-column NAME; for task.loss=unsupervised, data.dev=FILE with pairs to choose by",
                )
            if scored and example.number is None:
                raise UserError(f"{example.location} has no score, but other rows have")
        return list(examples)

    def set_metric(self, dev: Sequence[Example]) -> None:
        self.metric = self.metric_for(dev)

    def encode(self, examples: Sequence[Example]) -> list[EncodedRow]:
        """A sequence for each text of each example, in order."""
        texts = [(number, text) for number, one in enumerate(examples) for text in _texts(one)]
        encoded = self.tokenizer.encode_batch([text for _, text in texts], max_length=self.settings.max_length)
        self.truncated = sum(one.truncated for one in encoded)
        numbers: dict[tuple[int, ...], int] = {}
        rows = []
        for place, ((number, _), one) in enumerate(zip(texts, encoded, strict=True)):
            known = np.array([numbers.setdefault(tuple(one.input_ids), len(numbers))])
            flags = np.array(one.special_tokens_mask, dtype=np.uint8) * np.uint8(SPECIAL_TOKEN)
            targets: dict[str, npt.NDArray[np.generic]] = {TARGET: known}
            if isinstance(self.settings.loss, Cosine):
                score = examples[number].number
                targets = {} if score is None else {TARGET: np.array([score], dtype=np.float32)}
            ids, segments = np.array(one.input_ids), np.array(one.token_type_ids)
            rows.append(EncodedRow(ids, segments, flags, place, owner=number, targets=targets))
        return rows

    def examples(self, rows: Sequence[EncodedRow]) -> SequenceSource:
        """Texts alone are one example each; else those of a row of the file stand in one batch."""
        return RowSequences(rows) if isinstance(self.settings.loss, Unsupervised) else GroupedSequences(rows)

    def head(self, encoder: EncoderConfig) -> EmbedHead:
        return EmbedHead(self.settings, encoder)

    def learner(self, encoder: Encoder, train: Sequence[Example], rows: Sequence[EncodedRow]) -> TaskLearner:
        return EmbedLearner(encoder, self.head(encoder.config), self.settings.loss, self.scores)

    def logits(self, outputs: Tensor, batch: Batch) -> list[Logits]:
        """The vector (width,)."""
        return list(outputs.float().cpu().numpy())

    def metric_for(self, examples: Sequence[Example]) -> str:
        names = _names(examples)
        return self.metric if self.metric in names else names[0]

    def dev_metrics(
        self, head: Head, examples: Sequence[Example], rows: Sequence[EncodedRow], logits: Sequence[Logits]
    ) -> dict[str, float]:
        """The loss of pairs is InfoNCE among 64 neighbours of the file; of scores the squared error of cosines."""
        pairs = np.stack(self.decode(head, examples, rows, logits))
        name, loss = self.metric_for(examples), self.settings.loss
        if name in RETRIEVAL:
            ranks = embedscore.ranked(embedscore.pool_of(examples), pairs[:, 0], pairs[:, 1]).ranks
            figure = float(embedscore.retrieval(name, ranks).mean())
            if isinstance(loss, Cosine):
                return {self.metric_key: figure}
            return {f"{TARGET}.loss": _contrast(examples, pairs, loss.temperature), self.metric_key: figure}
        truth = np.array([example.number for example in examples], dtype=np.float64)
        said = embedscore.cosines(pairs[:, 0], pairs[:, 1])
        figure = ROW_METRICS[name](truth, said)
        if not isinstance(loss, Cosine) or self.scores is None:
            return {self.metric_key: figure}
        wanted = scaled_cosines(torch.from_numpy(truth), self.scores, loss.least).numpy()
        return {f"{TARGET}.loss": float(((said - wanted) ** 2).mean()), self.metric_key: figure}

    def decode(
        self,
        head: Head,
        examples: Sequence[Example],
        rows: Sequence[EncodedRow],
        logits: Sequence[Logits],
        top_k: int | None = None,
    ) -> list[Vectors]:
        found: list[list[Logits]] = [[] for _ in examples]
        for row, vector in zip(rows, logits, strict=True):
            found[row.owner].append(vector)
        return [
            vectors[0] if example.pair is None else np.stack(vectors[:2])
            for example, vectors in zip(examples, found, strict=True)
        ]

    def top_prediction(self, prediction: Vectors) -> Vectors | float:
        """The vector of a text; of a pair its cosine."""
        return prediction if prediction.ndim == 1 else _cosine(prediction)

    def score(self, examples: Sequence[Example], predictions: Sequence[Vectors], seed: int = 0) -> EmbedEvaluation:
        names = list(dict.fromkeys((self.metric_for(examples), *_names(examples))))
        pairs = np.stack(predictions)
        if names[0] in CORRELATIONS:
            return embedscore.of_scores(examples, embedscore.cosines(pairs[:, 0], pairs[:, 1]).tolist(), names, seed)
        pool = embedscore.pool_of(examples)
        got = embedscore.ranked(pool, pairs[:, 0], pairs[:, 1])
        return embedscore.of_retrieval(examples, pool, got, names, seed)

    def reference(self, examples: Sequence[Example]) -> list[Any]:
        """The score of each pair, or how many second texts belong to its first one."""
        if _names(examples) == CORRELATIONS:
            return [example.number for example in examples]
        return [len(texts) for texts in embedscore.pool_of(examples).relevant]

    def comparable(self, examples: Sequence[Example], predictions: Sequence[Vectors]) -> list[Any]:
        """The cosine of each pair, or the ranks of what belongs to its first text."""
        pairs = np.stack(predictions)
        if _names(examples) == CORRELATIONS:
            return embedscore.cosines(pairs[:, 0], pairs[:, 1]).round(6).tolist()  # type: ignore[no-any-return]
        return embedscore.ranked(embedscore.pool_of(examples), pairs[:, 0], pairs[:, 1]).ranks

    def is_correct(self, examples: Sequence[Example], predictions: Sequence[Vectors]) -> list[bool]:
        """Whether what belongs to the first text is found first."""
        if _names(examples) == CORRELATIONS:
            return [False] * len(examples)
        return [ranks[0] == 1 for ranks in self.comparable(examples, predictions)]

    def overlap_baseline(self, examples: Sequence[Example]) -> tuple[str, list[Any]]:
        texts = [text for example in examples for text in (example.text, example.pair or "")]
        vectors = embedscore.counted(texts).reshape(len(examples), 2, -1)
        return "the words in common", self.comparable(examples, list(vectors))

    def samples(
        self, places: Sequence[int], examples: Sequence[Example], predictions: Sequence[Vectors]
    ) -> list[dict[str, Any]]:
        """Pairs with score and cosine, or texts with what belongs to them and what was found first."""
        if _names(examples) == CORRELATIONS:
            return [self.sample(examples[place], predictions[place]) for place in places]
        pool, pairs = embedscore.pool_of(examples), np.stack(predictions)
        found = embedscore.ranked(pool, pairs[:, 0], pairs[:, 1]).found
        rows = []
        for place in places:
            first, own = found[place], pool.relevant[place]
            right, said = (
                (examples[pool.texts[n]].pair or "")[:SHOWN] for n in (first if first in own else own[0], first)
            )
            rows.append({"text": examples[place].text[:SHOWN], "label": right, "predicted": said})
        return rows

    def sample(self, example: Example, prediction: Vectors) -> dict[str, Any]:
        text = f"{example.text[:SHOWN]} / {(example.pair or '')[:SHOWN]}"
        return {"text": text, "label": example.number, "predicted": round(_cosine(prediction), 3)}

    def to_record(self, example: Example, prediction: Vectors, all_scores: bool) -> dict[str, Any]:
        """The vector of a text; of a pair its cosine, and both vectors with `every`."""
        row: dict[str, Any] = {"id": example.id, "line": example.line}
        if prediction.ndim == 1:
            return row | {"vector": _plain(prediction)}
        row["cosine"] = round(_cosine(prediction), 6)
        return row | ({"vectors": [_plain(one) for one in prediction]} if all_scores else {})

    def columns(self, all_scores: bool) -> list[str]:
        return ["id", "line", "cosine", "vector"]

    def to_rows(self, example: Example, prediction: Vectors, all_scores: bool) -> list[list[object]]:
        """One, with the cosine of a pair or the vector of a text, numbers with blanks between them; with `every` one
        for each text of a pair."""
        row: list[object] = [example.id, example.line]
        cosine = "" if prediction.ndim == 1 else round(_cosine(prediction), 6)
        if prediction.ndim == 2 and not all_scores:
            return [[*row, cosine, ""]]
        return [[*row, cosine, " ".join(map(str, _plain(one)))] for one in np.atleast_2d(prediction)]


def _texts(example: Example) -> list[str]:
    return [text for text in (example.text, example.pair, example.negative) if text is not None]


def _names(examples: Sequence[Example]) -> tuple[str, ...]:
    """The figures that these examples can be judged by."""
    return RETRIEVAL if examples[0].number is None else CORRELATIONS


def _cosine(pair: Vectors) -> float:
    return float(embedscore.cosines(pair[:1], pair[1:])[0])


def _plain(vector: Vectors) -> list[float]:
    """The shortest decimal numbers that stand for these, of 9 digits at most."""
    return [float(str(number)) for number in vector]


def _bounds(loss: Cosine, train: Sequence[Example]) -> tuple[float, float]:
    """The lowest and the highest score. Raises UserError where there are none, or they cannot be used."""
    numbers = [example.number for example in train if example.number is not None]
    if not numbers:
        raise UserError(
            f"{train[0].source} has no scores to learn",
            given="task.loss=cosine",
            to_do="--label-column NAME; or task.loss=contrastive for pairs that belong together",
        )
    lowest = min(numbers) if loss.lowest is None else loss.lowest
    highest = max(numbers) if loss.highest is None else loss.highest
    if not lowest < highest or min(numbers) < lowest or max(numbers) > highest:
        raise UserError(
            f"{train[0].source}: the scores cannot be put on a scale",
            given=f"scores from {min(numbers):g} to {max(numbers):g}, a scale from {lowest:g} to {highest:g}",
            to_do="task.loss.lowest and task.loss.highest, the bounds of all scores",
        )
    console.note(f"scores from {lowest:g} to {highest:g} are learnt as cosines from {loss.least} to 1")
    return lowest, highest


def _contrast(examples: Sequence[Example], pairs: Vectors, temperature: float) -> float:
    """The mean InfoNCE of pairs (rows, 2, width) among those beside them in the file, in groups of GROUP."""
    numbers: dict[str, int] = {}
    known = torch.tensor(
        [[numbers.setdefault(text or "", len(numbers)) for text in (e.text, e.pair)] for e in examples]
    )
    vectors = torch.nn.functional.normalize(torch.from_numpy(pairs), dim=-1)
    total = 0.0
    for start in range(0, len(examples), GROUP_ROWS):
        some, of = vectors[start : start + GROUP_ROWS], known[start : start + GROUP_ROWS]
        total += float(contrastive_loss(some[:, 0], some[:, 1], of[:, 0], of[:, 1], temperature))
    return total / len(examples)
