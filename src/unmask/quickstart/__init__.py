"""The quick start: from raw text to an evaluated model in one command."""

from unmask.quickstart.jobs import JOBS, Request
from unmask.quickstart.run import quickstart

__all__ = ["JOBS", "Request", "quickstart"]
