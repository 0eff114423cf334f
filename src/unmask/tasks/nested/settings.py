"""Settings of nested spans."""

from typing import Literal

from unmask.config import config, setting
from unmask.tasks.labelled_spans import SpanSettings


@config
class Nested(SpanSettings):
    """Settings of nested spans: a score for each span and label (Su et al. 2022, arXiv 2208.03054)."""

    name: Literal["nested"] = "nested"
    max_span_length: int | None = setting(
        default=None,
        ge=1,
        description="the longest entity in words (Chinese: characters); that of the training data if not given",
    )
    flat: bool | None = setting(
        default=None,
        description="of entities that overlap keep only the most probable one; as in the training data if not given",
    )
