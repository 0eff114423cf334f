"""`unmask predict` over files longer than their beginning: the same rows and answers whatever the blocks, an output
that is continued to the same bytes, rows that cannot be used, a full disk."""

import errno
import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from errors import refused
from unmask import files
from unmask.cli import predict_output
from unmask.cli.app import run
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import open_rows, read_rows
from unmask.data.rows.readers import records
from unmask.runtime import predictor
from unmask.runtime.predictor import load

STATE = '{"format": 1, "conditions": {}, "rows": 5, "size": 10, "truncated": 0}'
WORDS = ("river", "mountain", "the", "a")


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five rows, of a file whose first seven rows are its beginning; progress is saved after each block."""
    monkeypatch.setattr(predictor, "BLOCK_ROWS", 5)
    monkeypatch.setattr(records, "FIRST_ROWS", 7)
    monkeypatch.setattr(predict_output, "SAVE_EVERY", 0.0)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """38 rows with ids in JSON lines."""
    draw, path = random.Random(3), tmp_path / "rows.jsonl"
    lines = [{"id": f"r{n}", "text": " ".join(draw.choices(WORDS, k=1 + n % 9))} for n in range(38)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def as_format(rows: Path, name: str) -> Path:
    """The rows in a file of another format, with a column more and an empty line."""
    cells, path = lines_of(rows.read_text()), rows.with_name(f"rows.{name}")
    table = [("id", "text", "more"), *((one["id"], one["text"], "x") for one in cells)]
    if name == "txt":
        path.write_text("\n".join(one["text"] for one in cells))
    elif name == "jsonl.gz":
        path.write_bytes(gzip.compress(rows.read_bytes()))
    elif name == "parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.Table.from_pylist(cells), path)
    elif name in ("csv", "tsv"):
        mark = {"csv": ",", "tsv": "\t"}[name]
        path.write_text("\n\n".join(mark.join(row) for row in table))
    return path


@pytest.mark.parametrize("name", ["csv", "tsv", "jsonl", "jsonl.gz", "parquet", "txt"])
def test_rows_are_the_same_read_whole_and_one_by_one(rows: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_format(rows, name)
    whole = read_rows(path, ReadOptions(), "label", "predict")
    monkeypatch.setattr(records, "FIRST_ROWS", 7)
    with ExitStack() as stack:
        opened = open_rows(path, ReadOptions(), "label", "predict", stack=stack)
        assert not opened.whole and list(opened.examples) == whole.examples
    assert (opened.log.notes, opened.log.columns, opened.records.resolved) == (
        whole.notes,
        whole.columns,
        whole.resolved,
    )
    assert len(whole.examples) == 38


@pytest.mark.parametrize("kind", ["tags", "answers"])
def test_tokens_and_questions_are_read_one_by_one(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv"
    if kind == "tags":
        body = [f"\"['the', 'river{n}']\"" for n in range(20)]
        path.write_text("\n".join(["tokens", *body]))
    else:
        path.write_text("\n".join(["question,context", *(f"where {n},by the river {n}" for n in range(20))]))
    whole = read_rows(path, ReadOptions(), kind, "predict")
    monkeypatch.setattr(records, "FIRST_ROWS", 7)
    with ExitStack() as stack:
        opened = open_rows(path, ReadOptions(), kind, "predict", stack=stack)
        assert not opened.whole and list(opened.examples) == whole.examples and len(whole.examples) == 20
    assert opened.log.columns == whole.columns


def test_blocks_change_nothing(command, classifier: Path, rows: Path, short_blocks: None, monkeypatch: Any) -> None:
    parts = lines_of(command("predict", classifier, rows, "--all").out)
    assert [(one["id"], one["line"]) for one in parts] == [(f"r{n}", n + 1) for n in range(38)]
    monkeypatch.undo()
    for one, other in zip(parts, lines_of(command("predict", classifier, rows, "--all").out), strict=True):
        assert one["id"] == other["id"] and one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-4)


def test_a_generator_is_read_a_block_ahead_and_no_more(classifier: Path, short_blocks: None) -> None:
    model, read = load(classifier), 0

    def texts() -> Iterator[str]:
        nonlocal read
        for number in range(40):
            read = number + 1
            yield "the river" if number % 3 else "a mountain"

    found = []
    for number, (example, prediction) in enumerate(model.stream(texts())):
        assert read <= 5 * (number // 5 + 2) and example.id == str(number)
        found.append(prediction[0].label)
    assert found == [one[0].label for one in model.predict(list(texts()))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_killed_at_any_moment_it_ends_in_the_same_bytes(
    command, classifier: Path, rows: Path, short_blocks: None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, target = rows.with_name(f"whole.{name}"), rows.with_name(f"killed.{name}")
    assert command("predict", classifier, rows, "--output", whole).code == 0
    draw, kills, after = random.Random(name), 0, 20
    model = load(classifier)
    model.predict(["the river"])  # in the parent: the children share what is loaded
    monkeypatch.setattr(predictor, "load", lambda *_, **__: model)
    monkeypatch.setattr(predictor, "_in_thread", in_place)  # after a fork there is one thread
    for _ in range(200):
        child = os.fork()
        if child == 0:
            kill_after(after, monkeypatch)
            code = run(["--quiet", "predict", str(classifier), str(rows), "--output", str(target)])
            os._exit(code)
        _, status = os.waitpid(child, 0)
        after = draw.randrange(1, 60)
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    assert os.waitstatus_to_exitcode(status) == 0 and kills > 1
    assert target.read_bytes() == whole.read_bytes()
    assert not predict_output.part_path(target).exists() and not predict_output.state_path(target).exists()


def in_place(make: Callable[[], Any]) -> Any:
    class Done:
        def result(self) -> Any:
            return make()

    return Done()


def kill_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill this process after so many system calls that matter."""
    left = [calls]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **more)

        return call

    monkeypatch.setattr(os, "fsync", counted(os.fsync))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(predict_output.Output, "write", counted(predict_output.Output.write))


