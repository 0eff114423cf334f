"""`unmask data check`, and what `unmask finetune` says of its files before it trains."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unmask import files
from unmask.report.results import results_of

TRAIN = "text,label\none,a\ntwo,b\nthree,a\nTWO,a\nthree,a\n"


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Path]:
    written = {
        "train": TRAIN,
        "test": "text,label\nOne ,a\nnew,b\nother,c\nnew,b\n",
        "clean": "text,label\nfour,a\nfive,b\n",
    }
    for name, content in written.items():
        (tmp_path / f"{name}.csv").write_text(content)
    return {name: tmp_path / f"{name}.csv" for name in written}


def test_what_is_found_is_shown(command, rows: dict[str, Path]) -> None:
    done = command("data", "check", "--train", rows["train"], "--test", rows["test"])
    train, test = rows["train"], rows["test"]
    assert done.code == 1
    assert f"{test}: 1 of 4 rows also occur in {train} (the first: {test}, line 2 and {train}, line 2)" in done.out
    assert f"{train}: 2 rows have a text that also occurs with another label" in done.out
    assert f"{train}, line 5: a and {train}, line 3: b" in done.out
    assert f"{train}: 2 rows repeat the text" in done.out and f"{test}: 1 rows repeat" in done.out
    assert f"{test}: 1 rows have a label that no training row has (the first: {test}, line 4: c)" in done.out
    assert "4 (80.0%)" in done.out and "1 (25.0%)" in done.out


def test_and_told_to_programs(command, rows: dict[str, Path]) -> None:
    done = command("data", "check", "--train", rows["train"], "--test", rows["test"], "--json")
    told = json.loads(done.out)
    assert done.code == 1 and told["biased"]
    found = {(one["kind"], one["part"]): one["rows"] for one in told["problems"]}
    assert found == {
        ("contradictions", "train"): 2,
        ("duplicates", "train"): 2,
        ("leaks", "test"): 1,
        ("unknown_labels", "test"): 1,
        ("duplicates", "test"): 1,
    }
    assert told["parts"]["train"]["labels"] == {"a": 4, "b": 1}
    assert told["parts"]["train"]["characters"] == {"p0": 3, "p5": 3, "p50": 3, "p95": 5, "p100": 5}


def test_nothing_is_found_in_clean_files(command, rows: dict[str, Path]) -> None:
    done = command("data", "check", "--train", rows["clean"])
    assert done.code == 0 and "labels" in done.out and done.out.count(" ok ") >= 6 and "!" not in done.out
    tags = rows["clean"].with_suffix(".conll")
    tags.write_text("Ada\tB-PER\nis\tO\n\nBob\tB-PER\n")
    done = command("data", "check", "--train", tags, "--task", "tag")
    assert done.code == 0 and "PER" in done.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,text,label\n1,a,x\n1,b,y\n", "1 rows repeat the id"),
        ("text,label\na,x\nb,x\n", "same label"),
        ("text,label\na,x\n ,y\n", "a.csv, line 3: 'text'"),
        ("review,stars\n", "no rows"),
    ],
)
def test_single_files(command, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    done = command("data", "check", "--train", tmp_path / "a.csv")
    assert said in done.out + done.err


def test_a_test_file_with_other_columns(command, rows: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("words,outcome\na,x\n")
    done = command("data", "check", "--train", rows["clean"], "--test", tmp_path / "other.csv")
    assert done.code == 1 and str(tmp_path / "other.csv") in done.err
    assert "words, outcome" in done.err and "--text-column" in done.err


def test_leaks_are_in_the_run_and_in_its_report(command, pretrained: Path, tmp_path: Path) -> None:
    train, test, out = tmp_path / "train.csv", tmp_path / "test.csv", tmp_path / "run"
    train.write_text("text,label\n" + "".join(f"river {n},water\nstone {n},stone\n" for n in range(20)))
    test.write_text("text,label\nRIVER 3,water\nriver new,water\n")
    asked = ["finetune", "--model", pretrained, "--train", train, "--test", test, "--output", out]
    done = command(*asked, "train.budget=2 steps", "task.max_length=16")
    assert done.code == 0 and f"{test}: 1 of 2" in done.err and str(train) in done.err
    assert files.read_json(out / "run.json")["checked"]["leaks"]["test"]["rows"] == 1
    assert results_of(out)["data"]["task"]["defects"] == ["1 of 2 test rows also occur in the training rows"]
    page = tmp_path / "page.html"
    assert command("report", out, "--lang", "zh", "--output", page).code == 0
    assert "2 条测试样本中有 1 条也出现在训练样本中" in page.read_text(encoding="utf-8")
    stopped = command(*asked[:-1], tmp_path / "other", "data.leaks=stop")
    assert stopped.code == 1 and "data.leaks=drop" in stopped.err and not (tmp_path / "other").exists()


def test_a_test_set_is_cut_and_used(command, pretrained: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["finetune", "--model", pretrained, "--train", table, "--output", out, "data.test_share=0.25"]
    done = command(*asked, "train.budget=2 steps", "task.max_length=16", "--json")
    told = json.loads(done.out)["test"]
    assert done.code == 0 and told["rows"] == 20 and told["file"] == str(out / "split" / "test.jsonl")
    again = command(*asked, "train.budget=2 steps", "task.max_length=16", "--json")
    assert json.loads(again.out)["test"] == told


def test_answers_that_stand_elsewhere(command, tmp_path: Path) -> None:
    lines = [
        {"question": f"who {n}?", "context": f"in {n} came Ada", "answers": [{"text": "Ada", "answer_start": start}]}
        for n, start in enumerate((10, 3, 10, 0))
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = command("data", "check", "--task", "answer", "--train", tmp_path / "a.jsonl", "--json")
    (problem,) = json.loads(done.out)["problems"]
    assert done.code == 0 and (problem["kind"], problem["rows"]) == ("answers_moved", 2)
    assert problem["first"] == [[f"{tmp_path / 'a.jsonl'}, line 2"]]


def test_columns_that_are_read_and_those_that_are_not(command, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,title,review,stars\n1,x,good,5\n2,y,bad,1\n")
    done = command("data", "check", "--train", tmp_path / "a.csv", "--json")
    columns = json.loads(done.out)["columns"]["train"]
    assert columns == {"read": {"text": "review", "label": "stars"}, "not_used": ["title"]}
    shown = command("data", "check", "--train", tmp_path / "a.csv").out
    assert "'review'" in shown and "title" in shown


def test_the_exit_status_follows_what_biases(command, tmp_path: Path) -> None:
    texts = [f"river stone {n} winter" for n in range(40)]
    rows = {"case": ["Yes", "yes", "no", "no"], "rare": ["yes", "no"] * 2, "clean": ["yes", "no", "yes", "no"]}
    for name, labels in rows.items():
        lines = [f"{text},{labels[n % 4]}" for n, text in enumerate(texts)]
        lines[-1] = f"{texts[-1]},odd" if name == "rare" else lines[-1]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    codes = {name: command("data", "check", "--train", tmp_path / f"{name}.csv").code for name in rows}
    assert codes == {"case": 1, "rare": 0, "clean": 0}


def test_no_numpy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,x\nb,y\n")
    code = "import sys; from unmask.cli.app import run; run(sys.argv[1:]); print('numpy' in sys.modules)"
    arguments = [sys.executable, "-c", code, "data", "check", "--train", str(tmp_path / "a.csv")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
