"""Rows are read once in a run, and a model reads other rows as those that it was trained on."""

import io
from collections import Counter
from pathlib import Path

import pytest

from errors import refused
from unmask import files
from unmask.runtime.predictor import load

FAST = ["task.max_length=16", "train.budget=2 steps", "train.evaluations=1"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened, by name."""
    counts: Counter[str] = Counter()
    original = io.open

    def counting(file: object, *arguments: object, **named: object) -> object:
        counts[Path(str(file)).name] += 1
        return original(file, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", counting)  # Path.open calls it
    monkeypatch.setattr("builtins.open", counting)
    return counts


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


LABELLED = [
    f"{text} {number},{label}" for number in range(12) for text, label in (("river", "water"), ("wall", "stone"))
]


@pytest.mark.parametrize("share", [False, True])
def test_each_file_is_opened_once(command, pretrained: Path, tmp_path: Path, opened: Counter[str], share: bool) -> None:
    train = table(tmp_path / "rows_train.csv", "text,label", *LABELLED)
    dev = table(tmp_path / "rows_dev.csv", "text,label", *LABELLED[:4])
    test = table(tmp_path / "rows_test.csv", "text,label", *LABELLED[4:9])
    held = ["data.test_share=0.25"] if share else ["--test", test, "--dev", dev]
    opened.clear()
    done = command("finetune", "--model", pretrained, "--train", train, *held, "--output", tmp_path / "run", *FAST)
    assert done.code == 0
    counts = {name: count for name, count in opened.items() if name.startswith("rows_")}
    assert counts == {train.name: 1} if share else {one.name: 1 for one in (train, dev, test)}
    assert done.err.count("also occur in") == (0 if share else 2), "and what is noted is noted once"


def test_a_model_reads_as_it_was_trained(command, pretrained: Path, tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", "label,title,topic", *(f"x,{row}" for row in LABELLED))
    out = tmp_path / "run"
    asked = ["finetune", "--model", pretrained, "--train", train, "--output", out, *FAST]
    assert command(*asked, "--label-column", "topic", "data.on_error=skip").code == 0
    assert files.read_json(out / "model" / "unmask.json")["reading"] == {
        "text_column": "title",
        "label_column": "topic",
        "on_error": "skip",
        "pairs": False,
    }
    model = load(out)
    test = table(tmp_path / "test.csv", "label,title,topic", "x,river,water", "x,,stone", "x,wall,stone")
    rows = model.read(test)
    assert [example.label for example in rows.examples] == ["water", "stone"]
    assert [e.label for e in model.read(test, label_column="label", unknown_labels="wrong").examples] == ["x", "x"]
    with refused(f"{test}, line 3"):
        model.read(test, on_error="stop")
    # columns that were named for the training rows need not be there
    other = table(tmp_path / "other.csv", "text,label", "river,water")
    assert [example.label for example in model.read(other).examples] == ["water"]
    assert [example.text for example in model.read(other, "predict").examples] == ["river"]
    said = command("predict", out, other).err
    assert "'title'" in said and "'text'" in said, "what is read instead is noted"
    plain = table(tmp_path / "plain.txt", "a river", "a wall")
    done = command("predict", out, plain)
    assert done.code == 0 and "title" not in done.err
    shown = command("evaluate", out, test, "data.label_column=label", "data.unknown_labels=wrong", "--json")
    assert shown.code == 0 and '"unknown_labels": ["x"]' in shown.out
    wrong = command("evaluate", out, test, "data.labels_column=label")
    assert wrong.code == 1 and "data.labels_column" in wrong.err and "label_column?" in wrong.err


@pytest.mark.parametrize("options", [["--text-column", "title", "--label-column", "topic"], []])
def test_columns_of_training_are_read_again_without_options(
    command, pretrained: Path, tmp_path: Path, options: list[str]
) -> None:
    train = table(tmp_path / "train.csv", "title,topic", *LABELLED)
    test = table(
        tmp_path / "test.csv", "text,label,title,topic", *(f"wall {n},stone,{row}" for n, row in enumerate(LABELLED))
    )
    out = tmp_path / "run"
    assert command("finetune", "--model", pretrained, "--train", train, "--output", out, *options, *FAST).code == 0
    named = ["--text-column", "title"]
    assert (
        command("evaluate", out, test, "--json").out
        == command("evaluate", out, test, *named, "--label-column", "topic", "--json").out
    )
    assert command("predict", out, test).out == command("predict", out, test, *named).out != ""
    model = load(out)
    assert [one.text for one in model.read(test).examples] == [row.partition(",")[0] for row in LABELLED]
    assert model.evaluate(test) == model.evaluate(test, text_column="title", label_column="topic")


def test_several_labels_are_separated_as_in_training(command, pretrained: Path, tmp_path: Path) -> None:
    labels = ["water|big, wide", "stone", "stone|water", "big, wide"]
    train = table(tmp_path / "train.tsv", "text\ttags", *(f"river {n}\t{labels[n % 4]}" for n in range(40)))
    out = tmp_path / "run"
    asked = ["finetune", "--model", pretrained, "--train", train, "--output", out, "--task", "multilabel", *FAST]
    assert command(*asked, "--label-column", "tags").code == 0
    assert files.read_json(out / "model" / "unmask.json")["reading"]["label_separator"] == "|"
    test = table(
        tmp_path / "test.tsv", "text\ttags", "a wall\tstone|water", "sea\tbig, wide", "both\tstone, water|stone"
    )
    with refused(test, "line 4", "stone, water"):
        load(out).read(test)
    other = table(tmp_path / "other.tsv", "text\ttags", "a wall\tstone;water", "a wall\tstone")
    assert [example.labels for example in load(out).read(other).examples] == [{"stone", "water"}, {"stone"}]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-16"])
def test_the_encoding_of_training_is_that_of_files_that_are_not_unicode(
    command, pretrained: Path, tmp_path: Path, encoding: str
) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\n" + "".join(f"é{row}\n" for row in LABELLED), encoding="cp1252")
    test.write_text("text,label\nLés rivières,water\n", encoding=encoding)
    out = tmp_path / "run"
    asked = ["finetune", "--model", pretrained, "--train", train, "--output", out, *FAST]
    assert command(*asked, "--encoding", "cp1252").code == 0
    rows = load(out).read(test)
    assert [one.text for one in rows.examples] == ["Lés rivières"]
    assert any("CP1252" in note.upper() for note in rows.notes) == (encoding != "cp1252")
    assert command("predict", out, test).code == 0


def test_a_model_of_single_texts_reads_the_first_of_two_and_says_so(command, pretrained: Path, tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", "text,label", *LABELLED)
    out = tmp_path / "run"
    assert command("finetune", "--model", pretrained, "--train", train, "--output", out, *FAST).code == 0
    both = table(tmp_path / "both.csv", "premise,hypothesis,label", "river,a wall,water")
    rows = load(out).read(both)
    assert [(one.text, one.pair) for one in rows.examples] == [("river", None)]
    assert any("single texts" in note for note in rows.notes)
    three = table(tmp_path / "three.csv", "text_a,text_b,text,label", "x,y,river,water")
    assert [(one.text, one.pair) for one in load(out).read(three).examples] == [("river", None)]


def test_a_model_of_pairs_refuses_single_texts(command, pretrained: Path, tmp_path: Path) -> None:
    pairs = [f"{row.partition(',')[0]},other,{row.partition(',')[2]}" for row in LABELLED]
    train = table(tmp_path / "train.csv", "premise,hypothesis,label", *pairs)
    out = tmp_path / "run"
    assert command("finetune", "--model", pretrained, "--train", train, "--output", out, *FAST).code == 0
    assert files.read_json(out / "model" / "unmask.json")["reading"] == {
        "text_column": "premise",
        "pair_column": "hypothesis",
        "label_column": "label",
        "pairs": True,
    }
    model = load(out)
    assert model("river", "other").label in ("water", "stone")
    with refused("line 1", "--pair-column"):
        model("river")
    single = table(tmp_path / "single.csv", "text,label", "river,water")
    for asked in (["evaluate", out, single], ["predict", out, single]):
        done = command(*asked)
        assert done.code == 1 and f"{single}, line 2" in done.err and "--pair-column" in done.err


def test_plain_tags_are_read_as_plain_again(command, pretrained: Path, tmp_path: Path) -> None:
    sentences = "\n\n".join(f"word{n}\tN\nis\tV\nI-x\tB" for n in range(9))
    train = table(tmp_path / "train.conll", sentences)
    out = tmp_path / "run"
    assert command("finetune", "tag", "--model", pretrained, "--train", train, "--output", out, *FAST).code == 0
    assert files.read_json(out / "model" / "unmask.json")["reading"]["scheme"] == "plain"
    test = table(tmp_path / "test.conll", "I-x\tB")  # alone this would be the letter of a scheme
    assert load(out).read(test).examples[0].labels == {"B"}
