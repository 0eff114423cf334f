"""Files that are never half written: atomic writes, checksums, JSON and JSON lines."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EDQUOT, EEXIST, EFBIG, EISDIR, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import IO, Any

from unmask.errors import UserError
from unmask.messages import message

_POINTER = b"version https://git-lfs"  # how the file that git has in place of a large one begins


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` (a file or a folder that the caller makes); renamed to it on success.

    A reader sees the old file or the new one, never a part; a file never takes the place of a folder. Raises
    UserError when the disk is full, or nothing can be written there.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name or 'x'}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if temporary.is_file():
            check_file(target)
            _sync(temporary)
        _replace(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        with suppress(OSError):  # where nothing can be written, nothing was
            remove(temporary)


def check_file(path: Path) -> None:
    """Raises UserError where a file cannot have this name; to be asked before long work."""
    if path.is_dir():
        raise UserError("{path} is a folder", path, allowed="the name of a file")
    above = next((parent for parent in path.parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise UserError("{path} cannot be written: {above} is a file", path, above, hint="choose another name")


def _replace(source: Path, target: Path) -> None:
    """Path.replace, also for a folder over a folder (there with a moment in which neither has the name)."""
    if not target.is_dir():
        source.replace(target)
        return
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    target.replace(aside)
    source.replace(target)
    remove(aside)


def hold(folder: Path) -> IO[str]:
    """Make a folder and take it for this process; closing the result gives it back.

    Raises UserError where another process holds it, or it may not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError("{folder} is in use by another process", folder, hint="wait for it to end") from None
    return lock


def remove(path: Path) -> None:
    """Remove a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written in a folder that nobody else writes to."""
    for path in [*folder.glob(".*.tmp"), *folder.glob(".*.old")]:
        remove(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_error(error: OSError, path: Path | str) -> Exception:
    """A UserError for a disk that is full or a path that cannot be written; any other error as it is."""
    if error.errno in (ENOSPC, EDQUOT):
        return UserError(
            "the disk is full: {path} could not be written",
            path,
            given="what was there before is untouched",
            hint="free some space and run the same command again",
        )
    if error.errno in (EACCES, EPERM, EROFS, EEXIST, ENOTDIR, EISDIR, ENOENT, ENAMETOOLONG, EFBIG):
        hint = "choose another name or folder"
        return UserError("{path} cannot be written", path, given=error.strerror, hint=hint)
    return error


def cache_folder() -> Path:
    """$UNMASK_CACHE, else $XDG_CACHE_HOME/unmask, else ~/.cache/unmask (~/Library/Caches/unmask on macOS)."""
    if own := os.environ.get("UNMASK_CACHE"):
        return Path(own).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "unmask"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "unmask"


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json_text(value))


def refuse_pointer(path: Path | str) -> None:
    """Raises UserError for a file that git has put in place of a large one."""
    with Path(path).open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            hint = "git lfs pull, in the folder that was cloned"
            raise UserError("{path} is a pointer of Git LFS, not the file itself", path, hint=hint)


def read_text(path: Path | str) -> str:
    """Raises UserError where the file is absent, may not be read or is not UTF-8."""
    try:
        refuse_pointer(path)
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError("{path} does not exist", path) from None
    except OSError as error:
        raise UserError("{path} cannot be read", path, given=error.strerror) from None
    except UnicodeDecodeError as error:
        given = message("byte {number:,}", error.start)
        raise UserError("{path} is not text in UTF-8", path, given=given) from None


def read_json(path: Path | str) -> Any:
    """Raises UserError where the file cannot be read or is not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError("{path} is not valid JSON", path, given=error) from None


def read_object(path: Path | str) -> dict[str, Any]:
    """As `read_json`; raises UserError where the file does not hold a JSON object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError("{path} is not a JSON object", path, given=type(value).__name__)
    return value


def append_jsonl(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a log that we wrote ourselves; a last line cut short by a kill is left out."""
    rows = []
    for line in Path(path).read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # no JSON, or half a character
            break
    return rows


def sha256(path: Path | str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
