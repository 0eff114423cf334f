"""Classification of texts longer than `length`: windows, each with the label of its text, put together again."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from task_helpers import rows_of
from unmask.console import SILENT
from unmask.data.rows.example import Example
from unmask.runtime import backend as module
from unmask.tasks.classify import Classify, ClassifyTask
from unmask.tasks.task import outputs_of
from unmask.text.tokenizer import Tokenizer
from unmask.train.finetune import finetune

LONG = "river stone bridge lantern winter harbour " * 6


def example(text: str, label: str | None = "a", pair: str | None = None) -> Example:
    return Example(text, pair, label, "0", 2, "rows.csv")


def task_of(tokenizer: Tokenizer, **settings: object) -> ClassifyTask:
    return ClassifyTask(Classify(**settings), tokenizer, ["a", "b", "c"])


def test_short_texts_are_the_same_with_windows_and_without(tokenizer: Tokenizer) -> None:
    examples = [example("river stone"), example("captain", "b", "lantern winter"), example("bridge", None)]
    cut, read = (task_of(tokenizer, max_length=64, long_texts=long) for long in ("truncate", "windows"))
    for one, other in zip(rows_of(cut, examples), rows_of(read, examples), strict=True):
        assert (
            one.input_ids.tolist() == other.input_ids.tolist()
            and one.token_type_ids.tolist() == other.token_type_ids.tolist()
        )
        assert one.flags.tolist() == other.flags.tolist() and one.targets == other.targets
    assert cut.encode(examples)[1].truncated == read.encode(examples)[1].truncated == 0


def test_a_long_text_is_several_rows_of_one_owner_with_its_label(tokenizer: Tokenizer) -> None:
    task = task_of(tokenizer, max_length=16, long_texts="windows", stride=7)
    rows = rows_of(task, [example("river", "b"), example(LONG, "c"), example("stone", "a")])
    owners = [row.owner for row in rows]
    assert owners == sorted(owners) and set(owners) == {0, 1, 2} and owners.count(1) > 2
    assert {int(row.targets["classify"][0]) for row in rows if row.owner == 1} == {2}
    assert task.encode([example(LONG, "c")])[1].truncated == 0 and max(len(row.input_ids) for row in rows) <= 16


def test_of_a_pair_the_longer_text_is_read_in_windows(tokenizer: Tokenizer) -> None:
    task = task_of(tokenizer, max_length=24, long_texts="windows")
    for pair in ((LONG, "captain"), ("captain", LONG)):
        rows = rows_of(task, [example(pair[0], "a", pair[1])])
        beside = tokenizer.encode("captain").input_ids[1:-1]
        for row in rows:
            segment = 1 if pair[0] == LONG else 0
            assert row.input_ids[(row.token_type_ids == segment) & (row.flags == 0)].tolist() == beside
    _, notes = task.encode([example(LONG, "a", LONG)])
    assert notes.truncated == 1, "the shorter of two long texts is cut"


@given(st.lists(st.tuples(st.floats(-4, 4), st.floats(-4, 4), st.floats(-4, 4)), min_size=2, max_size=6))
def test_windows_are_put_together_as_the_formula_says(
    tokenizer: Tokenizer, logits: list[tuple[float, float, float]]
) -> None:
    """softmax of the mean of the logits; the same whatever constant each window adds to its own."""
    task = task_of(tokenizer, max_length=16, long_texts="windows", stride=7)
    rows = rows_of(task, [example(LONG)])[: len(logits)]
    count = len(rows)
    mean = [sum(row[label] for row in logits[:count]) / count for label in range(3)]
    total = sum(map(math.exp, mean))
    values = [np.array(row, dtype=np.float32) for row in logits[:count]]
    (found,) = task.decode(outputs_of([example(LONG)], rows, values), {})
    scores = {label.label: label.score for label in found}
    assert [scores[name] for name in "abc"] == pytest.approx([math.exp(x) / total for x in mean], rel=1e-4)


def test_a_stride_that_leaves_tokens_out_is_refused() -> None:
    with refused("stride 15", kind=ValueError):
        Classify(max_length=16, stride=15, long_texts="windows")


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 texts that a word near their end tells apart."""
    path = tmp_path_factory.mktemp("late") / "rows.csv"
    filler = "winter harbour captain letter garden window " * 2
    rows = [
        f"{filler}{('river', 'mountain')[number % 2]} {filler.split()[number % 6]},{('water', 'stone')[number % 2]}"
        for number in range(60)
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


def test_what_stands_beyond_the_length_is_learnt_in_windows_alone(
    pretrained: Path, late: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = ["task.max_length=32", "train.budget=120 steps", "train.evaluations=2", "train.optimizer.lr=0.01"]
    found: dict[str, float] = {}
    for long in ("truncate", "windows"):
        run = finetune(
            None,
            [*fast, f"task.long_texts={long}"],
            model=pretrained,
            train=late,
            output=tmp_path / long,
            progress=SILENT,
        )
        found[long] = run.predictor().evaluate(late).figures["accuracy"].value
        assert (run.truncated > 0) == (long == "truncate")
    assert found["windows"] > 0.9 > 0.7 > found["truncate"]
    predictor = run.predictor()
    texts = [row.split(",")[0] for row in late.read_text().splitlines()[1:9]]
    together = predictor.predict(texts)
    monkeypatch.setattr(module, "TOKENS_PER_BATCH", 30)  # windows of one text in several batches
    for one, other in zip(together, predictor.predict(texts), strict=True):
        assert [label.score for label in one] == pytest.approx([label.score for label in other], abs=1e-5)
    assert dataclasses.asdict(predictor.task.settings)["long_texts"] == "windows"
