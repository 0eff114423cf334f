"""Settings of sequence labelling."""

from typing import Literal

from unmask.config import config, setting
from unmask.tasks.labelled_spans import SpanSettings


@config
class Tag(SpanSettings):
    """Settings of sequence labelling: each token has one tag."""

    name: Literal["tag"] = "tag"
    decoder: Literal["softmax", "crf"] = setting(
        default="softmax", description="each tag by itself, or a linear-chain CRF over them"
    )
    wide: bool = setting(
        default=False,
        description="beside the network a linear model of pairs of tokens, which remembers words seen rarely",
    )
    wide_dropout: float = setting(
        default=0.0, ge=0, lt=1, description="wide: share of the pairs that are hidden in training"
    )
    lstm_hidden_size: int = setting(
        default=0,
        ge=0,
        description="width, in each direction, of a bidirectional LSTM above the encoder; 0: none",
    )
    crf_lr_factor: float = setting(
        default=10.0, gt=0, description="learning rate of the CRF's transitions, as a multiple of the rest's"
    )
    label_smoothing: float = setting(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the target spread over all tags (Szegedy et al. 2016, section 7); softmax only",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder == "crf" and self.label_smoothing:
            raise ValueError(f"label_smoothing {self.label_smoothing} is for decoder softmax; a CRF has no such target")
