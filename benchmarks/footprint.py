"""An installation without torch: its size on disk by package, and the first answer of `unmask predict`.

    python3 -m venv lean; lean/bin/pip install -c constraints.txt '.[onnx]'
    python -m benchmarks.footprint lean/bin/python EXPORTED --backend onnx

Sizes are those of the files that pip lists, with compiled bytecode, without pip and setuptools. An answer is the time
from the start of the process to its end for one text; what the system has read before is in its cache.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

SIZES = """
import json
from importlib.metadata import distributions
sizes = {}
for one in distributions():
    paths = [one.locate_file(file) for file in one.files or ()]
    sizes[one.metadata["Name"]] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""
LEFT_OUT = ("pip", "setuptools")
TEXT = "Shares rose after the merger.\n"


def sizes_of(python: str) -> dict[str, int]:
    """The bytes of each package of an environment, the largest first."""
    printed = subprocess.run([python, "-P", "-c", SIZES], capture_output=True, text=True, check=True).stdout
    sizes: dict[str, int] = json.loads(printed)
    return {name: sizes[name] for name in sorted(sizes, key=lambda name: -sizes[name]) if name not in LEFT_OUT}


def first_answer(python: str, model: str, backend: str) -> float:
    """Seconds of a command that predicts one text."""
    begun = time.perf_counter()
    command = [python, "-P", "-m", "unmask", "--quiet", "predict", model, "--backend", backend]
    subprocess.run(command, input=TEXT, capture_output=True, text=True, check=True)
    return time.perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("python", help="the interpreter of the environment")
    parser.add_argument("model", help="a folder that unmask export wrote")
    parser.add_argument("--backend", default="auto", help="onnx or openvino (default auto)")
    parser.add_argument("--repeat", type=int, default=5, help="answers, after one that does not count (default 5)")
    given = parser.parse_args(arguments)
    sizes = sizes_of(given.python)
    for name, size in sizes.items():
        print(f"{size / 1e6:9.1f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:9.1f} MB  in all")
    seconds = [first_answer(given.python, given.model, given.backend) for _ in range(1 + given.repeat)][1:]
    print(f"first answer: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
