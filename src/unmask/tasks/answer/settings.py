"""Settings of question answering."""

from typing import Literal

from unmask.config import config, setting


@config
class Answer:
    """Settings of question answering."""

    name: Literal["answer"] = "answer"
    max_length: int = setting(
        default=384, ge=8, description="longest input in tokens; longer contexts are read in windows"
    )
    stride: int | None = setting(
        default=None,
        ge=1,
        description="tokens from one window to the next; a third of max_length if not given",
    )
    max_question_length: int = setting(
        default=64,
        ge=1,
        description="longest question in tokens, at most half of max_length; longer ones are truncated",
    )
    max_answer_length: int = setting(default=30, ge=1, description="longest answer in tokens")
    language: Literal["auto", "en", "zh"] = setting(
        default="auto",
        description="whose rules answers are scored by: words without articles, or characters; auto: detected",
    )

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride > self.max_length - 3:
            raise ValueError(f"stride {self.stride} skips tokens: at most max_length - 3 = {self.max_length - 3}")

    @property
    def question_tokens(self) -> int:
        """The longest question in tokens: at least half of the room is for the context."""
        return min(self.max_question_length, (self.max_length - 3) // 2)

    @property
    def max_length_setting(self) -> tuple[str, int]:
        """The setting that limits a text, and the number of tokens."""
        return "task.max_question_length", self.question_tokens
