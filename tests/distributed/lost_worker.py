"""What torchrun starts in test_torchrun: `unmask ARGUMENTS`, in which process 1 is killed once, after 5 steps."""

import os
import signal
import sys
from collections.abc import Generator
from typing import Any

from unmask.cli import main
from unmask.train import trainer as fit

if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0"):
    original = fit.train_steps

    def stepping(*given: Any) -> Generator[Any]:
        for step in original(*given):
            if step.number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            yield step

    fit.train_steps = stepping  # type: ignore[assignment]

sys.argv[0] = "unmask"
main()
