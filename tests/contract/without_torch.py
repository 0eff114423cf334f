"""Run a command line of unmask where torch and transformers cannot be imported, and a connection is noted on stderr:
`python without_torch.py ARGS`."""

import socket
import sys
from importlib.machinery import ModuleSpec
from typing import Any


class Refuse:
    """A finder that has neither torch nor transformers."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def no_connection(*arguments: Any, **named: Any) -> Any:
    """Also of a process that was forked: what it prints is all that is seen of it."""
    print("a connection was opened:", arguments, file=sys.stderr, flush=True)
    raise OSError("no connection is to be opened")


def refuse() -> None:
    socket.getaddrinfo = socket.socket.connect = no_connection  # type: ignore[method-assign]
    sys.meta_path.insert(0, Refuse())  # type: ignore[arg-type]


if __name__ == "__main__":
    refuse()
    from unmask.cli.app import run

    sys.exit(run(sys.argv[1:]))
