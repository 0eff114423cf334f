"""Sequence labelling from the command line: finetune, evaluate, predict; and what is wrong with files."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

import unmask
from reading import labels_of, tagged_of
from unmask.console import SILENT
from unmask.train.finetune import finetune

FAST = ["task.max_length=16", "train.budget=2 epochs", "train.optimizer.lr=0.01"]


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def tagger(pretrained: Path, tagged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a run that has learnt its two kinds of spans."""
    settings = ["task.max_length=16", "train.budget=120 steps", "train.optimizer.lr=0.02", "dropout=0"]
    out = tmp_path_factory.mktemp("runs") / "tagger"
    data = {"model": pretrained, "train": tagged, "dev": tagged, "output": out}
    return finetune(None, settings, task="tag", progress=SILENT, **data).model


@pytest.mark.parametrize(
    "settings", [["task.decoder=softmax"], ["task.decoder=crf"], ["task.decoder=crf", "task.wide=true"]]
)
def test_finetune_and_test(command, pretrained: Path, tagged: Path, tmp_path: Path, settings: list[str]) -> None:
    asked = ["finetune", "--model", pretrained, "--task", "tag", "--train", tagged, "--test", tagged]
    asked += ["--output", tmp_path / "run", *settings, *FAST]
    done = command(*asked)
    assert done.code == 0 and "BIO" in done.err
    assert "dev F1" in done.err, done.err
    assert "60 test sentences" in done.out and "F1, % [95 %]" in done.out
    assert "most frequent tag of each word" in done.out
    told = json.loads(command(*asked, "--json").out)
    assert told["metric"] == "tag.entity_f1" and told["train_rows"] + told["dev_rows"] == 60
    assert [model["kind"] for model in told["test"]["models"]] == ["pretrained", "frequent"]
    assert told["test"]["differences"][0]["entity_f1"]["low"] is not None
    (kept,) = (tmp_path / "run" / "predictions").iterdir()
    assert len(kept.read_text().splitlines()) == 61


def test_columns_and_schemes_may_be_given(command, pretrained: Path, plain_tags: Path, tmp_path: Path) -> None:
    file = tmp_path / "three.txt"
    rows = [line.split("\t") for line in plain_tags.read_text().splitlines()]
    file.write_text("".join(f"{row[1]} x {row[0]}\n" if len(row) == 2 else "\n" for row in rows))
    asked = ["finetune", "--model", pretrained, "--task", "tag", "--train", file, "--output", tmp_path / "run"]
    asked += ["--token-column", "3", "--tag-column", "1", "--scheme", "plain", *FAST]
    done = command(*asked)
    assert done.code == 0 and "dev accuracy" in done.err
    kept = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "token_column: '3'" in kept and "scheme: plain" in kept
    told = json.loads((tmp_path / "run" / "model" / "unmask.json").read_text())["task"]
    assert (told["labels"], told["scheme"]) == (["NAME", "PAST", "THING"], "plain")
    shown = command("evaluate", tmp_path / "run", plain_tags)
    assert shown.code == 0 and "accuracy  " in shown.out and "tokens" in shown.out and "F1 [95 %]" in shown.out


def test_evaluate_counts_spans(command, tagger: Path, tagged: Path) -> None:
    told = json.loads(command("evaluate", tagger, tagged, "--json").out)
    gold = tagged_of(tagged).examples
    found = unmask.load(tagger).predict(gold)
    right = given = there = 0
    for example, spans in zip(gold, found, strict=True):
        said = {(span.start, span.end, span.label) for span in spans}
        true = {(span.start, span.end, span.label) for span in example.spans}
        right, given, there = right + len(said & true), given + len(said), there + len(true)
    assert told["entity_f1"]["value"] == pytest.approx(2 * right / (given + there)) and right > there / 2
    assert told["precision"]["value"] == pytest.approx(right / given)
    assert told["entities"] == there and {row["label"] for row in told["per_label"]} == {"PERSON", "PLACE"}
    shown = command("evaluate", tagger, tagged)
    assert "precision  " in shown.out and "recall" in shown.out and "F1  " in shown.out and "PLACE" in shown.out


