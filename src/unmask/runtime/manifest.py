"""Manifest: what a model folder says of itself, read without its weights and without torch.

unmask.json        task, reading, lineage, checksums, and the networks that were exported into the folder
onnx/, openvino/   these networks, one file (or two) for each precision
head.safetensors   arrays of the head that decoding needs, such as the transitions of a CRF
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from unmask import files
from unmask.config import config, from_mapping
from unmask.data.rows.options import ReadOptions
from unmask.errors import UserError
from unmask.text.tokenizer import Tokenizer

HeadName = Literal["task", "masked"]
Precision = Literal["float32", "bfloat16", "int8"]
FORMAT = 2  # of unmask.json
FACTS = "unmask.json"
WEIGHTS = "model.safetensors"
HEAD_ARRAYS = "head.safetensors"
RECORDED = "recorded.safetensors"


@config
class ExportedNetwork:
    """A network in a file of another engine.

    backend: the engine; precision: of its weights; head: which outputs it computes; output: what they are called;
    per_token: whether there is one output for each token of a sequence; file: in the model folder; sha256: of each file
    that belongs to it; quantised: of int8, the method, and the rows that it was calibrated on; verified: the record of
    `unmask verify`, None where it was not run.
    """

    backend: str
    precision: Precision
    head: HeadName
    output: str
    per_token: bool
    file: str
    sha256: dict[str, str]
    quantised: dict[str, Any] | None = None
    verified: dict[str, Any] | None = None


@dataclass(frozen=True)
class Manifest:
    """A model folder without its weights.

    task: the schema of the task it was fine-tuned for, if it was; reading: how the rows were read that it was trained
    on, and whether they are `pairs`; networks: those that were exported.
    """

    folder: Path
    open_tokenizer: Callable[[], Tokenizer]
    max_position_embeddings: int
    task: Mapping[str, Any] | None
    reading: Mapping[str, Any] = field(default_factory=dict)
    networks: Sequence[ExportedNetwork] = ()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises UserError where it is damaged."""
        return self.open_tokenizer()

    @cached_property
    def read_options(self) -> ReadOptions:
        """How to read other rows by default."""
        values = {name: value for name, value in self.reading.items() if name != "pairs"}
        return from_mapping(ReadOptions, values, where=str(self.folder / FACTS))


def model_folder(source: Path | str) -> Path:
    """Return the folder of the model: of a run, the one inside it."""
    folder = Path(source)
    return folder / "model" if (folder / "model" / FACTS).is_file() else folder


def has_networks(folder: Path) -> bool:
    """Whether the folder is a model of ours that holds exported networks."""
    return (folder / FACTS).is_file() and bool(files.read_object(folder / FACTS).get("networks"))


def read_facts(folder: Path) -> dict[str, Any]:
    """Read unmask.json. Raises UserError where another version wrote it, or a file is not as it was written."""
    where = folder / FACTS
    facts = files.read_object(where)
    if facts.get("format") == 1:
        raise UserError(
            f"{folder} was written by unmask 0.1.0, whose models this version does not read",
            given=f"unmask {facts.get('unmask')}",
            hint="train it again, or export it with unmask 0.1.0 (unmask export) and use what that writes",
        )
    if facts.get("format") != FORMAT:
        raise UserError(f"{folder} has another format", given=facts.get("format"), allowed=FORMAT)
    if missing := [name for name in ("encoder", "sha256") if not isinstance(facts.get(name), dict)]:
        raise UserError(f"{where} lacks what a model needs", given="missing: " + ", ".join(missing))
    check_sums(folder, facts["sha256"])
    return facts


def checksums(folder: Path) -> dict[str, Any]:
    """What tells a model from others: the checksums of its files, and its task; of a folder in a public layout those of
    all files."""
    if not (folder / FACTS).is_file():
        return {path.name: files.sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    facts = files.read_object(folder / FACTS)
    networks = [network["sha256"] for network in facts.get("networks", [])]
    return {"files": facts.get("sha256"), "networks": networks, "task": facts.get("task")}


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Raises UserError for a file of the folder that is missing, or has another checksum."""
    for name, digest in sums.items():
        path = folder / name
        if ".." in Path(name).parts or not path.is_file() or files.sha256(path) != digest:
            raise changed(path)


def changed(path: Path) -> UserError:
    """The error for a file that is not as it was written."""
    return UserError(f"{path} is missing, cut short or changed", hint="copy the whole folder again, or train again")


def read_manifest(folder: Path) -> Manifest:
    """Read a folder that holds exported networks. Raises UserError where it is damaged."""
    facts = read_facts(folder)
    networks = [from_mapping(ExportedNetwork, entry, where=str(folder / FACTS)) for entry in facts.get("networks", [])]
    longest = facts["encoder"]["max_position_embeddings"]
    tokenizer = partial(Tokenizer.from_pretrained, folder)
    return Manifest(folder, tokenizer, longest, facts.get("task"), facts.get("reading") or {}, networks)


def head_arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of the head that decoding needs."""
    from safetensors.numpy import load_file

    path = folder / HEAD_ARRAYS
    return dict(load_file(path)) if path.is_file() else {}
