"""`unmask predict` as people and scripts call it."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from unmask.cli import app


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def standard_input(monkeypatch: pytest.MonkeyPatch):
    """Put a text on standard input."""

    def put(text: str) -> None:
        buffer = io.BufferedReader(io.BytesIO(text.encode()))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))

    return put


def test_a_file_without_labels_keeps_ids_and_lines(command, classifier: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.jsonl"
    file.write_text('{"id": "x7", "text": "the river"}\n\n{"id": "x9", "text": "a mountain"}\n')
    done = command("predict", classifier, file)
    assert done.code == 0
    assert [(row["id"], row["line"], row["label"]) for row in lines(done.out)] == [
        ("x7", 1, "water"),
        ("x9", 3, "stone"),
    ]
    assert all(0.5 < row["score"] <= 1 for row in lines(done.out))


def test_the_most_probable_labels_alone(command, classifier: Path, table: Path) -> None:
    every = lines(command("predict", classifier, table, "--all").out)
    best = lines(command("predict", classifier, table, "--top-k", "1").out)
    for one, other in zip(best, every, strict=True):
        assert one["scores"] == {one["label"]: one["score"]} and one["score"] == other["score"]
    done = command("predict", classifier, table, "--top-k", "1", "--format", "csv")
    for row, one in zip(csv.DictReader(io.StringIO(done.out)), best, strict=True):
        filled = {label: row[label] for label in ("stone", "water") if row[label]}
        assert filled == {row["label"]: row["score"]} and row["label"] == one["label"]


def test_an_absent_file_is_named_also_where_the_output_exists(command, classifier: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("mine")
    done = command("predict", classifier, tmp_path / "absent.csv", "--output", output)
    assert done.code == 1 and str(tmp_path / "absent.csv") in done.err
    done = command("predict", classifier, output, "--output", output)
    assert done.code == 1 and str(output) in done.err and output.read_text() == "mine"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_is_a_text_a_line(command, classifier, standard_input, arguments: list[str]) -> None:
    standard_input("the river\na mountain\n")
    done = command("predict", classifier, *arguments)
    assert [row["label"] for row in lines(done.out)] == ["water", "stone"]


def test_a_csv_file_is_written_whole_or_not_at_all(command, classifier, table: Path, tmp_path, monkeypatch) -> None:
    out = tmp_path / "predicted.csv"
    done = command("predict", classifier, table, "--output", out, "--all")
    assert done.code == 0 and done.out == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 80 and list(rows[0]) == ["id", "line", "label", "score", "stone", "water"]
    assert all(float(row[row["label"]]) == float(row["score"]) for row in rows)
    before = out.read_text()

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.console.StepProgress.advance", broken)
    stopped = command("predict", classifier, table, "--output", out)
    assert stopped.code == 130 and "SIGINT" in stopped.err
    left = {path.name for path in tmp_path.iterdir()}
    assert out.read_text() == before and left == {f"predicted.csv{end}" for end in ("", ".part", ".part.json")}


def test_what_is_there_is_not_overwritten_by_mistake(command, classifier: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "river"}\n')
    same = command("predict", classifier, rows, "--output", tmp_path / "." / "rows.jsonl")
    assert same.code == 1 and str(rows) in same.err and "--output" in same.err
    folder = command("predict", classifier, rows, "--output", tmp_path)
    assert folder.code == 1 and folder.err.startswith(f"error: {tmp_path} ")
    below = command("predict", classifier, rows, "--output", rows / "out.jsonl")
    assert below.code == 1 and str(rows / "out.jsonl") in below.err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"] and "river" in rows.read_text()


def test_texts_cut_short_are_told(command, classifier: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("the river\n" + "the river and the mountain " * 50 + "\n")
    done = command("predict", classifier, rows)
    assert done.code == 0 and "1 texts truncated to" in done.err


def test_a_table_for_people(command, classifier: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text("the river " * 20 + "\n")
    done = command("predict", classifier, file, "--format", "table")
    assert "probability" in done.out and "water" in done.out and "..." in done.out
    refused = command("predict", classifier, file, "--format", "table", "--output", tmp_path / "x")
    assert refused.code == 1 and "--format jsonl or csv" in refused.err


def test_nothing_to_read(command, classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    done = command("predict", classifier)
    assert done.code == 1 and "standard input" in done.err
    monkeypatch.setattr(sys, "stdin", None)  # as it is where it was closed
    assert command("predict", classifier).code == 1


def test_an_interrupt_while_the_command_is_loaded(command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(name: str) -> None:
        raise KeyboardInterrupt

    app.command_line.cache_clear()
    monkeypatch.setattr(app, "import_module", stop)
    done = command("predict", "model", "rows.csv")
    assert done.code == 130 and "SIGINT" in done.err
