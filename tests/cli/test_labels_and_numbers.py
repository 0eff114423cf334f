"""Several labels and numbers from the command line: trained, tested, evaluated, predicted, reported, compared."""

import csv
import io
import json
from pathlib import Path

import pytest

FAST = ["task.max_length=16", "train.budget=60 steps", "train.evaluations=2", "train.optimizer.lr=0.01"]


@pytest.fixture(scope="module", params=["multilabel", "regress"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(kind: str, many_labels: Path, numbers: Path) -> Path:
    return many_labels if kind == "multilabel" else numbers


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    return {}


@pytest.fixture
def runs(command, kind: str, file: Path, pretrained: Path, made, tmp_path_factory) -> tuple[Path, Path]:
    """A good run and one that has learnt nothing, both tested."""
    if kind not in made:
        folder = tmp_path_factory.mktemp(kind)
        for name, settings in (("good", []), ("bad", ["train.budget=1 steps", "train.optimizer.lr=1e-7"])):
            done = command(
                *("finetune", "--model", pretrained, "--train", file, "--test", file, "--output", folder / name),
                *("--task", kind, *FAST, *settings),
            )
            assert done.code == 0, done.err
            wanted = {"multilabel": "micro-F1, % [95 %]", "regress": "Pearson [95 %]"}[kind]
            assert wanted in done.out and "always" in done.out
        made[kind] = folder / "good", folder / "bad"
    return made[kind]


def test_evaluate(command, kind: str, runs: tuple[Path, Path], file: Path) -> None:
    done = command("evaluate", runs[0], file)
    shown = {
        "multilabel": ["micro-F1", "subset accuracy", "threshold"],
        "regress": ["Spearman", "MAE", "largest errors"],
    }
    assert done.code == 0 and all(word in done.out for word in shown[kind]), done.err
    assert ("%" in done.out.splitlines()[0]) == (kind == "multilabel") or kind == "regress"
    told = json.loads(command("evaluate", runs[0], file, "--json").out)
    main = {"multilabel": "micro_f1", "regress": "pearson"}[kind]
    assert told["rows"] == 80 and told[main]["low"] <= told[main]["value"] <= told[main]["high"]
    assert told[main]["value"] > 0.5


def test_predict(command, kind: str, runs: tuple[Path, Path], file: Path) -> None:
    """The three formats give the same; a number is shown as it is, and not as a share."""
    done = command("predict", runs[0], file)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and len(rows) == 80
    table = list(csv.DictReader(io.StringIO(command("predict", runs[0], file, "--format", "csv", "--all").out)))
    shown = command("predict", runs[0], file, "--format", "table").out
    if kind == "multilabel":
        assert len({tuple(row["labels"]) for row in rows}) > 2
        assert [row["labels"] for row in table] == ["|".join(row["labels"]) for row in rows]
        for row, line in zip(rows, table, strict=True):
            assert [name for name in ("stone", "water") if float(line[name]) >= 0.5] == sorted(row["labels"])
    else:
        assert [float(row["number"]) for row in table] == [row["number"] for row in rows]
        assert all(0 < row["number"] < 60 for row in rows) and "%" not in shown
        assert f"{rows[0]['number']}" in shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_report_and_compare(command, kind: str, runs: tuple[Path, Path], tmp_path: Path, language: str) -> None:
    good, bad = runs
    page = tmp_path / "page.html"
    assert command("report", good, "--output", page, "--lang", language).code == 0
    text = page.read_text(encoding="utf-8")
    words = {
        ("multilabel", "en"): ["micro-F1", "Subset accuracy", "its micro-F1 is", "“always"],
        ("multilabel", "zh"): ["微平均 F1", "整条全对率"],
        ("regress", "en"): [
            "Pearson",
            "RMSE",
            "its Pearson is",
            "equal on the dashed line",
        ],
        ("regress", "zh"): ["皮尔逊相关系数为", "虚线上二者相等"],
    }[kind, language]
    plain = text.replace("\u00a0", " ")
    assert not [word for word in words if word.lower() not in plain.lower()]
    assert "confusion" not in text and text.count("<circle") > (80 if kind == "regress" else 0)
    out = tmp_path / "compare.html"
    done = command("compare", good, bad, "--output", out)
    figure = {"multilabel": "micro-F1, % [95 %]", "regress": "Pearson [95 %]"}[kind]
    assert done.code == 0 and figure in done.out and "“good” is better than “bad”:" in done.out, done.err
    assert out.read_text(encoding="utf-8").count("<svg") >= 2


def test_errors_name_the_line_and_what_to_do(command, kind: str, pretrained: Path, tmp_path: Path) -> None:
    content = {"multilabel": '{"text": "x", "label": {"a": 0.5}}', "regress": '{"text": "x", "label": "good"}'}[kind]
    path = tmp_path / "bad.jsonl"
    path.write_text(content + "\n")
    done = command(
        *("finetune", "--model", pretrained, "--train", path, "--output", tmp_path / "run"),
        *("--task", kind, *FAST),
    )
    assert done.code == 1 and f"{path}, line 1: 'label'" in done.err


def test_a_metric_of_another_task_is_refused(command, kind: str, pretrained: Path, file: Path, tmp_path) -> None:
    done = command(
        *("finetune", "--model", pretrained, "--train", file, "--output", tmp_path / "run"),
        *("--task", kind, "task.metric=accuracy"),
    )
    assert done.code == 1 and "task.metric" in done.err
