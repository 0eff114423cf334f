"""Files of weights: safetensors, whole or in parts, and what torch.save wrote, of which nothing is executed."""

import errno
import json
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unmask import files
from unmask.errors import UserError
from unmask.messages import message

SINGLE_FILE = "model.safetensors"
# the first that is there is read
FILES = (SINGLE_FILE, f"{SINGLE_FILE}.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
PART = 1 << 17  # bytes, a multiple of those of any number; sums of so few are not spread over threads
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_tensors(folder: Path, device: str = "cpu") -> dict[str, Tensor]:
    """All tensors of a folder by name, memory-mapped where that is possible; device: meta for their shapes alone.

    Raises UserError for what is missing, damaged, outside of the folder or no tensor. Nothing is executed.
    """
    paths, weight_map = _files(folder)
    parts = {path.name: _read(path, device) for path in paths}
    if not weight_map:
        return parts[paths[0].name]
    missing = [name for name, file in weight_map.items() if name not in parts[file]]
    if missing:
        raise UserError(
            f"the index in {folder} names tensors that are not there", given=f"missing: {list_some(missing)}"
        )
    return {name: parts[file][name] for name, file in weight_map.items()}


def has_weights(folder: Path) -> bool:
    """Whether a folder has weights under one of the names that are read."""
    return any((folder / name).is_file() for name in FILES)


def weights_file(folder: Path) -> Path:
    """The file that holds the weights, or the index of those that do. Raises UserError where there is none."""
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder} contains no weights", allowed=" or ".join(FILES))
    return path


def _files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that hold the weights, and which of them each tensor is in, where an index says so."""
    index = weights_file(folder)
    if index.suffix != ".json":
        return [index], {}
    where = files.read_object(index).get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(x, str) for x in where.values()):
        raise UserError(f"{index} is not an index of weights", given="missing: weight_map: names and their files")
    names = sorted(set(where.values()))
    for name in names:
        if name != Path(name).name or name in ("", ".", ".."):
            raise UserError(
                f"{index} points outside of its folder", given=name, allowed="names of files in the same folder"
            )
    if missing := [str(folder / name) for name in names if not (folder / name).is_file()]:
        raise UserError(
            "{index} names files that are not there",
            index,
            given=[f"missing: {path}" for path in missing[:4]],
            allowed=message("{count} files", len(names)),
            hint="copy the whole folder again",
        )
    return [folder / name for name in names], where


def _read(path: Path, device: str) -> dict[str, Tensor]:
    files.refuse_pointer(path)
    if path.suffix != ".safetensors":
        return _read_pickle(path, device)
    try:
        return {name: tensor.to(device) for name, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise UserError(
            "{path} cannot be read: it is damaged or cut short", path, given=error, hint="copy it again"
        ) from None


def _read_pickle(path: Path, device: str) -> dict[str, Tensor]:
    """What torch.save wrote. weights_only lets nothing but tensors and plain values be made."""
    try:  # before torch 1.6 it was no archive, which cannot be mapped
        mapped = zipfile.is_zipfile(path)
        with warnings.catch_warnings(action="ignore"):
            table: Any = torch.load(path, map_location=device, weights_only=True, mmap=mapped)
    except Exception as error:  # of many kinds: torch's, zipfile's, pickle's
        # only the name: its other words say how to run the code all the same
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise UserError(
            f"{path} is refused: it is damaged, or contains more than weights, which could run code",
            given=named[1] if named else None,
            hint="look for a model.safetensors of the same model",
        ) from None
    if not isinstance(table, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in table.items()
    ):
        parts = (
            [str(key) for key, value in table.items() if isinstance(value, Mapping)] if isinstance(table, dict) else []
        )
        given = list_some(map(str, table)) if isinstance(table, Mapping) else type(table).__name__
        line = 'python -c "import torch; p = {!r}; torch.save(torch.load(p, weights_only=True)[{!r}], p)"'
        hint = line.format(str(path), parts[0]) if parts else None
        raise UserError(f"{path} is not a table of weights", given=given, allowed="names and tensors", hint=hint)
    return dict(table)


def check_numbers(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Raises UserError for weights of a folder that are no floating-point numbers, of a kind that is not computed with,
    or not finite.

    A safetensors file is read part by part: its mapped tensors would all come into memory, which those that are never
    used need not.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS.values():
            raise UserError(
                f"{folder}: {name} is not a weight", given=tensor.dtype, allowed="float32, float16, bfloat16"
            )
    for path in _files(folder)[0]:
        for name, part in _read_parts(path) if path.suffix == ".safetensors" else _read_pickle(path, "cpu").items():
            # a sum takes no memory; it may overflow where all are finite
            suspect = part.is_floating_point() and not torch.isfinite(part.sum(dtype=torch.float32))
            if suspect and not torch.isfinite(part).all():
                raise UserError(
                    f"{path}: {name} contains numbers that are not finite (NaN or infinite)",
                    hint="use another checkpoint: this one is damaged",
                )


def _read_parts(path: Path) -> Iterator[tuple[str, Tensor]]:
    """The floating-point numbers of a safetensors file that was opened before, PART bytes at a time; each part lasts
    until the next one is asked for."""
    buffer = memoryview(bytearray(PART))
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(size))
        for name, facts in head.items():
            if name == "__metadata__" or facts["dtype"] not in _FLOATS:
                continue
            begin, end = (8 + size + offset for offset in facts["data_offsets"])
            for at in range(begin, end, PART):
                file.seek(at)
                part = buffer[: min(PART, end - at)]
                file.readinto(part)
                yield name, torch.frombuffer(part, dtype=_FLOATS[facts["dtype"]])


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file. A full disk is an OSError here, whatever the library calls it."""
    path.touch()
    mode = path.stat().st_mode  # of a new file here; the library's may be for its owner alone
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error
    path.chmod(mode)


def list_some(names: Iterable[str], limit: int = 6) -> str:
    """The first of many names."""
    names = sorted(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")
