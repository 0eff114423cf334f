"""Files that are never half written."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from unmask import files


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    files.write_text(path, "old")
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and not left_over(path.parent)


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("one", "two"):
        with files.atomic(path) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [item.name for item in path.iterdir()] == ["two"] and not left_over(tmp_path)


def test_an_error_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(KeyError), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and not left_over(tmp_path)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "full"),
        (errno.EACCES, os.strerror(errno.EACCES)),
        (errno.EROFS, os.strerror(errno.EROFS)),
    ],
)
def test_a_disk_that_does_not_take_it_is_a_user_error(tmp_path: Path, number: int, reason: str) -> None:
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with refused(path, reason), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert path.read_text() == "old" and not left_over(tmp_path)


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").write_text("kept")
    with refused(tmp_path / "run", "name of a file"):
        files.write_text(tmp_path / "run", "page")
    assert (tmp_path / "run" / "kept").read_text() == "kept" and not left_over(tmp_path)


def test_names_below_a_file_are_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    for path in (tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        with refused(path):
            files.write_text(path, "x")
        with refused(path, f": {tmp_path / 'a'} "):
            files.check_file(path)
    with refused(tmp_path, "name of a file"):
        files.check_file(tmp_path)
    files.check_file(tmp_path / "new" / "deep" / "name")


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, files.atomic(tmp_path / "x"):
        raise OSError(errno.EIO, "EIO")
    assert caught.value.errno == errno.EIO


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_really_full_device(tmp_path: Path) -> None:
    with refused(tmp_path / "x", "disk"), files.atomic(tmp_path / "x") as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("more than nothing")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("j") / "v.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_that_is_none(tmp_path: Path) -> None:
    with refused(tmp_path / "absent.json", "exist"):
        files.read_json(tmp_path / "absent.json")
    path = tmp_path / "bad.json"
    for content, names in {b"{": ("JSON", "line 1"), b"\xff": ("UTF-8", "byte 0"), b"[]": ("JSON", "list")}.items():
        path.write_bytes(content)
        with refused(path, *names):
            files.read_object(path)
    with refused(tmp_path, os.strerror(errno.EISDIR)):
        files.read_json(tmp_path)
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "nan.json", {"loss": float("nan")})


def test_a_log_cut_short_at_any_byte_loses_its_last_row_only(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"step": step, "text": "é\n\u2028"} for step in range(4)]
    for row in rows:
        files.append_jsonl(path, row)
    assert files.read_jsonl(path) == rows
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rindex(b"\n") + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        found = files.read_jsonl(path)
        assert found[:3] == rows[:3] and found[3:] in ([], rows[3:])


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "f") == known
    assert hashlib.sha256(b"abc").hexdigest() == known


def test_sweeping_removes_left_overs_only(tmp_path: Path) -> None:
    for name in (".model.0123abcd.tmp", ".model.0123abcd.old", "kept.tmp", ".lock"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    files.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "kept.tmp"]
    files.sweep(tmp_path / "absent")


def test_removing_a_link_to_a_folder_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "absent")
    assert [path.name for path in tmp_path.iterdir()] == ["real"]
