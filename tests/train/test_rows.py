"""The rows of a run: parts that do not leak, what is found in given ones, rows that a program gave."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import refused
from reading import examples_of, tagged_of
from unmask import bundle, files
from unmask.config import read_yaml
from unmask.console import SILENT
from unmask.data.rows.example import Example, Labels
from unmask.data.rows.leaks import key_of
from unmask.data.rows.write import write_rows
from unmask.errors import UserError
from unmask.train import rows as module
from unmask.train.finetune import finetune
from unmask.train.recipe import FinetuneRecipe, RowsConfig, parse_recipe
from unmask.train.rows import prepare_rows

FAST = ["train.budget=2 steps", "task.max_length=16", "train.evaluations=1"]


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in rows), encoding="utf-8")
    return str(path)


ROWS = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: f"Text {n}") | st.just("text 7"), st.sampled_from("aaabbc")),
    min_size=40,
    max_size=90,
)


@given(
    rows=ROWS,
    seed=st.integers(0, 9),
    shares=st.tuples(st.floats(0.1, 0.4), st.floats(0.1, 0.4)),
    data=st.data(),
)
def test_parts_are_disjoint_cover_all_and_do_not_hang_on_the_order(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    seed: int,
    shares: tuple[float, float],
    data: st.DataObject,
) -> None:
    asked = RowsConfig(train=write(tmp_path / "a.jsonl", rows), dev_share=shares[0], test_share=shares[1])
    try:
        found = prepare_rows(asked, seed)
    except UserError as error:
        assert "too few" in error.message
        return
    assert found.test is not None
    parts = [found.train, found.dev, found.test]
    assert sorted((e.text, e.label) for part in parts for e in part) == sorted(rows)
    keys = [{key_of(example) for example in part} for part in parts]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    labels = [{example.label for example in part} for part in parts]
    assert labels[1] | labels[2] <= labels[0], "nothing is asked that was not learnt"
    write(tmp_path / "a.jsonl", data.draw(st.permutations(rows)))
    again = prepare_rows(asked, seed)
    for part, other in ((again.train, found.train), (again.dev, found.dev), (again.test or [], found.test)):
        assert sorted((e.text, e.label) for e in part) == sorted((e.text, e.label) for e in other)


def test_shares_are_what_was_asked_for_in_every_label(tmp_path: Path) -> None:
    rows = [(f"{label} {number}", label) for label in "ab" for number in range(200)]
    asked = RowsConfig(train=write(tmp_path / "a.jsonl", rows), dev_share=0.25, test_share=0.2)
    found = prepare_rows(asked, 0)
    for part, share in ((found.test or [], 0.2), (found.dev, 0.2), (found.train, 0.6)):
        assert [sum(e.label == label for e in part) for label in "ab"] == [round(200 * share)] * 2


def leaking(tmp_path: Path, **settings: str) -> RowsConfig:
    train = [("One", "a"), ("two", "b"), ("three", "a"), ("TWO", "b"), ("five", "a"), ("six", "b")]
    train += [("same", "a"), ("Same ", "b")]
    return RowsConfig(
        train=write(tmp_path / "train.jsonl", train),
        dev=write(tmp_path / "dev.jsonl", [("new", "a"), ("six", "b")]),
        test=write(tmp_path / "test.jsonl", [("one", "a"), ("ｔｗｏ", "b"), ("unseen", "a"), (" One", "a")]),
        **settings,  # type: ignore[arg-type]
    )


def test_leaks_are_noted_and_written_down(tmp_path: Path) -> None:
    found = prepare_rows(leaking(tmp_path), 0)
    said = "\n".join(found.notes)
    assert f"{tmp_path}/test.jsonl: 3 of 4 rows also occur in {tmp_path}/train.jsonl" in said
    assert f"{tmp_path}/dev.jsonl: 1 of 2 rows also occur in" in said and "data.leaks=drop" in said
    assert f"{tmp_path}/test.jsonl, line 1 and {tmp_path}/train.jsonl, line 1" in said
    assert f"{tmp_path}/train.jsonl: 2 rows have a text that also occurs with another label" in said
    assert len(found.train) == 8 and len(found.test or ()) == 4
    leaks = found.checked["leaks"]
    assert {name: (one["rows"], one["of"], one["train_rows"]) for name, one in leaks.items()} == {
        "dev": (1, 2, 1),
        "test": (3, 4, 3),
    }
    assert found.checked["contradictions"]["rows"] == 2 and "left_out" not in found.checked


def test_leaking_and_contradicting_rows_are_left_out_of_training(tmp_path: Path) -> None:
    found = prepare_rows(leaking(tmp_path, leaks="drop"), 0)
    assert [e.text for e in found.train] == ["three", "five", "same", "Same "]
    assert found.checked["dropped"] == 4 and len(found.test or ()) == 4 and len(found.dev) == 2
    with refused(tmp_path, ", line ", '"b"'):
        prepare_rows(leaking(tmp_path, leaks="drop", contradictions="drop"), 0)  # no b is left to learn


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"leaks": "stop"}, "data.leaks=drop"), ({"contradictions": "stop"}, "data.contradictions=drop")],
)
def test_or_they_are_an_error(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    with refused(tmp_path / "train.jsonl", ", line ", said):
        prepare_rows(leaking(tmp_path, **settings), 0)


def test_a_test_file_and_a_share_for_one_are_one_too_many() -> None:
    values = {"init_from": "m", "data": {"train": "a.csv", "test": "b.csv", "test_share": 0.1}}
    with refused("the settings given", "data: ", "test_share"):
        parse_recipe(FinetuneRecipe, values, [], "the settings given")


def test_what_is_written_is_read_again_as_it_was(tmp_path: Path) -> None:
    rows = [
        Example("one", "two", "x", "7", 3, "a.csv", "g"),
        Example("eins", "zwei", "y", "8", 4, "a.csv"),
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    read = examples_of(tmp_path / "pairs.jsonl")
    assert [(e.id, e.text, e.pair, e.label, e.group) for e in read] == [
        (e.id, e.text, e.pair, e.label, e.group) for e in rows
    ]
    several = Example("t", None, Labels(("a", "b")), "1", 1, "f")
    write_rows(tmp_path / "labels.jsonl", [several, replace(several, target=Labels())])
    assert [e.label_set for e in examples_of(tmp_path / "labels.jsonl", "labels")] == [("a", "b"), ()]
    write_rows(tmp_path / "numbers.jsonl", [replace(several, target=2.5)])
    assert examples_of(tmp_path / "numbers.jsonl", "number")[0].number == 2.5
    conll = tmp_path / "a.conll"
    conll.write_text("Ada\tB-PER\nlives\tO\n\n北\tB-LOC\n京\tI-LOC\n", encoding="utf-8")
    tagged = tagged_of(conll).examples
    write_rows(tmp_path / "spans.jsonl", tagged)
    again = tagged_of(tmp_path / "spans.jsonl").examples
    assert [(e.text, e.spans, e.tokens) for e in again] == [(e.text, e.spans, e.tokens) for e in tagged]


def test_a_run_writes_what_it_cut(pretrained: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = [*FAST, "data.test_share=0.25"]
    done = finetune(overrides=settings, model=pretrained, train=table, output=out, progress=SILENT)
    parts = {name: examples_of(out / "split" / f"{name}.jsonl") for name in ("train", "dev", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 54, "dev": 6, "test": 20}
    assert (done.train_rows, done.dev_rows) == (54, 6)
    every = [(e.text, e.label) for e in examples_of(table)]
    assert sorted((e.text, e.label) for part in parts.values() for e in part) == sorted(every)
    data = parse_recipe(FinetuneRecipe, recipe_in(out), [], "recipe").data
    assert module.test_file(data, out) == out / "split" / "test.jsonl"


def recipe_in(run: Path) -> dict[str, object]:
    values: dict[str, object] = read_yaml(run / "recipe.yaml")
    return values


def test_rows_in_memory_are_those_of_a_file(pretrained: Path, table: Path, tmp_path: Path) -> None:
    rows = [{"text": example.text, "label": example.label} for example in examples_of(table)]
    out = tmp_path / "memory"
    ours = finetune(overrides=FAST, model=pretrained, train=rows, output=out, progress=SILENT)
    theirs = finetune(overrides=FAST, model=pretrained, train=table, output=tmp_path / "file", progress=SILENT)
    assert ours.dev == theirs.dev
    assert recipe_in(out)["data"]["train"] == str(out / "input" / "train.jsonl")  # type: ignore[index]
    assert files.read_jsonl(out / "input" / "train.jsonl") == rows
    assert ours.predictor().evaluate(rows).to_dict() == ours.predictor().evaluate(table).to_dict()
    again = finetune(out / "recipe.yaml", output=tmp_path / "again", progress=SILENT)
    assert again.dev == ours.dev, "the recipe is complete"


def test_a_run_begun_with_other_rows_is_refused(
    pretrained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": example.text, "label": example.label} for example in examples_of(table)]
    out = tmp_path / "run"
    asked = {"overrides": FAST, "model": pretrained, "output": out, "progress": SILENT}
    with monkeypatch.context() as patched:
        patched.setattr(bundle, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune(train=rows, **asked)  # type: ignore[arg-type]
    with refused(out) as caught:
        finetune(train=rows[1:], **asked)  # type: ignore[arg-type]
    assert caught.value.facts["given"] == "train"
    assert finetune(train=rows, **asked).steps == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(("leaks", "hangs"), [("warn", False), ("drop", True)])
def test_another_test_file_may_be_given_later_unless_training_hangs_on_it(
    pretrained: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaks: str, hangs: bool
) -> None:
    test = write(tmp_path / "test.jsonl", [("river river", "water")])
    asked = {
        "overrides": [*FAST, f"data.leaks={leaks}"],
        "model": pretrained,
        "train": table,
        "progress": SILENT,
    }
    with monkeypatch.context() as patched:
        patched.setattr(bundle, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune(output=tmp_path / "run", **asked)  # type: ignore[arg-type]
    if hangs:
        with refused(tmp_path / "run") as caught:
            finetune(test=test, output=tmp_path / "run", **asked)  # type: ignore[arg-type]
        assert caught.value.facts["given"] == "test"
    else:
        assert finetune(test=test, output=tmp_path / "run", **asked).steps == 2  # type: ignore[arg-type]


def test_tags_are_cut_like_labels(tmp_path: Path) -> None:
    sentences = "\n\n".join(f"word{number}\tB-X\nis\tO" for number in range(20))
    path = tmp_path / "a.conll"
    path.write_text(sentences + "\n", encoding="utf-8")
    found = prepare_rows(RowsConfig(train=str(path), test_share=0.2), 0, "tags")
    assert len(found.test or ()) == 4 and len(found.train) + len(found.dev) == 16


def test_a_text_with_two_labels_is_not_divided_for_the_sake_of_one(tmp_path: Path) -> None:
    """The only row with the label `rare` stands beside others of its text, which must go with it."""
    rows = [("both", "a"), ("both", "a"), ("both", "rare"), *((f"t {n}", "a") for n in range(9))]
    for seed in range(12):
        asked = RowsConfig(train=write(tmp_path / "a.jsonl", rows), dev_share=0.3)
        found = prepare_rows(asked, seed)
        assert not {e.text for e in found.train} & {e.text for e in found.dev}
        assert "rare" in {e.label for e in found.train}
