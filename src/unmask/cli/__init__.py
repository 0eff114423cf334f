"""The command line: one file per noun. Heavy imports stay inside the commands, so that `--help` is instant."""

import sys

from unmask.cli.app import app, run

__all__ = ["app", "main"]


def main() -> None:
    sys.exit(run(sys.argv[1:]))
