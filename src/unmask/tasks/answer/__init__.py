"""Extractive question answering."""

from unmask.tasks.answer.settings import Answer
from unmask.tasks.answer.task import AnswerSpan, AnswerTask

__all__ = ["Answer", "AnswerSpan", "AnswerTask"]
