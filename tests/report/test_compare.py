"""Comparing runs: settings that differ, curves only where they mean the same, refusals that say why."""

import json
import re
from pathlib import Path

import pytest
from report_sample import synthetic_results, write_run
from runs_sample import ROWS, keep, write_trained

from errors import refused
from unmask import files
from unmask.cli.app import run as command
from unmask.evaluate import predictions
from unmask.evaluate.predictions import Predictions
from unmask.report.compare import CORPORA, CURVES_ONLY, DEV, compare_runs, flat, page_of
from unmask.report.page import render

GOOD, BAD = list(ROWS), ["a"] * len(ROWS)


def tuned(folder: Path, predicted: list[str] | None = None, **settings: object) -> Path:
    path = write_trained(folder, "finetune", **settings)  # type: ignore[arg-type]
    if predicted is not None:
        keep(path, predicted)
    return path


def test_settings_are_flattened_with_named_members() -> None:
    values = {"a": {"b": 1}, "objectives": [{"name": "masked", "mask_prob": 0.2}], "c": [3]}
    assert flat(values) == {
        "a.b": 1,
        "objectives.masked.name": "masked",
        "objectives.masked.mask_prob": 0.2,
        "c.0": 3,
    }


def test_only_settings_that_differ_are_told(tmp_path: Path) -> None:
    first = write_trained(tmp_path / "x" / "one")
    second = write_trained(tmp_path / "x" / "two", objectives=[{"name": "masked", "mask_prob": 0.3}], seed=1)
    found = compare_runs([first, second])
    assert found.names == ["one", "two"]
    assert {row["setting"]: row["values"] for row in found.settings} == {
        "seed": {"one": 0, "two": 1},
        "objectives.masked.mask_prob": {"one": 0.15, "two": 0.3},
    }


def test_the_same_content_under_another_path_is_no_difference(tmp_path: Path) -> None:
    first = write_trained(tmp_path / "one")
    second = write_trained(tmp_path / "two", data={"corpus": "elsewhere/corpus"})
    assert compare_runs([first, second]).settings == []


def test_kept_predictions_are_compared(tmp_path: Path) -> None:
    found = compare_runs([tuned(tmp_path / "good", GOOD), tuned(tmp_path / "bad", BAD, seed=0)])
    assert found.evaluation is not None and found.evaluation["rows"] == 8
    (row,) = found.evaluation["differences"]
    assert (row["of"], row["over"], row["accuracy"]["value"]) == ("good", "bad", 0.5)
    assert row["mcnemar"] == pytest.approx(2 / 2**4)


