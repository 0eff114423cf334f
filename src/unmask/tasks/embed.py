"""Vectors of texts: the higher the cosine of two vectors, the more alike the texts are.

They are learnt from pairs that belong together, from pairs with scores, or from texts alone (`task.loss`). To add a
loss: its settings here, and what it takes of a batch in `heads/embed.py`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np

from unmask import advice, console
from unmask.config import by_name, config, setting
from unmask.data.encoded import EncodedRow
from unmask.data.rows.check import check_pairs
from unmask.data.rows.example import Example
from unmask.errors import UserError
from unmask.metrics.retrieval import OF_RANKS, Pool, Similarity, Vectors, ranked
from unmask.tasks import EMBED_FACTS
from unmask.tasks.task import Arrays, Collected, Examples, Notes, Outputs, Rows, Task, nothing_to_learn
from unmask.tasks.text import LongTextSettings, encode_long_texts
from unmask.text.tokenizer import Tokenizer

CORRELATIONS = ("spearman", "pearson")
WINDOW = "window"  # among the targets, where long texts are read in windows: the number of the window in its text


@config
class Contrastive:
    """InfoNCE with in-batch negatives: each text against the second texts of the batch (van den Oord et al. 2018)."""

    name: Literal["contrastive"] = "contrastive"
    temperature: float = setting(
        default=0.05, gt=0, description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)"
    )


@config
class Cosine:
    """Squared error between the cosine of two texts and their score (Reimers and Gurevych 2019, section 3).

    0 is the cosine for the lowest score of the training rows, 1 for the highest."""

    name: Literal["cosine"] = "cosine"


@config
class Unsupervised:
    """Unsupervised SimCSE: the positive is the same text under another dropout mask (Gao et al. 2021).

    Gao et al. 2021, section 3. It takes no labels."""

    name: Literal["unsupervised"] = "unsupervised"
    temperature: float = setting(
        default=0.05, gt=0, description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)"
    )


AnyEmbedLoss = Annotated[Contrastive | Cosine | Unsupervised, setting(discriminator="name"), by_name()]


@config
class Embed(LongTextSettings):
    """Settings of vectors of texts."""

    name: Literal["embed"] = "embed"
    pooling: Literal["cls", "mean", "max", "attention"] = setting(
        default="mean",
        description="one vector per text: the mean over tokens (as Reimers and Gurevych 2019), the [CLS] state, the "
        "maximum, or the attention-weighted mean, which other libraries do not support",
    )
    normalize_embeddings: bool = setting(
        default=True, description="normalise vectors to length 1; their dot product is then the cosine"
    )
    loss: AnyEmbedLoss = setting(
        default_factory=Contrastive, description="the training loss: contrastive, cosine or unsupervised"
    )
    metric: Literal["spearman", "pearson", "mrr", "ndcg_10", "recall_1", "recall_10"] | None = setting(
        default=None,
        description="metric that selects the best step and compares models; if null or not applicable: "
        "spearman for rows with scores, mrr for pairs",
    )


class EmbedTask(Task[Vectors]):
    """A prediction is the vector of a text, (hidden_size,) float32, or of a pair those of both, (2, hidden_size).

    scores: the lowest and the highest score, where training rows have scores. facts: of a model of
    sentence-transformers, where they are not the default: prompt, which is put before each text; truncate_dim: how many
    numbers of a vector are kept, the first ones; similarity: how two vectors are compared, if not by their cosine.
    """

    settings: Embed
    kind = "vectors"
    reads = "pairs"

    def __init__(
        self,
        settings: Embed,
        tokenizer: Tokenizer,
        scores: list[float] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(settings, tokenizer)
        self.scores, self.facts = scores, dict(facts or {})
        self.similarity = Similarity(self.facts.get("similarity") or "cosine")
        scored = isinstance(settings.loss, Cosine)
        self.metric = settings.metric or (CORRELATIONS if scored else OF_RANKS)[0]

    @classmethod
    def build(cls, settings: Embed, tokenizer: Tokenizer, train: Examples) -> Self:
        loss, scored = settings.loss, train[0].number is not None
        if not isinstance(loss, Unsupervised):
            check_pairs(train)
        if isinstance(loss, Contrastive) and scored:
            raise UserError(
                f"{train[0].source} has scores, but contrastive loss needs positive pairs",
                given="task.loss=contrastive",
                hint=[
                    advice.advise("{setting} to learn the scores", advice.setting("task.loss=cosine")),
                    "or keep only the rows whose texts belong together",
                ],
            )
        return cls(settings, tokenizer, _score_range(train) if isinstance(loss, Cosine) else None)

    @classmethod
    def restore(cls, settings: Embed, tokenizer: Tokenizer, schema: Mapping[str, Any]) -> Self:
        facts = {name: schema[name] for name in EMBED_FACTS if schema.get(name)}
        return cls(settings, tokenizer, schema.get("scores"), facts)

    def schema(self) -> dict[str, Any]:
        return {**super().schema(), "metric": self.metric, "scores": self.scores, **self.facts}

    def encode(self, examples: Examples) -> tuple[list[EncodedRow], Notes]:
        """Encode each text of each example as a sequence, or as its windows, in order. The target is the score, or a
        number that is the same for equal texts."""
        prompt = self.facts.get("prompt", "")
        texts = [(owner, prompt + text) for owner, one in enumerate(examples) for text in _texts(one)]
        parts, truncated = encode_long_texts(self.tokenizer, [text for _, text in texts], None, self.settings)
        numbers: dict[bytes, int] = {}
        rows = []
        for place, ((owner, _), own) in enumerate(zip(texts, parts, strict=True)):
            score, loss, target = examples[owner].number, self.settings.loss, None
            if isinstance(loss, Unsupervised) or (isinstance(loss, Contrastive) and score is None):
                target = np.array([numbers.setdefault(b"".join(ids.tobytes() for ids, _, _ in own), len(numbers))])
            elif isinstance(loss, Cosine) and score is not None:
                target = np.array([score], dtype=np.float32)
            targets = {} if target is None else {self.name: target}
            for number, one in enumerate(own):
                windows = {WINDOW: np.array([number])} if self.settings.long_texts == "windows" else {}
                rows.append(EncodedRow(*one, place, owner=owner, targets={**targets, **windows}))
        return rows, Notes(truncated)

    def collect(self, outputs: Arrays, rows: Rows) -> list[Collected]:
        """The vector (hidden_size,) of each window."""
        return list(outputs["embeddings"])

    def decode(self, texts: Sequence[Outputs], parameters: Arrays, top_k: int | None = None) -> list[Vectors]:
        return [self._vectors(text) for text in texts]

    def _vectors(self, text: Outputs) -> Vectors:
        """The vector of a text, or of the first two of an example: the mean of those of its windows, weighted by their
        tokens."""
        dimension = self.facts.get("truncate_dim")
        vectors = []
        starts = [n for n, row in enumerate(text.rows) if not row.targets.get(WINDOW)]
        for start, stop in pairwise([*starts, len(text.rows)]):
            vector = text.values[start]
            if stop > start + 1:
                tokens = [len(row) for row in text.rows[start:stop]]
                vector = np.average(text.values[start:stop], axis=0, weights=tokens)
                if self.settings.normalize_embeddings:
                    vector /= max(float(np.linalg.norm(vector)), 1e-12)
            vectors.append(vector[:dimension].astype(np.float32, copy=False))
        return vectors[0] if text.example.pair is None else np.stack(vectors[:2])

    def top_prediction(self, prediction: Vectors) -> Vectors | float:
        """Return the vector of a text; of a pair its cosine, or whatever `similarity` names."""
        if prediction.ndim == 1:
            return prediction
        return float(self.similarity.of_pairs(prediction[:1], prediction[1:])[0])

    def metric_for(self, examples: Examples) -> str:
        names = OF_RANKS if examples[0].number is None else CORRELATIONS
        return self.metric if self.metric in names else names[0]

    def reference(self, examples: Examples) -> list[Any]:
        """Return the score of each pair, or how many second texts belong to its first one."""
        if examples[0].number is not None:
            return [example.number for example in examples]
        return [len(texts) for texts in pool_of(examples).relevant]

    def comparable(self, examples: Examples, predictions: Sequence[Vectors]) -> list[Any]:
        """Return the similarity of each pair, or the ranks of what belongs to its first text."""
        pairs = np.stack(predictions)
        if examples[0].number is not None:
            return self.similarity.of_pairs(pairs[:, 0], pairs[:, 1]).tolist()  # type: ignore[no-any-return]
        return ranked(pool_of(examples), pairs[:, 0], pairs[:, 1], self.similarity)[0]


def pool_of(examples: Sequence[Example]) -> Pool:
    """Return the second texts of all examples, and which of them belong to each."""
    return Pool.of([(example.text, example.pair or "") for example in examples])


def _texts(example: Example) -> list[str]:
    return [text for text in (example.text, example.pair, example.negative) if text is not None]


def _score_range(train: Examples) -> list[float]:
    """Return the lowest and the highest score. Raises UserError where there are none, or all are equal."""
    numbers = [example.number for example in train if example.number is not None]
    if not numbers:
        raise UserError(
            f"{train[0].source} has no scores to learn",
            given="task.loss=cosine",
            hint=[
                advice.option("label_column", "NAME"),
                advice.advise("{setting} for positive pairs", advice.setting("task.loss=contrastive")),
            ],
        )
    lowest, highest = min(numbers), max(numbers)
    if lowest == highest:
        raise nothing_to_learn(train, f"{len(train):,} rows, all with the score {lowest:g}")
    console.note("scores from {low:g} to {high:g} are mapped to cosines from 0 to 1", lowest, highest)
    return [lowest, highest]
