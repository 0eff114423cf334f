"""Pages made from run folders. They only read figures that a run has written; nothing is computed anew."""

from unmask.report.page import write_report

__all__ = ["write_report"]
