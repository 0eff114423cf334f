"""Run with a command line of unmask where torch and transformers cannot be imported: `python without_torch.py ARGS`."""

import sys
from importlib.machinery import ModuleSpec
from typing import Any


class Refuse:
    """A finder that has neither torch nor transformers."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def refuse() -> None:
    sys.meta_path.insert(0, Refuse())  # type: ignore[arg-type]


if __name__ == "__main__":
    refuse()
    from unmask.cli.app import run

    sys.exit(run(sys.argv[1:]))
