"""Question answering from the command line and from Python: finetune, evaluate, predict, report, compare."""

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import pytest

import unmask
from errors import refused
from reading import questions_of
from unmask.console import SILENT
from unmask.metrics import values
from unmask.train.finetune import finetune

FAST = ["task.max_length=24", "train.budget=1 epochs", "train.optimizer.lr=0.01"]


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def answerer(pretrained: Path, doubtful_questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a model that may say that there is no answer."""
    out = tmp_path_factory.mktemp("runs") / "answerer"
    return finetune(
        None, FAST, task="answer", model=pretrained, train=doubtful_questions, output=out, progress=SILENT
    ).folder


def test_finetune_test_report_and_compare(command, pretrained: Path, questions: Path, tmp_path: Path) -> None:
    asked = ["finetune", "--model", pretrained, "--task", "answer", "--train", questions, "--test", questions]
    done = command(*asked, "--output", tmp_path / "run", *FAST)
    assert done.code == 0 and "dev F1" in done.err
    assert "48 test questions" in done.out and "exact match, % [95 %]" in done.out
    assert "the words beside those of the question" in done.out
    told = json.loads(command(*asked, "--output", tmp_path / "run", *FAST, "--json").out)
    assert told["metric"] == "answer.answer_f1" and told["train_rows"] + told["dev_rows"] == 48
    assert told["dev_rows"] % 3 == 0, "questions on one context are not parted"
    assert [model["kind"] for model in told["test"]["models"]] == ["pretrained", "overlap"]
    (kept,) = (tmp_path / "run" / "predictions").iterdir()
    about, *rows = lines(kept.read_text())
    assert len(rows) == 48 and all(row["label"]["answers"] for row in rows)
    assert about["samples"] and {"question", "text", "spans", "predicted"} <= about["samples"][0].keys()

    page = tmp_path / "report.html"
    told_by = {
        "en": ["F1", "Exact match", "Real test questions", "river what?"],
        "zh": ["完全匹配", "真实的测试问题"],
    }
    for lang, words in told_by.items():
        assert command("report", tmp_path / "run", "--output", page, "--lang", lang).code == 0
        shown = page.read_text()
        assert all(word in shown for word in words)

    command(*asked, "--output", tmp_path / "other", *FAST, "seed=1")
    compared = command("compare", tmp_path / "run", tmp_path / "other")
    assert compared.code == 0 and "F1, % [95 %]" in compared.out and "48 questions" in compared.out


def test_evaluate_and_predict_agree(command, answerer: Path, doubtful_questions: Path, tmp_path: Path) -> None:
    told = json.loads(command("evaluate", answerer, doubtful_questions, "--json").out)
    assert {part["part"] for part in told["parts"]} == {"with an answer", "without an answer"}
    shown = command("evaluate", answerer, doubtful_questions)
    assert "exact match" in shown.out and "without an answer" in shown.out and "in brackets 95 %" in shown.out

    said = lines(command("predict", answerer, doubtful_questions).out)
    examples = questions_of(doubtful_questions)
    assert [row["id"] for row in said] == [example.id for example in examples]
    for row, example in zip(said, examples, strict=True):
        if row["answer"]:
            assert example.pair[row["start"] : row["end"]] == row["answer"] and 0 < row["score"] <= 1
        else:
            assert row["start"] is None and row["end"] is None
    reference = [{"answers": [a.text for a in one.answers], "language": "en"} for one in examples]
    found = values("answers", reference, [row["answer"] for row in said])
    assert found == pytest.approx({name: told[name]["value"] for name in ("answer_f1", "exact_match")})

    every = lines(command("predict", answerer, doubtful_questions, "--all").out)
    assert [row["answer"] for row in every] == [row["answers"][0]["text"] for row in every]
    assert all(any(one["text"] == "" for one in row["answers"]) for row in every) or all(
        len(row["answers"]) == 5 for row in every
    )
    for most in (1, 2, 7):
        several = lines(command("predict", answerer, doubtful_questions, "--top-k", most).out)
        for row, other in zip(several, every, strict=True):
            assert row["answers"][:5] == other["answers"][:most]
            assert len(row["answers"]) <= most and (most < 5) <= (len(row["answers"]) == most)

    rows = tmp_path / "rows.jsonl"
    asked = [{"id": e.id, "question": e.text, "context": e.pair} for e in examples]
    rows.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    assert [row["answer"] for row in lines(command("predict", answerer, rows).out)] == [row["answer"] for row in said]
    table = list(csv.DictReader(io.StringIO(command("predict", answerer, rows, "--format", "csv").out)))
    assert [row["answer"] for row in table] == [row["answer"] for row in said]
    assert "probability" in command("predict", answerer, rows, "--format", "table").out


def test_a_question_and_its_context_from_python(answerer: Path, doubtful_questions: Path) -> None:
    model = unmask.load(answerer)
    example = questions_of(doubtful_questions)[4]
    found = model(example.text, example.pair)
    assert found == model([(example.text, example.pair)])[0] == model.predict([example])[0][0]
    assert found.text == example.pair[found.start : found.end] and bool(found) == bool(found.text)
    with refused("who", "(question, context)"):
        model("who")


def test_a_public_folder_answers_alike(command, pretrained: Path, questions: Path, tmp_path: Path) -> None:
    """Without what is ours alone, as other libraries write it, a model is read as one that answers."""
    out = tmp_path / "run"
    run = finetune(None, FAST, task="answer", model=pretrained, train=questions, output=out, progress=SILENT)
    public = tmp_path / "public"
    shutil.copytree(run.model, public)
    (public / "unmask.json").unlink()
    examples = questions_of(questions)
    said = lines(command("predict", public, questions).out)
    whole = unmask.load(run.model)
    whole.task.settings = dataclasses.replace(whole.task.settings, max_length=32)  # the positions of the model
    assert [row["answer"] for row in said] == [found[0].text for found in whole.predict(examples)]


def test_what_cannot_be_used_is_said_before_training(command, pretrained: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"question": "Who?", "context": "The river.", "answer": "stone"}\n')
    asked = [
        "finetune",
        "--model",
        pretrained,
        "--task",
        "answer",
        "--train",
        path,
        "--output",
        tmp_path / "run",
    ]
    done = command(*asked, *FAST)
    assert done.code == 1 and f"{path}, line 1" in done.err and "stone" in done.err
    path.write_text("just a line\n")
    done = command(*asked, *FAST)
    assert done.code == 1
    done = command(*asked, "task.max_length=4000")
    assert done.code == 1
