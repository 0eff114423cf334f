"""Pages made from run folders: they show figures that a run has written, and read nothing else."""

from unmask.report.page import write_report

__all__ = ["write_report"]