def test_a_test_file_makes_predictions_of_every_run(tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\n")
    asked = []

    def predict(run: Path, file: Path) -> Predictions:
        asked.append((run.name, file))
        return Predictions("classify", "label", "accuracy", str(file), "ef" * 32, ["a", "b"], ROWS, GOOD)

    found = compare_runs([tuned(tmp_path / "one"), tuned(tmp_path / "two")], test, predict)
    assert asked == [("one", test), ("two", test)] and found.evaluation is not None
    with refused(tmp_path / "nowhere.csv", "--test"):
        compare_runs([tmp_path / "one", tmp_path / "two"], tmp_path / "nowhere.csv", predict)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    pretrained, other = write_trained(tmp_path / "p"), tuned(tmp_path / "f", GOOD)
    with refused(f"{pretrained}: pretrain", f"{other}: finetune"):
        compare_runs([pretrained, other])
    with refused(pretrained, "2 to 6"):
        compare_runs([pretrained])
    with refused(pretrained, "2 to 6"):
        compare_runs([pretrained, tmp_path / "x" / ".." / "p"])
    with refused(tmp_path / "nothing", "unmask runs FOLDER"):
        compare_runs([pretrained, tmp_path / "nothing"])
    with refused(f"--test {tmp_path / 'test.csv'}"):
        compare_runs([pretrained, write_trained(tmp_path / "p2")], tmp_path / "test.csv")


def test_other_test_rows_and_other_labels_are_refused(tmp_path: Path) -> None:
    first = tuned(tmp_path / "one", GOOD)
    second, third = tuned(tmp_path / "two"), tuned(tmp_path / "three")
    keep(second, GOOD, sha256="cd" * 32)
    keep(third, GOOD, labels="abc")
    with refused("one: test.csv; two: test.csv", "--test FILE"):
        compare_runs([first, second])
    with refused("one and three") as caught:
        compare_runs([first, third])
    assert caught.value.facts["given"].endswith(": c"), "the label that one of them has"
    keep(first, GOOD, sha256="cd" * 32)
    keep(second, GOOD)
    assert len(list((first / "predictions").iterdir())) == 2
    with refused("one: test.csv, test.csv; two: test.csv, test.csv", "--test FILE"):
        compare_runs([first, second])


def test_losses_over_different_corpora_are_not_compared(tmp_path: Path) -> None:
    first, second = write_trained(tmp_path / "one"), write_trained(tmp_path / "two")
    facts = files.read_json(second / "run.json")
    files.write_json(second / "run.json", facts | {"inputs": {"corpus": "c1"}})
    found = compare_runs([first, second])
    assert found.notes == [CORPORA] and "<svg" not in render(page_of(found), "en")


def test_development_curves_need_the_same_development_rows(tmp_path: Path) -> None:
    first, second = tuned(tmp_path / "one"), tuned(tmp_path / "two", seed=7)
    found = compare_runs([first, second])
    assert found.notes == [DEV, CURVES_ONLY]
    assert "<svg" not in render(page_of(found), "en")
    third = tuned(tmp_path / "three", pretrained=False)
    assert "<svg" in render(page_of(compare_runs([first, third])), "en")


def test_quick_starts_are_compared_by_the_runs_inside(tmp_path: Path) -> None:
    for name, predicted in (("one", GOOD), ("two", BAD)):
        folder = tmp_path / name
        write_trained(folder / "pretrain")
        tuned(folder / "finetune", predicted)
        files.write_json(folder / "results.json", synthetic_results())
    found = compare_runs([tmp_path / "one", tmp_path / "two"])
    assert list(found.stages) == ["pretrain", "finetune"] and found.evaluation is not None
    mixed = compare_runs([tmp_path / "one", tmp_path / "two" / "finetune"])
    assert list(mixed.stages) == ["finetune"]
    assert write_run(tmp_path / "bare", synthetic_results())
    with refused(f"{tmp_path / 'one'}: quickstart", f"{tmp_path / 'bare'}: quickstart"):
        compare_runs([tmp_path / "one", tmp_path / "bare"])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_the_page_has_curves_and_says_whether_the_difference_is_real(tmp_path: Path, kind: str, language: str) -> None:
    runs = [write_trained(tmp_path / name, kind, seed=0) for name in ("one", "two", "three")]
    if kind == "finetune":
        for run in runs:
            keep(run, GOOD if run.name == "one" else BAD)
    page = render(page_of(compare_runs(runs)), language)
    assert page.count("<svg") >= 2 and "one · two · three" in page
    if kind == "finetune":
        assert {"en": "“one” is better than “two”", "zh": "“one”优于“two”"}[language] in page
        assert re.search(r"p (is|值为) 0\.125", page)


def test_the_command_shows_tables_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(tuned(tmp_path / "one", GOOD)), str(tuned(tmp_path / "two", BAD, pretrained=False))]
    out = tmp_path / "compare.html"
    assert command(["compare", *runs, "--output", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "by 50.0" in shown and "pretrained" in shown and str(out) in shown
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert command(["compare", *runs, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["evaluation"]["differences"][0]["accuracy"]["value"] == 0.5


def test_the_command_reads_test_rows_as_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [str(tuned(tmp_path / "one")), str(tuned(tmp_path / "two"))]
    assert command(["compare", *runs, "--label-column", "topic"]) == 1
    assert "--test FILE" in capsys.readouterr().err
    asked = []

    def predictions_on(run: Path, file: Path, progress: object, reading: dict[str, str]) -> Predictions:
        asked.append(reading)
        return Predictions("classify", "label", "accuracy", str(file), "ef" * 32, ["a", "b"], ROWS, GOOD)

    monkeypatch.setattr(predictions, "predictions_on", predictions_on)
    test = tmp_path / "test.csv"
    test.write_text("body,topic\n")
    options = ["--text-column", "body", "--label-column", "topic", "--tag-column", "-1", "--on-error", "skip"]
    assert command(["compare", *runs, "--test", str(test), *options]) == 0
    reading = {"text_column": "body", "label_column": "topic", "tag_column": "-1", "on_error": "skip"}
    assert asked == [reading, reading]


def test_in_chinese_only_what_is_the_users_own_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, predicted in (("one", GOOD), ("two", BAD)):
        write_trained(tmp_path / name / "pretrain", seed=ord(name[0]))
        tuned(tmp_path / name / "finetune", predicted)
        files.write_json(tmp_path / name / "results.json", synthetic_results())
    assert command(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--lang", "zh"]) == 0
    shown = capsys.readouterr().out
    own = {"one", "two", "seed", "F", "test", "csv", "McNemar", "p"}
    assert set(re.findall("[A-Za-z]+", shown)) == own
    assert "预训练：seed" in shown and "微调 " in shown and "8 条样本" in shown


@pytest.mark.parametrize(("language", "said"), [("en", "3 sentences of test.conll"), ("zh", "test.conll 的 3 条句子")])
def test_sentences_are_not_called_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], language: str, said: str
) -> None:
    runs = []
    for name, spans in (("one", [(0, 2, "PER")]), ("two", [])):
        runs.append(str(tuned(tmp_path / name, task={"name": "tag"})))
        truth = [[(0, 2, "PER")]] * 3
        kept = Predictions("tag", "tags", "entity_f1", "test.conll", "ab" * 32, ["PER"], truth, [spans] * 3)
        kept.save(tmp_path / name)
    assert command(["compare", *runs, "--lang", language]) == 0
    assert said in capsys.readouterr().out
