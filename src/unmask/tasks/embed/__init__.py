"""Vectors of texts: the higher the cosine of two vectors, the more alike the texts are."""

from unmask.tasks.embed.settings import AnyEmbedLoss, Contrastive, Cosine, Embed, Unsupervised
from unmask.tasks.embed.task import EmbedTask

__all__ = ["AnyEmbedLoss", "Contrastive", "Cosine", "Embed", "EmbedTask", "Unsupervised"]
