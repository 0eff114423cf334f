"""Listing runs: what each is and how far it came; damaged folders never end in a traceback."""

import fcntl
import json
from pathlib import Path

import pytest
from report_sample import synthetic_results, write_run
from runs_sample import keep, write_trained

from errors import refused
from unmask import files
from unmask.cli.app import run as command
from unmask.report.page import write_report
from unmask.report.results import results_of
from unmask.report.runs import find_runs, read_run, require_run, run_facts


def test_runs_are_found_below_and_sorted_by_time(tmp_path: Path) -> None:
    write_trained(tmp_path / "b", created="2003-01-01T00:00:00+00:00")
    write_trained(tmp_path / "deep" / "er" / "a", "finetune", created="2002-01-01T00:00:00+00:00")
    files.write_json(tmp_path / "quick" / "results.json", synthetic_results())
    write_trained(tmp_path / "quick" / "inside", created="2002-01-01T03:00:00+00:00")
    write_trained(tmp_path / "b" / "checkpoints" / "no-run")
    write_trained(tmp_path / ".hidden")
    found = find_runs(tmp_path)
    assert [run.folder.relative_to(tmp_path).as_posix() for run in found] == [
        "quick",
        "deep/er/a",
        "quick/inside",
        "b",
    ]
    assert [run.kind for run in found] == ["quickstart", "finetune", "pretrain", "pretrain"]


def test_each_kind_tells_its_main_figure(tmp_path: Path) -> None:
    pretrained, tuned = (
        write_trained(tmp_path / "p"),
        write_trained(tmp_path / "f", "finetune", pretrained=False),
    )
    first, second = read_run(pretrained), read_run(tuned)
    assert (first.figure, first.steps, first.tokens) == ({"name": "masked.loss", "value": 5.5}, 12, 1200)
    assert run_facts(first)[1:8] == ["pretraining", "finished", "2 x 16, masked, corpus", "12 steps", "12", "1,200",
                                "held-out loss 5.50"]  # fmt: skip
    assert (second.figure, second.tokens) == ({"name": "classify.accuracy", "value": 0.9}, 1200)
    assert second.description == "classify, rows.csv, from scratch"
    quick = read_run(write_run(tmp_path / "q", synthetic_results()))
    assert (quick.state, quick.budget, quick.figure) == ("finished", "5m", {"name": "accuracy", "value": 0.9517})
    assert quick.shown_figure == "test accuracy 95.2 %"


def test_a_run_is_interrupted_unless_a_process_holds_it(tmp_path: Path) -> None:
    folder = write_trained(tmp_path / "run", finished=False)
    stopped = read_run(folder)
    assert (stopped.state, stopped.steps, stopped.progress) == ("interrupted", 6, 0.5)
    assert run_facts(stopped)[2] == "interrupted, 50%"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert read_run(folder).state == "running"
    assert read_run(folder).state == "interrupted"


def test_a_run_before_its_first_step_and_a_quick_start_under_way(tmp_path: Path) -> None:
    folder = write_trained(tmp_path / "run", finished=False)
    (folder / "metrics.jsonl").unlink()
    fresh = read_run(folder)
    assert (fresh.state, fresh.steps, fresh.figure) == ("interrupted", None, None)
    results = synthetic_results()
    results["steps"] = results["steps"][:4]
    for key in ("evaluation", "pretraining", "finetuning"):
        del results[key]
    early = read_run(write_run(tmp_path / "quick", results))
    assert (early.state, early.figure) == ("interrupted", None) and early.progress == pytest.approx(4 / 7)


BROKEN = {
    "run.json": [
        "",
        "{",
        "[]",
        "null",
        '{"kind": "other"}',
        '{"kind": ["x"]}',
        '{"kind": "pretrain", "finished": 3}',
    ],
    "recipe.yaml": ["a: [", "- 1", "\udcff", "3"],
}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name, all_ in BROKEN.items() for text in all_])
def test_a_damaged_run_is_listed_as_such(tmp_path: Path, name: str, content: str) -> None:
    folder = write_trained(tmp_path / "run")
    (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    (only,) = find_runs(tmp_path)
    assert only.state == "damaged" and only.problem
    assert command(["runs", str(tmp_path)]) == 0
    for line in ("report", "compare"):
        assert command([line, str(folder), *([str(tmp_path)] if line == "compare" else [])]) == 1
    with refused(folder) as caught:
        require_run(folder)
    assert caught.value.facts["hint"] == "unmask runs FOLDER", "and not itself"


@pytest.mark.parametrize("missing", ["run.json", "recipe.yaml"])
def test_a_run_without_a_file_is_damaged(tmp_path: Path, missing: str) -> None:
    folder = write_trained(tmp_path / "run")
    (folder / missing).unlink()
    (only,) = find_runs(tmp_path)
    assert only.state == "damaged" and missing in (only.problem or "")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"kind": "quickstart", "steps": 3}'])
