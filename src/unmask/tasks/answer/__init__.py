"""Extractive question answering."""

from unmask.tasks.answer.settings import Answer
from unmask.tasks.answer.task import AnswerTask, AnswerSpan

__all__ = ["Answer", "AnswerTask", "AnswerSpan"]
