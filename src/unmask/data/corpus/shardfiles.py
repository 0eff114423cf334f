"""The files of a corpus folder: their names, writing, mapping and checking them.

A corpus folder holds manifest.json, tokenizer.json (with vocab.txt), counts.npy (how often each piece occurs,
int64), lexicon.txt where words were told by a lexicon, and for each shard
    shard-00000.tokens.npy      piece ids, uint16 or uint32, the documents one after the other
    shard-00000.flags.npy       uint8, one per token: WORD_START | SENTENCE_START
    shard-00000.documents.npy   int64 (documents, 3): tokens, number of the source, number within the source
A document never spans two shards. manifest.partial.json lists what is finished while a corpus is being built.
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unmask import files
from unmask.errors import UserError

FORMAT = 2
WORD_START = 1
SENTENCE_START = 2

MANIFEST = "manifest.json"
PARTIAL = "manifest.partial.json"
TOKENIZER = "tokenizer.json"
COUNTS = "counts.npy"
LEXICON = "lexicon.txt"
ARRAYS = ("tokens", "flags", "documents")
OWN_FILES = (COUNTS, TOKENIZER, LEXICON, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
REBUILD = "run the same `unmask corpus build` command again: what is damaged is made anew"


def array_file(shard: int, array: str) -> str:
    return f"shard-{shard:05d}.{array}.npy"


def is_own(path: Path) -> bool:
    """Whether a file in a corpus folder was written by us (or is what a killed run left half written)."""
    name = path.name
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:]
    return name.startswith(("shard-", "manifest.", *OWN_FILES))


def is_left_over(path: Path) -> bool:
    """Whether it is a file that a killed run left half written."""
    return path.name.startswith(".") and path.name.endswith(".tmp") and is_own(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished corpus. Raises UserError that says what the folder is instead."""
    build = "unmask corpus build FILES... --tokenizer DIR --output DIR"
    if not folder.exists():
        raise UserError("{path} does not exist", folder, hint=build)
    if not (folder / MANIFEST).exists():
        if (folder / PARTIAL).exists():
            raise UserError(f"{folder} is not finished", hint="run the same `unmask corpus build` command again")
        build = build.replace("FILES...", str(folder))
        raise UserError(f"{folder} is not a built corpus: it has no {MANIFEST}", hint=build)
    manifest = files.read_object(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        given, allowed = manifest.get("format"), f"format {FORMAT}"
        raise UserError(
            "{path} is not in a format that this version reads", folder / MANIFEST, given=given, allowed=allowed
        )
    try:
        files_of(manifest)
    except (KeyError, TypeError):
        raise UserError("{path} is damaged", folder / MANIFEST, hint="remove the folder and build it again") from None
    return manifest


def files_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the manifest says of each file: name, bytes, sha256."""
    return [*manifest["files"], *(entry for shard in manifest["shards"] for entry in shard["files"])]


def find_problem(folder: Path, entry: Mapping[str, Any], check: bool) -> UserError | None:
    """What is wrong with a file of a corpus, or None."""
    path = folder / entry["name"]
    if not path.is_file():
        return UserError(f"{path} is absent", hint=REBUILD)
    found = path.stat().st_size
    if found != entry["bytes"]:
        what = "is cut short" if found < entry["bytes"] else "is longer than it was"
        return UserError(f"{path} {what}", given=f"{found:,} bytes", allowed=f"{entry['bytes']:,} bytes", hint=REBUILD)
    if check and (digest := files.sha256(path)) != entry["sha256"]:
        return UserError(
            f"{path} is damaged: its checksum is not the recorded one",
            given=f"sha256 {digest}",
            allowed=f"sha256 {entry['sha256']}",
            hint=REBUILD,
        )
    return None


def load(path: Path, map: bool = False) -> npt.NDArray[Any]:
    try:
        # a plain view: numpy.memmap's own slices are several times slower
        return np.load(path, mmap_mode="r" if map else None).view(np.ndarray)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an array", given=error, hint=REBUILD) from None


def save(path: Path, array: npt.NDArray[Any]) -> None:
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        try:
            np.save(file, array)
        except OSError as error:  # numpy's own for a short write has no number
            raise error if error.errno else OSError(errno.ENOSPC, str(error)) from error


def describe_file(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
