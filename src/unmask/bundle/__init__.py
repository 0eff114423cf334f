"""Model folders: our own, those of public checkpoints, and what other libraries read of ours."""

from unmask.bundle.bundle import Bundle
from unmask.bundle.folder import export, read, write, write_bundle
from unmask.bundle.weights import save_tensors

__all__ = ["Bundle", "export", "read", "save_tensors", "write", "write_bundle"]
