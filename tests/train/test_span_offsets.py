"""Fine-tuning on spans whose offsets are not characters: what they mean is learnt, or the run does not begin."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import unmask
from errors import refused
from unmask import files
from unmask.console import SILENT
from unmask.train.finetune import finetune

SETTINGS = ["train.budget=120 steps", "train.optimizer.lr=0.02", "task.max_length=32", "train.evaluations=2"]
SMALL = ["train.budget=1 steps", "task.max_length=32"]


def sentences(count: int = 48) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Texts with emoji before their spans: `captain` is a PERSON, `river` and the word after it a PLACE."""
    draw, rows = random.Random(12), []
    for _ in range(count):
        words = draw.choices(["winter", "letter", "garden", "stone"], k=5)
        words[1], words[3] = "captain", "river"
        words.insert(draw.choice([0, 2]), draw.choice(["\U0001f600", "\U0001f469\u200d\U0001f692"]))
        text = "\U0001f600 " + " ".join(words) + " in the morning"
        spans = [(text.index("captain"), text.index("captain") + 7, "PERSON")]
        end = text.index(" ", text.index("river ") + 6)
        rows.append((text, [*spans, (text.index("river"), end, "PLACE")]))
    return rows


def units(text: str, place: int) -> int:
    return len(text[:place].encode("utf-16-le")) // 2


def doccano(path: Path, rows: list[tuple[str, list[tuple[int, int, str]]]]) -> Path:
    """Rows with offsets in UTF-16 units and nothing beside them."""
    lines = [
        json.dumps({"text": text, "label": [[units(text, a), units(text, b), label] for a, b, label in spans]})
        for text, spans in rows
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_an_export_in_utf_16_is_learnt(pretrained: Path, tmp_path: Path) -> None:
    rows, tasks = sentences(), list[Any]()
    for number, (text, spans) in enumerate(rows):
        values = [
            {"start": units(text, a), "end": units(text, b), "text": text[a:b], "labels": [label]}
            for a, b, label in spans
        ]
        results = [{"from_name": "ner", "type": "labels", "value": value} for value in values]
        tasks.append({"id": number, "data": {"text": text}, "annotations": [{"result": results}]})
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    run = finetune(
        overrides=SETTINGS, model=pretrained, task="tag", train=path, dev=path, output=tmp_path / "run", progress=SILENT
    )
    found = run.predictor().predict([text for text, _ in rows])
    assert [[(span.start, span.end, span.label) for span in one] for one in found] == [spans for _, spans in rows]
    assert run.best_score[1] == 1.0


@pytest.mark.parametrize("task", ["tag", "nested"])
def test_a_file_of_which_most_spans_fit_no_word_is_not_trained_on(pretrained: Path, tmp_path: Path, task: str) -> None:
    path = doccano(tmp_path / "doccano.jsonl", sentences())
    given: dict[str, Any] = {"model": pretrained, "task": task, "train": path, "output": tmp_path / "run"}
    with refused(path, "line", "data.span_offsets=utf-16"):
        finetune(overrides=SMALL, progress=SILENT, **given)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    run = finetune(overrides=[*SMALL, "data.span_offsets=utf-16"], progress=SILENT, **given)
    assert files.read_object(run.model / "unmask.json")["reading"]["span_offsets"] == "utf-16"
    model = unmask.load(run.model)
    read = [[(one.start, one.end, one.label) for one in row.spans or ()] for row in model.read(path).examples]
    assert read == [spans for _, spans in sentences()]
    cut = model.read(tmp_path / "run" / "split" / "dev.jsonl")
    assert not cut.notes and {row.text[one.start : one.end] for row in cut.examples for one in row.spans or ()} <= {
        text[a:b] for text, spans in sentences() for a, b, _ in spans
    }


@pytest.mark.parametrize("part", ["dev", "test"])
def test_other_files_are_looked_at_as_well(pretrained: Path, tmp_path: Path, part: str) -> None:
    fine = tmp_path / "train.jsonl"
    rows = sentences()
    fine.write_text("\n".join(json.dumps({"text": text, "spans": spans}) for text, spans in rows), encoding="utf-8")
    given: dict[str, Any] = {"model": pretrained, "task": "tag", "train": fine, "output": tmp_path / "run"}
    given[part] = doccano(tmp_path / "other.jsonl", rows[:9])
    with refused(given[part], "18 of 18", "data.span_offsets=utf-16"):
        finetune(overrides=SMALL, progress=SILENT, **given)


def test_a_few_spans_that_do_not_fit_are_noted(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [(f"{number} captain winter", [(len(f"{number} "), len(f"{number} captain"), "X")]) for number in range(40)]
    path = doccano(tmp_path / "rows.jsonl", [*plain, *sentences(5)])
    finetune(overrides=SMALL, model=pretrained, task="tag", train=path, output=tmp_path / "run", progress=SILENT)
    shown = capsys.readouterr().err
    assert "not aligned" in shown and "data.span_offsets=utf-16" in shown
