"""Settings of vectors of texts, and of their losses."""

from typing import Annotated, Literal

from unmask.config import by_name, config, setting


@config
class Contrastive:
    """Each text is to find its own second text among those of the batch (InfoNCE: van den Oord et al. 2018)."""

    name: Literal["contrastive"] = "contrastive"
    temperature: float = setting(
        default=0.05,
        gt=0,
        description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)",
    )
    symmetric: bool = setting(
        default=False, description="second texts are to find the first ones as well; the mean of both losses"
    )


@config
class Cosine:
    """The cosine of two texts is to be their score: the squared error (Reimers and Gurevych 2019, section 3)."""

    name: Literal["cosine"] = "cosine"
    least: Literal[0, -1] = setting(
        default=0, description="cosine that stands for the lowest score; 1 stands for the highest"
    )
    lowest: float | None = setting(
        default=None, description="the lowest score that there can be; that of the training rows if not given"
    )
    highest: float | None = setting(
        default=None,
        description="the highest score that there can be; that of the training rows if not given",
    )


@config
class Unsupervised:
    """Each text is to find itself, read under another dropout mask, among those of the batch (SimCSE).

    Gao et al. 2021, section 3. It takes no labels."""

    name: Literal["unsupervised"] = "unsupervised"
    temperature: float = setting(
        default=0.05,
        gt=0,
        description="cosines are divided by it before the softmax (0.05: Gao et al. 2021)",
    )


AnyEmbedLoss = Annotated[Contrastive | Cosine | Unsupervised, setting(discriminator="name"), by_name()]


@config
class Embed:
    """Settings of vectors of texts."""

    name: Literal["embed"] = "embed"
    max_length: int = setting(
        default=128, ge=8, description="longest text in tokens; longer ones are truncated and reported"
    )
    pooling: Literal["cls", "mean", "max", "attention"] = setting(
        default="mean",
        description="one vector per text: the mean over tokens (as Reimers and Gurevych 2019), the [CLS] state, the "
        "maximum, or the attention-weighted mean, which other libraries do not know",
    )
    normalize_embeddings: bool = setting(
        default=True, description="vectors have the length 1, so that their product is the cosine"
    )
    loss: AnyEmbedLoss = setting(
        default_factory=Contrastive, description="the training loss: contrastive, cosine or unsupervised"
    )
    metric: Literal["spearman", "pearson", "mrr", "ndcg_10", "recall_1", "recall_10"] | None = setting(
        default=None,
        description="the figure that chooses the best step and compares models; spearman of rows with scores, mrr of "
        "pairs, where it is not given or not for these",
    )

    @property
    def max_length_setting(self) -> tuple[str, int]:
        """The setting that limits a text, and the number of tokens."""
        return "task.max_length", self.max_length
