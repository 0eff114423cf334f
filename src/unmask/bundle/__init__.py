"""Model folders: our own, those of public checkpoints, and what other libraries read of ours."""

from unmask.bundle.own import Bundle
from unmask.bundle.source import read
from unmask.bundle.weights import save_tensors
from unmask.bundle.writing import write, write_bundle

__all__ = ["Bundle", "read", "save_tensors", "write", "write_bundle"]