def test_a_damaged_quick_start_is_listed_as_such(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    (only,) = find_runs(tmp_path)
    assert only.state == "damaged" and only.problem


def test_a_torn_log_counts_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = write_trained(tmp_path / "run", finished=False)
    with (folder / "metrics.jsonl").open("ab") as log:
        log.write(b'5\n{"step": 7, "los\xff')
    assert read_run(folder).steps == 6
    rows = "".join(json.dumps({"step": step, "loss": 5.0, "tokens": step}) + "\n" for step in range(1, 5000))
    (folder / "metrics.jsonl").write_text(rows)
    assert read_run(folder).steps == 4999, "the end of a long log"


def test_no_folder_is_an_error_and_no_run_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with refused(tmp_path / "nothing", "unmask runs FOLDER"):
        find_runs(tmp_path / "nothing")
    assert command(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    write_trained(tmp_path / "a" / "b")
    with refused(tmp_path / "a", "a/b"):  # the run inside is named
        require_run(tmp_path / "a")


def test_runs_in_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trained(tmp_path / "a", "finetune", pretrained=False)
    write_trained(tmp_path / "b", finished=False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{}")
    files.write_json(tmp_path / "d" / "results.json", synthetic_results())
    assert command(["runs", str(tmp_path), "--lang", "zh"]) == 0
    shown = capsys.readouterr().out
    for text in ("微调", "，从零开始", "预训练", "已中断，50%", "未知", "已损坏", "快速上手", "测试集准确率"):
        assert text in shown, text
    assert "names the kind" not in shown


def test_runs_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_trained(tmp_path / "run", "finetune")
    assert command(["runs", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["kind"] == "finetune" and row["figure"] == {"name": "classify.accuracy", "value": 0.9}


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_report_of_a_plain_run(tmp_path: Path, kind: str, finished: bool, language: str) -> None:
    folder = write_trained(tmp_path / "my-run", kind, finished=finished)
    page = write_report(folder, language=language).read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "<h1>my-run</h1>" in page and f"unmask {kind} " in page and "<svg" in page
    unfinished = {"en": "This run is not finished", "zh": "本次运行尚未完成"}[language]
    assert (unfinished in page) != finished
    if finished:
        assert "5.50" in page if kind == "pretrain" else "90.0 %" in page


def test_a_tuned_run_with_kept_predictions_reports_its_test(tmp_path: Path) -> None:
    folder = write_trained(tmp_path / "run", "finetune")
    keep(folder, ["a", "b", "a", "a", "a", "a", "b", "b"])
    results = results_of(folder)
    assert results["evaluation"]["models"][0]["accuracy"]["value"] == 7 / 8
    assert results["evaluation"]["split"] == "test.csv"
    page = write_report(folder).read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "87.5 %" in page and "n = 8 rows (test.csv)" in page


def test_the_command_prints_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_trained(tmp_path / "run")
    assert command(["report", str(folder), "--output", str(tmp_path / "page.html"), "--lang", "zh"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert command(["report", str(folder), "--lang", "xx"]) == 1
    assert "xx" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_a_report_says_what_a_run_began_with(kind: str, tmp_path: Path) -> None:
    folder = write_trained(tmp_path / "run", kind)
    facts = files.read_json(folder / "run.json")
    assert "Initialisation of the run." not in write_report(folder).read_text(encoding="utf-8")
    start = {
        "model": "runs/old/model",
        "heads": {"masked": "kept", "next_sentence": "new"},
        "reinit_layers": 2,
        "freeze_layers": 1,
        "freeze_embeddings": True,
        "max_position_embeddings_of_model": 512,
        "max_position_embeddings": 1024,
        "parameters": 12345,
        "trainable_parameters": 2345,
        "heldout_figures": {"masked.loss": 6.125},
    }
    files.write_json(folder / "run.json", {**facts, "init": start})
    page = write_report(folder).read_text(encoding="utf-8")
    for text in (
        *("Initialisation of the run.", "runs/old/model", "loaded"),
        *("Re-initialised layers", "embeddings, lowest layers: 1", "512 → 1,024"),
        *("2,345 of 12,345", "6.12"),
    ):
        assert text in page, text
    plain = {**start, "reinit_layers": 0, "freeze_layers": 0, "freeze_embeddings": False}
    del plain["heldout_figures"]
    files.write_json(folder / "run.json", {**facts, "init": {**plain, "max_position_embeddings": 512}})
    page = write_report(folder).read_text(encoding="utf-8")
    assert "runs/old/model" in page
    for text in ("Re-initialised", "Frozen", "Positions", "Held-out loss before"):
        assert text not in page
