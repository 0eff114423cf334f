"""Compare what two releases compute: weights, predictions and figures of short runs, bit for bit.

    python parity/redesign.py record --source CHECKOUT/src --out FILE.json [--only WORDS] [--release 0.2.0]
    python parity/redesign.py compare parity/redesign-0.1.0.json FILE.json

`record` trains every kind of model (redesign_kinds.py) for 30 steps on one thread, with the code of any checkout, whose
names stand in redesign_releases.py. `compare` prints a line a kind, and exits with 1 where something differs without a
reason in redesign-reasons.json: {"KIND", "KIND: FIELD" or "*: FIELD": "reason"}.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redesign_kinds as kinds
from redesign_releases import RELEASES, Deleted, Release, flat

REASONS = Path(__file__).with_name("redesign-reasons.json")
FIELDS = ("weights", "predictions", "dev", "test", "padded", "packed")
DECIMAL = re.compile(r"-?\d+(?:\.\d+)?e[-+]\d+|-?\d+\.\d+")
# one thread, and the same arithmetic on every x86-64 processor
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}


class Recorder:
    """Trains kinds in the working directory, where the data lie, each of them once."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.trained: dict[str, dict[str, float] | Exception] = {}
        for command in (release.tokenizer, release.corpus):
            subprocess.run([sys.executable, "-m", "unmask", *command], check=True, stdout=sys.stderr)

    def train(self, name: str) -> str:
        """The model folder of a kind."""
        import yaml

        folder, kind = Path(name.replace(", ", "-").replace(" ", "-")), kinds.kind_of(name)
        if name not in self.trained:
            recipe = kinds.recipe_of(name)
            for key, value in flat(recipe):
                if str(value).startswith("@"):  # the model of another kind
                    section = recipe["start"] if "." in key else recipe
                    section["model"] = self.train(value[1:])
            try:
                file = folder.with_suffix(".yaml")
                file.write_text(yaml.safe_dump(self.release.recipe(kind, recipe), sort_keys=False))
                self.trained[name] = self.release.train(kind, str(file), str(folder))
            except Exception as error:
                self.trained[name] = error
        if isinstance(result := self.trained[name], Exception):
            raise result
        return str(folder / "model")

    def record(self, name: str) -> dict[str, Any]:
        """Everything that is compared of a kind."""
        try:
            model = self.train(name)
            entry = {"weights": weights(Path(model)), "dev": self.figures(self.trained[name])}
            if kinds.kind_of(name) == "pretrain":
                if name != "next_sentence":
                    entry["predictions"] = self.texts(self.release.fill(model, kinds.FILLED))
                return entry | self.hidden(name, model)
            entry["predictions"] = self.texts(self.release.predict(model, kinds.texts_of(name)))
            return entry | {"test": self.figures(self.release.evaluate(model, kinds.FINETUNING[name][1]))}
        except Deleted as error:
            return {"deleted": str(error)}
        except Exception as error:
            return {"failed": f"{type(error).__name__}: {error}"}

    def figures(self, figures: Any) -> dict[str, Any]:
        return {self.release.figures.get(name, name): figure for name, figure in figures.items()}

    def texts(self, predictions: list[Any]) -> list[str]:
        """A line for each prediction: labels, places and scores to 6 digits."""
        return [self.text(prediction) for prediction in predictions]

    def text(self, prediction: Any) -> str:
        if isinstance(prediction, int | str):
            return str(prediction)
        if isinstance(prediction, float) or getattr(prediction, "ndim", None) == 0:
            return f"{prediction:.6f}"
        if isinstance(prediction, Sequence) or not dataclasses.is_dataclass(prediction):
            return " | ".join(map(self.text, prediction)) if len(prediction) else "nothing"
        found = [
            next((getattr(prediction, name) for name in names if hasattr(prediction, name)), None)
            for names in self.release.attributes
        ]
        return " ".join(self.text(value) for value in found if value is not None)

    def hidden(self, name: str, model: str) -> dict[str, Any]:
        """Hidden states of three texts of random tokens, padded and packed."""
        import numpy as np
        import torch

        config = kinds.SMALL | kinds.recipe_of(name)["model"]
        length = config["length"]
        lengths = torch.tensor([length, length // 2, 3])
        mask = torch.arange(length) < lengths.unsqueeze(1)
        ids = torch.from_numpy(np.random.RandomState(0).randint(5, 96, mask.shape)).long() * mask
        types = None if "family" in config else (torch.arange(length) >= lengths.unsqueeze(1) // 2).long()
        with torch.inference_mode():
            padded, packed = self.release.hidden(model, ids, mask, types)
        few = slice(None, None, 1 + len(padded) // 4)
        return {
            key: {
                "sha256": sha256(states.numpy().tobytes()),
                "values": self.texts(states[few, :3].numpy().tolist()),
            }
            for key, states in (("padded", padded), ("packed", packed))
        }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def weights(model: Path) -> dict[str, Any]:
    """Checksums of the tensors with their names, and of the tensors alone, sorted; and a number for each tensor."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(model / "model.safetensors")
    digests = {
        name: sha256(f"{tensor.dtype} {list(tensor.shape)}".encode() + tensor.numpy().tobytes())
        for name, tensor in tensors.items()
    }
    sums = [float(x.double().flatten() @ torch.arange(x.numel()).double().cos()) for x in tensors.values()]
    return {
        "names": sha256("\n".join(f"{name} {digests[name]}" for name in sorted(digests)).encode()),
        "sha256": sha256("\n".join(sorted(digests.values())).encode()),
        "sums": " ".join(f"{value:.7f}" for value in sorted(sums)),
    }


def record(source: Path, out: Path, only: str, release: str | None) -> int:
    """Record in a process of its own, with the code of `source`."""
    command = [sys.executable, __file__, "here", "--out", str(out.resolve()), "--only", only]
    with tempfile.TemporaryDirectory() as folder:
        kinds.write_data(Path(folder))
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(source.resolve())}
        command += ["--source", str(source.resolve()), *(["--release", release] if release else [])]
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def record_here(source: Path, out: Path, only: str, release: str | None) -> int:
    import numpy as np
    import torch

    import unmask

    assert source in Path(unmask.__file__).parents, f"{unmask.__file__} is not of {source}"
    recorder = Recorder(RELEASES[release or unmask.__version__[:5]]())
    entries = {}
    for name in [*kinds.PRETRAINING, *kinds.FINETUNING]:
        if only in name:
            entries[name] = recorder.record(name)
            print(f"{name}: {entries[name].get('failed', 'recorded')}", flush=True)
    made = {"machine": platform.machine(), "torch": torch.__version__, "numpy": np.__version__}
    corpus = sorted(sha256(path.read_bytes()) for path in Path("corpus").glob("*.npy"))
    result = {
        "release": unmask.__version__,
        "made with": made,
        "only": only,
        "corpus": corpus,
        "kinds": entries,
    }
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any("failed" in entry for entry in entries.values()))


def lines_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key} {line}" for key in sorted(value) for line in lines_of(value[key])]
    if isinstance(value, list):
        return [line for one in value for line in lines_of(one)]
    return [str(value)]


def difference(old: Any, new: Any) -> str | None:
    """How two recorded values differ, if they do: by how much, where nothing but numbers does."""
    if old == new:
        return None
    ours, theirs = ([x for x in lines_of(value) if not x.startswith("sha256 ")] for value in (old, new))
    if [DECIMAL.sub("#", line) for line in ours] == [DECIMAL.sub("#", line) for line in theirs]:
        numbers = (DECIMAL.findall("\n".join(lines)) for lines in (ours, theirs))
        most = max((abs(float(a) - float(b)) for a, b in zip(*numbers, strict=True)), default=0.0)
        return f"by at most {most:.2g}" if most else "in bits that the digits do not show"
    before, after = (sorted(set(a) - set(b)) or [""] for a, b in ((ours, theirs), (theirs, ours)))
    return f"{before[0][:70]!r} -> {after[0][:70]!r}"


def compare(old_file: Path, new_file: Path) -> int:
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (old_file, new_file))
    reasons = json.loads(REASONS.read_text(encoding="utf-8")) if REASONS.is_file() else {}
    failures = 0
    for key in ("made with", "corpus"):
        if old[key] != new[key]:
            print(f"{key}: {old[key]} -> {new[key]}")
    for name, before in old["kinds"].items():
        if new["only"] not in name:
            continue
        after, found = new["kinds"].get(name, {"failed": "not recorded"}), []
        if (state := next((key for key in ("deleted", "failed") if key in after), None)) is not None:
            found = [(state, after[state])]
            failures += state == "failed"
        else:
            renamed = before["weights"].pop("names") != after["weights"].pop("names")
            found = [(key, difference(before.get(key), after.get(key))) for key in FIELDS]
        told = []
        for key, how in found:
            if how is not None:
                reason = next((reasons[x] for x in (name, f"{name}: {key}", f"*: {key}") if x in reasons), None)
                failures += reason is None and key in FIELDS
                told.append(f"{key} {how}" + (f" ({reason})" if reason else ""))
        if not told:
            told = ["equal, parameters renamed" if renamed else "equal"]
        print(f"{name}: {'; '.join(told)}")
    return int(failures > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in (("record", record), ("here", record_here)):
        command = commands.add_parser(name)
        command.add_argument("--source", type=Path, required=True, help="folder that holds the package unmask")
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--only", default="", help="kinds whose name contains this")
        command.add_argument("--release", choices=RELEASES, help="as unmask.__version__ says if not given")
        command.set_defaults(run=function)
    command = commands.add_parser("compare")
    command.add_argument("old_file", type=Path)
    command.add_argument("new_file", type=Path)
    command.set_defaults(run=compare)
    given = vars(parser.parse_args())
    del given["command"]
    return int(given.pop("run")(**given))


if __name__ == "__main__":
    sys.exit(main())