def test_spans_that_cut_through_words_are_said_and_count_as_missed(command, tagger: Path, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    rows = [
        {"text": "the captain followed", "spans": [[4, 11, "PERSON"]]},
        {"text": "riverbank", "spans": [{"start": 0, "end": 5, "label": "PLACE"}]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("evaluate", tagger, file, "--json")
    assert done.code == 0 and json.loads(done.out)["entities"] == 2
    assert "1 of 2 spans" in done.err and "spans.jsonl, line 2" in done.err
    bare = command("predict", tagger, file)
    assert bare.code == 0 and "1 of 2 spans" not in bare.err


def test_predictions_of_running_text(command, tagger: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text("the captain followed\n\nwinter thunder\n")
    done = command("predict", tagger, file)
    first, second = lines(done.out)
    assert (first["id"], first["line"], second["line"]) == ("1", 1, 3)
    (span,) = [span for span in first["spans"] if span["label"] == "PERSON"]
    assert (span["text"], span["start"], span["end"]) == ("captain", 4, 11) and 0 < span["score"] <= 1
    model = unmask.load(tagger)
    assert [(s.label, s.start) for s in model("the captain followed")] == [
        (s["label"], s["start"]) for s in first["spans"]
    ]
    assert "LabelledSpan(label='PERSON', text='captain', start=4, end=11" in repr(model("the captain followed"))
    (tmp_path / "again.jsonl").write_text(done.out)
    labels = {s["label"] for row in (first, second) for s in row["spans"]}
    assert labels_of(tagged_of(tmp_path / "again.jsonl")) == sorted(labels)  # the form of training data


def test_predictions_of_conll_in_conll(command, tagger: Path, tagged: Path, tmp_path: Path) -> None:
    """Tokens come back as they were, with tags that the rules of BIO allow and that evaluate scores alike."""
    out = tmp_path / "said.conll"
    assert command("predict", tagger, tagged, "--output", out).code == 0
    before, after = tagged_of(tagged), tagged_of(out)
    assert "break the rules" not in "".join(after.notes)
    assert [e.text for e in before.examples] == [e.text for e in after.examples]
    told = json.loads(command("evaluate", tagger, out, "--json").out)
    assert told["entity_f1"]["value"] == 1.0
    bare = tmp_path / "bare.txt"
    bare.write_text("".join(line.partition("\t")[0] + "\n" for line in tagged.read_text().splitlines()))
    done = command("predict", tagger, bare, "--token-column", "1", "--format", "conll")
    assert done.out == out.read_text()


def test_predictions_as_a_table_of_spans(command, tagger: Path, tagged: Path) -> None:
    done = command("predict", tagger, tagged, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    whole = [(row["id"], span) for row in lines(command("predict", tagger, tagged).out) for span in row["spans"]]
    assert list(rows[0]) == ["id", "line", "label", "score", "start", "end", "text"]
    assert [(row["id"], row["label"], int(row["start"])) for row in rows] == [
        (name, span["label"], span["start"]) for name, span in whole
    ]
    shown = command("predict", tagger, tagged, "--format", "table")
    assert "probability" in shown.out and "PERSON" in shown.out and "captain" in shown.out


def test_blocks_do_not_change_the_predictions(command, tagger, tagged: Path, monkeypatch) -> None:
    whole = command("predict", tagger, tagged, "--format", "conll").out
    monkeypatch.setattr("unmask.runtime.predictor.BLOCK_ROWS", 3)
    monkeypatch.setattr("unmask.runtime.backend.TOKENS_PER_BATCH", 30)
    assert command("predict", tagger, tagged, "--format", "conll").out == whole


def test_mistakes(command, classifier: Path, tagger: Path, pretrained: Path, tagged: Path, tmp_path: Path) -> None:
    every = command("predict", tagger, tagged, "--all")
    assert every.code == 1 and "--all" in every.err
    assert command("predict", tagger, tagged, "--top-k", "2").code == 1
    form = command("predict", classifier, tagged, "--format", "conll")
    assert form.code == 1 and "--format conll" in form.err
    asked = ["finetune", "--model", pretrained, "--task", "tag", "--output", tmp_path / "run", *FAST]
    cases = {
        "river\tO\nstone\n": ", line 2",
        "": "empty",
        "\n\n": "white space",
        "river\nstone\n": "--tag-column",
        "river O\nstone O\n": "nothing",
    }
    for number, (text, what) in enumerate(cases.items()):
        file = tmp_path / f"{number}.conll"
        file.write_text(text)
        done = command(*asked, "--train", file, "--dev", tagged)
        assert done.code == 1 and str(file) in done.err and what in done.err.replace(str(file), "FILE"), what
    outside = tmp_path / "outside.conll"
    outside.write_text(tagged.read_text() + "river\tX-PLACE\n")
    done = command(*asked, "--train", outside)
    assert done.code == 1 and f"{outside}, line " in done.err and "'X-PLACE'" in done.err and "BIO" in done.err
    crf = command(*asked, "--train", tagged, "task.decoder=crf", "task.label_smoothing=0.1")
    assert crf.code == 1 and "softmax" in crf.err
    long = command(*asked, "--train", tagged, "task.max_length=64")
    assert long.code == 1 and "task.max_length=32" in long.err


def test_tags_that_the_model_has_never_seen(command, tagger: Path, tagged: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.conll"
    file.write_text(tagged.read_text() + "river\tB-PLACES\n\n")
    done = command("evaluate", tagger, file)
    assert done.code == 1 and f"{file}, line " in done.err and '"PLACES"' in done.err and "PLACE?" in done.err
    skipped = command("evaluate", tagger, file, "--on-error", "skip", "--json")
    assert skipped.code == 0 and json.loads(skipped.out)["rows"] == 60 and "skipped: 1" in skipped.err
    counted = command("evaluate", tagger, file, "--unknown-labels", "wrong", "--json")
    assert counted.code == 0 and "PLACES" in counted.err
    with_it, without = json.loads(counted.out), json.loads(skipped.out)
    assert with_it["rows"] == 61 and with_it["entities"] == without["entities"] + 1
    new = next(row for row in with_it["per_label"] if row["label"] == "PLACES")
    assert new["support"] == 1 and new["recall"] == 0 and with_it["unknown_labels"] == ["PLACES"]
    assert with_it["recall"]["value"] < without["recall"]["value"]


def test_a_run_keeps_what_it_was_evaluated_on(command, tagger: Path, tagged: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tagger.parent, run, ignore=shutil.ignore_patterns("predictions"))
    assert command("evaluate", run, tagged).code == 0
    (kept,) = (run / "predictions").iterdir()
    about, *rows = lines(kept.read_text())
    assert (about["task"], about["metric"], len(rows)) == ("tag", "entity_f1", 60)


def test_a_recipe_is_checked_without_training(command, pretrained: Path, tagged: Path, tmp_path: Path) -> None:
    done = command(
        "recipe",
        "check",
        "tag",
        f"init_from={pretrained}",
        f"data.train={tagged}",
        "task.max_length=16",
        "--json",
    )
    assert done.code == 0 and json.loads(done.out)["labels"] == 2
    explained = command("recipe", "explain", "task.tag.decoder")
    assert explained.code == 0 and "softmax, crf" in explained.out


@pytest.fixture(scope="module")
def nester(pretrained: Path, nested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a run that has learnt entities inside others."""
    settings = [
        "task.max_length=32",
        "train.budget=120 steps",
        "train.optimizer.lr=0.02",
    ]
    out = tmp_path_factory.mktemp("runs") / "nester"
    data = {"model": pretrained, "train": nested, "dev": nested, "output": out}
    return finetune(None, [*settings, "dropout=0"], task="nested", progress=SILENT, **data).model


def test_entities_that_nest_are_learnt_and_found(command, nester: Path, nested: Path, tmp_path: Path) -> None:
    told = json.loads(command("evaluate", nester, nested, "--json").out)
    gold = lines(nested.read_text())
    assert told["entities"] == sum(len(row["spans"]) for row in gold) and told["entity_f1"]["value"] > 0.9
    out = tmp_path / "said.jsonl"
    assert command("predict", nester, nested, "--output", out).code == 0
    said = lines(out.read_text())
    inside = right = there = 0
    for row, true in zip(said, gold, strict=True):
        found = {(span["start"], span["end"], span["label"]) for span in row["spans"]}
        right, there = (
            right + len(found & {tuple(span) for span in true["spans"]}),
            there + len(true["spans"]),
        )
        inside += sum(a != b and b[0] <= a[0] and a[1] <= b[1] for a in found for b in found)
        assert all(0.5 < span["score"] <= 1 for span in row["spans"])
    assert right / there == pytest.approx(told["recall"]["value"]) and inside > 10
    assert command("evaluate", nester, out, "--json").code == 0  # the form of training data
    refused = command("predict", nester, nested, "--format", "conll")
    assert refused.code == 1 and ", line " in refused.err and "--format jsonl" in refused.err
    assert "task.flat=true" in refused.err
    shown = command("report", nester.parent)
    assert shown.code == 0


def test_nested_entities_are_refused_elsewhere(
    command, pretrained: Path, nested: Path, plain_tags: Path, tmp_path: Path
) -> None:
    asked = ["finetune", "--model", pretrained, "--task", "tag", "--output", tmp_path / "run", *FAST]
    crf = command(*asked, "--train", nested, "task.decoder=crf")
    assert crf.code == 1 and f"{nested}, line " in crf.err and "--task nested" in crf.err
    left_out = command(*asked, "--train", nested, "--on-error", "skip", "task.decoder=crf")
    assert left_out.code == 0 and "overlapping" in left_out.err
    asked[asked.index("--output") + 1] = tmp_path / "plain"
    asked[asked.index("tag")] = "nested"
    plain = command(*asked, "--train", plain_tags)
    assert plain.code == 1 and str(plain_tags) in plain.err and "nested" in plain.err


def test_flat_entities_are_written_as_conll(command, pretrained: Path, tagged: Path, tmp_path: Path) -> None:
    asked = ["finetune", "--model", pretrained, "--train", tagged, "--dev", tagged, *FAST]
    nested = ["--task", "nested", "--output", tmp_path / "run", "train.budget=60 steps", "dropout=0"]
    assert command(*asked, *nested).code == 0
    kept = json.loads((tmp_path / "run" / "model" / "unmask.json").read_text())["task"]
    assert (kept["name"], kept["flat"]) == ("nested", True) and 1 <= kept["max_span_length"] <= 14
    out = tmp_path / "said.conll"
    assert command("predict", tmp_path / "run", tagged, "--output", out).code == 0
    before, after = tagged_of(tagged), tagged_of(out)
    assert [e.text for e in before.examples] == [e.text for e in after.examples]
    assert "break the rules" not in "".join(after.notes)
    tags = ["--task", "tag", "--output", tmp_path / "crf", "task.decoder=crf", "train.budget=10 steps"]
    crf = command(*asked, *tags)
    assert crf.code == 0
    compared = command("compare", tmp_path / "run", tmp_path / "crf", "--test", tagged, "--json")
    assert compared.code == 0, compared.err


def test_regularisers_beside_spans(command, pretrained: Path, nested: Path, tmp_path: Path) -> None:
    asked = [
        "finetune",
        "--model",
        pretrained,
        "--task",
        "nested",
        "--train",
        nested,
        *FAST,
    ]
    done = command(*asked, "--output", tmp_path / "fgm", "regularisation.fgm=0.5")
    assert done.code == 0 and "dev F1" in done.err, done.err
    refused = command(*asked, "--output", tmp_path / "rdrop", "regularisation.rdrop=1")
    assert refused.code == 1 and "regularisation.rdrop" in refused.err and "nested" in refused.err