@pytest.fixture
def begun(command, classifier: Path, rows: Path, short_blocks: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output of ten rows, then interrupted."""
    target, blocks = rows.with_name("out.jsonl"), [0]

    def stop(*_: object) -> None:
        blocks[0] += 1
        if blocks[0] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unmask.console.StepProgress.advance", stop)
        done = command("predict", classifier, rows, "--output", target)
    assert done.code == 130 and "10 rows" in done.err and not target.exists()
    assert predict_output.part_path(target).read_bytes().count(b"\n") == 10
    return target


def test_an_interrupted_output_is_continued(command, classifier, rows: Path, begun: Path) -> None:
    with predict_output.part_path(begun).open("ab") as part:
        part.write(b'{"id": "half a ro')
    done = command("predict", classifier, rows, "--output", begun, "--on-error", "skip")  # changes no row that is there
    assert done.code == 0 and "after 10 rows" in done.err
    found = lines_of(begun.read_text())
    assert [one["id"] for one in found] == [f"r{n}" for n in range(38)]
    assert {path.name for path in begun.parent.iterdir()} == {rows.name, begun.name}


def test_other_settings_are_refused(command, classifier, rows: Path, begun: Path) -> None:
    part = predict_output.part_path(begun)
    before = part.read_bytes()
    for more, named in (
        (["--all"], "all: true"),
        (["--text-column", "text"], "text_column"),
        (["--top-k", "1"], "top_k"),
        (["--backend", "openvino"], "backend: openvino"),
    ):
        done = command("predict", classifier, rows, "--output", begun, *more)
        assert done.code == 1 and str(part) in done.err and named in done.err and "--restart" in done.err
    rows.write_text(rows.read_text() + '{"text": "a river"}\n')
    done = command("predict", classifier, rows, "--output", begun)
    assert done.code == 1 and files.sha256(rows)[:60] in done.err and part.read_bytes() == before
    done = command("predict", classifier, rows, "--output", begun, "--restart")
    assert done.code == 0 and len(lines_of(begun.read_text())) == 39 and not part.exists()


def test_a_part_that_is_not_ours_stays(command, classifier, rows: Path) -> None:
    target = rows.with_name("out.jsonl")
    predict_output.part_path(target).write_text("mine")
    done = command("predict", classifier, rows, "--output", target)
    assert done.code == 1 and str(predict_output.part_path(target)) in done.err
    assert predict_output.part_path(target).read_text() == "mine"


def test_two_commands_do_not_write_one_file(command, classifier, rows: Path) -> None:
    target = rows.with_name("out.jsonl")
    with predict_output.open_part(target, predict_output.State(), lambda *_: None) as one:
        one.write(b"", 1, 0)
        with refused(predict_output.part_path(target)), predict_output.open_part(target, one.state, lambda *_: None):
            pass


BAD = {
    9: ('{"text": null}', "'text'"),
    14: ('{"text": 3}', "'text'"),
    15: ('{"text": ""}', "'text'"),
    20: ('{"other": "river"}', "'text'"),
    21: ('{"text": "\\ud800"}', "surrogate"),
    25: ("{", "JSON"),
    30: ('["a"]', "JSON"),
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_row_is_named_with_its_line(command, classifier, rows: Path, short_blocks: None, line: int) -> None:
    text = rows.read_text().splitlines()
    text[line - 1] = BAD[line][0]
    rows.write_text("\n".join(text))
    done = command("predict", classifier, rows)
    assert done.code == 1 and f"{rows}, line {line}" in done.err and BAD[line][1] in done.err
    assert "--on-error skip" in done.err and len(lines_of(done.out)) == (line - 1) // 5 * 5


def test_bad_rows_are_skipped_and_counted(command, classifier, rows: Path, short_blocks: None) -> None:
    text = rows.read_text().splitlines()
    for line, (bad, _) in BAD.items():
        text[line - 1] = bad
    text[34] = json.dumps({"id": "long", "text": "river " * 20_000})
    rows.write_text("\n".join(text))
    done = command("predict", classifier, rows, "--on-error", "skip")
    assert done.code == 0 and f"skipped: 7 (the first: {rows}, line 9" in done.err
    assert [one["line"] for one in lines_of(done.out)] == [n for n in range(1, 39) if n not in BAD]


@pytest.mark.parametrize("wrong", [None, 3, b"river", 1.5, ("river",), ("river", None), ["a", "b", "c"]])
def test_what_is_no_text_is_named_by_its_index(classifier: Path, wrong: Any) -> None:
    model = load(classifier)
    with refused("texts[2]", type(wrong).__name__):
        model.predict(["the river", "", wrong])
    assert len(model.predict(["\ud800", "", ("a", "b")])) == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(command, classifier, rows: Path, short_blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    done = command("predict", classifier, rows, "--output", "/dev/full")
    assert done.code == 1 and "disk is full" in done.err and "/dev/full" in done.err
    target = rows.with_name("out.jsonl")
    write, written = predict_output.Output.write, [0]

    def full(self: Any, data: bytes, count: int, truncated: int) -> None:
        written[0] += 1
        if written[0] == 3:
            stream, self.stream = self.stream, Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
            try:
                write(self, data, count, truncated)
            finally:
                self.stream.close()
                self.stream = stream
        write(self, data, count, truncated)

    with monkeypatch.context() as patch:
        patch.setattr(predict_output.Output, "write", full)
        done = command("predict", classifier, rows, "--output", target)
    assert done.code == 1 and "disk is full" in done.err and "10 rows" in done.err
    assert command("predict", classifier, rows, "--output", target).code == 0
    assert len(lines_of(target.read_text())) == 38


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_the_rows_named_are_those_that_are_continued_with(
    command, classifier, rows: Path, short_blocks: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The state cannot be written any more, as on a full disk, or where a file may not grow further."""
    target, save, calls = rows.with_name("out.jsonl"), predict_output.files.write_json, [0]

    def failing(path: Path, value: Any) -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise predict_output.files.disk_error(OSError(number, "no more"), path)
        save(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(predict_output, "SAVE_EVERY", 0)
        patch.setattr(predict_output.files, "write_json", failing)
        done = command("predict", classifier, rows, "--output", target)
    assert done.code == 1 and "5 rows are in" in done.err
    assert len(lines_of(predict_output.part_path(target).read_text())) == 10  # those of no state, too
    with monkeypatch.context() as patch:  # nor when it is continued
        patch.setattr(predict_output.files, "write_json", failing)
        done = command("predict", classifier, rows, "--output", target)
    assert done.code == 1 and "5 rows are in" in done.err
    done = command("predict", classifier, rows, "--output", target)
    assert done.code == 0 and "after 5 rows" in done.err
    assert len(lines_of(target.read_text())) == 38


@pytest.mark.parametrize(
    "text", ["", '{"format": 1', "[]", "null", STATE.replace("{}", "null"), STATE.replace("5", '"5"')]
)
def test_a_damaged_state_says_how_to_begin_again(tmp_path: Path, text: str) -> None:
    target = tmp_path / "out.jsonl"
    predict_output.part_path(target).write_bytes(b"x" * 10)
    predict_output.state_path(target).write_text(STATE)
    assert predict_output.read_state(target) == predict_output.State({}, 5, 10, 0)
    predict_output.state_path(target).write_text(text)
    with refused("out.jsonl.part.json", "--restart"):
        predict_output.read_state(target)


def test_vectors_are_continued_in_one_array(tmp_path: Path) -> None:
    target, vectors = tmp_path / "v.npy", np.arange(24, dtype=np.float32).reshape(6, 4)
    for part in (vectors[:2], vectors[2:]):
        state = predict_output.read_state(target) or predict_output.State({"a": 1})
        try:
            with predict_output.open_part(target, state, predict_output.finish_array) as out:
                out.write(predict_output.encode_vectors([], list(part), out.state.rows == 0), len(part), 0)
                if part is not vectors[2:] and len(part) == 2:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert out.state.rows == 2
    assert np.array_equal(np.load(target), vectors)


STALLED = """
import os, sys, threading, time
from contextlib import ExitStack
from unmask.data.textfiles import ReadLog, TextFile
with ExitStack() as stack:
    file = TextFile(sys.argv[1], stack)
    file.head
    threading.Thread(target=lambda: list(file.lines(ReadLog())), daemon=True).start()
    time.sleep(0.3)
"""


@pytest.mark.parametrize("source", ["-", "pipe"])
def test_nothing_waits_for_a_thread_that_reads_a_stalled_pipe(source: str, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)
    os.write(end, b"a river\n")
    try:
        given = [sys.executable, "-c", STALLED, "-" if source == "-" else str(path)]
        done = subprocess.run(given, stdin=end, timeout=20, check=False, capture_output=True)
    finally:
        os.close(end)
    assert (done.returncode, done.stderr) == (0, b"")
