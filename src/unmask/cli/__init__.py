"""The command line: one file per noun. Heavy imports stay inside the commands, so that `--help` is instant.

An option is a parameter of the command's function; options of reading rows are fields of `ReadOptions`
(data/rows/options.py), which reading.py adds to a command.
"""

import gc
import sys

from unmask.cli.app import run

__all__ = ["main"]


def main() -> None:
    gc.set_threshold(20_000, 20, 20)  # to look for cycles in what is imported takes a twentieth of a second
    sys.exit(run(sys.argv[1:]))
