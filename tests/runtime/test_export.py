"""Networks exported for other engines: the same predictions, without torch; and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from errors import refused
from unmask import files
from unmask.cli.app import run
from unmask.console import SILENT
from unmask.engine.export import _save_onnx, export
from unmask.report.page import render
from unmask.report.speed import speed_page
from unmask.runtime import choice, exported, verify
from unmask.runtime.bench import bench, list_choices
from unmask.runtime.choice import Choice
from unmask.runtime.description import describe_networks
from unmask.runtime.manifest import FACTS, HEAD_ARRAYS, RECORDED, check_sums, read_manifest
from unmask.runtime.predictor import load
from unmask.train.finetune import finetune

WITHOUT_TORCH = Path(__file__).parents[1] / "contract" / "without_torch.py"
FAST = ["train.budget=30 steps", "train.evaluations=1", "task.max_length=24", "train.optimizer.lr=0.01"]


@pytest.fixture(scope="module")
def both(classifier: Path, onnx_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier in both formats, verified."""
    folder = Path(shutil.copytree(onnx_folder, tmp_path_factory.mktemp("exported") / "both"))
    export(classifier, "openvino", folder)
    verify.verify(folder, threads=1)
    return folder


@pytest.fixture
def copy(both: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "copy"))


def test_every_network_is_verified(both: Path) -> None:
    records = {one.backend: one.verified for one in read_manifest(both).networks}
    assert records.keys() == {"onnx", "openvino"}
    for record in records.values():
        assert record is not None and record["passed"]
        assert 0 < max(record["differences"].values()) < 1e-4


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_predictions_are_those_of_torch(classifier: Path, both: Path, backend: str, stories: list[str]) -> None:
    texts = [" ".join(story.split()[: 1 + n % 30]) for n, story in enumerate(stories[:40])] + [""]
    expected, made = load(classifier).predict(texts), load(both, backend=backend, threads=1).predict(texts)
    assert len({ranking[0].label for ranking in expected}) > 1
    for one, other in zip(expected, made, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_tags_under_a_crf(pretrained: Path, tagged: Path, tmp_path: Path) -> None:
    overrides = [*FAST, "task.decoder=crf", "train.budget=120 steps"]
    out = tmp_path / "run"
    model = finetune(None, overrides, model=pretrained, task="tag", train=tagged, output=out, progress=SILENT).model
    export(model, "onnx", tmp_path / "exported")
    one, other = load(model), load(tmp_path / "exported")
    examples = one.read(tagged).examples[:40]
    expected, made = one.predict(examples), other.predict(examples)
    assert sum(map(len, expected)) > 10
    assert [[(s.start, s.end, s.label) for s in spans] for spans in expected] == [
        [(s.start, s.end, s.label) for s in spans] for spans in made
    ]
    assert one.score(examples)[0].figures == other.score(examples)[0].figures


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_it_runs_where_torch_cannot_be_imported(both: Path, table: Path, tmp_path: Path, backend: str) -> None:
    command = [
        sys.executable,
        WITHOUT_TORCH,
        "predict",
        both,
        table,
        "--backend",
        backend,
        "--output",
        tmp_path / "a.jsonl",
    ]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert "a connection was opened" not in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(rows) == len(load(both, backend=backend).read(table).examples)
    assert {row["label"] for row in rows} <= set(load(both).task.labels)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("onnx/model.onnx", "changed"),
        ("onnx/model.onnx.data", "missing"),
        ("onnx/model.onnx.data", "cut short"),
        ("openvino/openvino_model.bin", "changed"),
    ],
)
def test_a_damaged_network_is_not_run(copy: Path, name: str, how: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).unlink()
    if how != "missing":
        (copy / name).write_bytes(content if how == "changed" else content[: len(content) // 2])
    ours, other = ("onnx", "openvino") if name.startswith("onnx") else ("openvino", "onnx")
    with refused(copy / name):
        load(copy, backend=ours).predict(["river"])
    with refused(copy / name):
        verify.verify(copy, threads=1)
    with refused(copy / name):
        describe_networks(copy)
    assert load(copy, backend=other).predict(["river"])


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_threads_and_forked_processes_wait_for_the_network(
    both: Path, backend: str, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is opened, which takes long here."""

    def slow_check(*given: Any) -> None:
        time.sleep(0.2)
        check_sums(*given)

    texts = stories[:9]
    expected = [one.probabilities for one in load(both, backend=backend, threads=1).predict(texts)]
    monkeypatch.setattr(exported, "check_sums", slow_check)
    predictor = load(both, backend=backend, threads=1)
    with ThreadPoolExecutor(4) as threads:
        for made in threads.map(predictor.predict, [texts] * 4):
            np.testing.assert_array_equal([one.probabilities for one in made], expected)
    predictor = load(both, backend=backend, threads=1)
    if not (child := os.fork()):
        signal.alarm(20)
        os._exit(not predictor.predict(texts))
    assert os.waitpid(child, 0)[1] == 0


def test_weights_are_written_anew(both: Path, tmp_path: Path) -> None:
    for _ in range(2):
        _save_onnx(both / "onnx" / "model.onnx", tmp_path / "model.onnx")
        assert (tmp_path / "model.onnx.data").read_bytes() == (both / "onnx" / "model.onnx.data").read_bytes()


def test_other_files_that_were_changed(copy: Path) -> None:
    (copy / RECORDED).write_bytes((copy / RECORDED).read_bytes()[:-9])
    with refused(copy / RECORDED):
        verify.verify(copy, threads=1)
    content = (copy / HEAD_ARRAYS).read_bytes()
    (copy / HEAD_ARRAYS).write_bytes(content + b" ")
    with refused(copy / HEAD_ARRAYS):
        load(copy, backend="onnx")
    (copy / HEAD_ARRAYS).write_bytes(content)
    facts = files.read_object(copy / FACTS)
    del facts["encoder"]
    files.write_json(copy / FACTS, facts)
    with refused(copy / FACTS, "encoder"):
        load(copy, backend="onnx")


def test_a_folder_may_be_named_from_beside_it(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy.parent / "here").mkdir()
    monkeypatch.chdir(copy.parent / "here")
    assert load(Path("..") / copy.name, backend="onnx").predict(["river"])


def described(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `unmask inspect --json` prints."""
    capsys.readouterr()
    assert run(["inspect", str(folder), "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def slow_in_float32(one: Choice) -> Any:
    return lambda arrays: time.sleep(0.01 if one.precision == "float32" else 0)


def test_speed_of_a_folder_and_its_page(
    both: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("unmask.runtime.bench.WARMUP_SHARE", 100)
    page, record = tmp_path / "speed.html", tmp_path / "speed.json"
    sizes = ["--length", "8", "--length", "16", "--batch-size", "1", "--batch-size", "4"]
    command = ["bench", "predict", str(both), "--backend", "onnx", "--seconds", "1"]
    assert run([*command, *sizes, "--output", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["backend"], one["precision"]) for one in told["engines"]] == [("onnx", "float32")]
    assert told["engines"][0]["peak_memory"] > 30e6 and told["machine"]["versions"]["onnxruntime"]
    assert {(one["length"], one["batch_size"]) for one in told["cells"]} == {(8, 1), (8, 4), (16, 1), (16, 4)}
    for cell in told["cells"]:
        assert cell["lowest"] <= cell["texts_per_second"] <= cell["highest"] and cell["calls"] > 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "onnx float32" in text
    rows = ["--data", str(table), "--rows", "20"]
    assert run([*command, *rows, "--output", str(record)]) == 0
    assert "onnx" in capsys.readouterr().out
    told = files.read_object(record)
    assert {(one["length"], one["batch_size"]) for one in told["cells"]} == {(None, 1), (None, 20)}
    assert "tokens of a text" not in render(speed_page(told), "en")


def test_what_is_measured_for_speed(
    classifier: Path, both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that can run, also what did not pass; what cannot is said."""
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: False)
    assert list_choices(classifier, "auto", "auto") == ([Choice("torch", "float32")], [])
    copy = Path(shutil.copytree(both, tmp_path / "copy"))
    facts = files.read_object(copy / FACTS)
    onnx, openvino = facts["networks"]
    facts["networks"] = [{**onnx, "verified": {"passed": False}}, {**onnx, "precision": "int8"}, openvino]
    files.write_json(copy / FACTS, facts)
    spec = choice.find_spec
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "openvino" else spec(name))
    choices, notes = list_choices(copy, "auto", "auto")
    assert choices == [Choice("onnx", "float32"), Choice("onnx", "int8")] and len(notes) == 1 and "openvino" in notes[0]
    assert list_choices(copy, "onnx", "int8")[0] == [Choice("onnx", "int8")]
    with refused("openvino", "unmask[openvino]"):
        list_choices(copy, "openvino", "auto")


def test_what_cannot_be_measured(both: Path, tmp_path: Path) -> None:
    with refused(tmp_path / "none.csv"):
        bench(both, backend="onnx", file=str(tmp_path / "none.csv"), seconds=1)
    network = Path(shutil.copytree(both, tmp_path / "copy")) / "onnx" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    with refused(network):
        bench(tmp_path / "copy", backend="onnx", seconds=1)
    for wrong in (["--output", "speed.pdf"], ["--seconds", "0"], ["--data", "x.csv", "--length", "16"]):
        assert run(["bench", "predict", str(both), *wrong]) == 1


def test_inspect_shows_what_was_exported(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "has_bfloat16_units", lambda: False)
    told = described(both, capsys)
    network, _ = told["networks"]
    assert network["bytes"] == sum((both / name).stat().st_size for name in network["sha256"]) and network["installed"]
    assert network["verified"]["passed"] and told["automatic"]["choice"] is None, "there was no trial"
    assert told["task"]["labels"] == load(both).task.labels
    copy = Path(shutil.copytree(both, tmp_path / "copy"))
    facts = files.read_object(copy / FACTS)
    network, _ = facts["networks"]
    record = {"passed": True, "dev": {"drop": {"value": 0.0123, "low": 0.0, "high": 0.02}}}
    facts["networks"] = [{**network, "verified": record}, {**network, "precision": "int8", "verified": record}]
    files.write_json(copy / FACTS, facts)
    automatic = described(copy, capsys)["automatic"]
    assert automatic["choice"] is None and automatic["of"] == ["onnx float32", "onnx int8"]
    assert run(["inspect", str(copy)]) == 0
    shown = capsys.readouterr().out
    assert "0.0123" in shown and "onnx int8" in shown
    both = [Choice("onnx", "float32"), Choice("onnx", "int8")]
    choice.fastest(both, choice.trial_key(read_manifest(copy).networks, None), slow_in_float32, 10, 16)
    assert described(copy, capsys)["automatic"]["choice"] == "onnx int8"


def test_one_that_computes_something_else_fails_and_is_not_chosen(copy: Path) -> None:
    """The recorded outputs of torch are made others: so no network agrees with them."""
    recorded = load_file(copy / RECORDED)
    save_file({**recorded, "outputs": recorded["outputs"] + np.float32(0.5)}, copy / RECORDED)
    assert run(["verify", str(copy)]) == 1
    assert [one.verified and one.verified["passed"] for one in read_manifest(copy).networks] == [False, False]
    with refused("unmask export"):
        load(copy)
    assert load(copy, backend="onnx", precision="float32").predict(["river"])


def test_what_is_refused(classifier: Path, pretrained: Path, both: Path, table: Path, tmp_path: Path) -> None:
    with refused(both):
        export(pretrained, "onnx", both)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with refused(tmp_path / "full"):
        export(classifier, "onnx", tmp_path / "full")
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    with refused(both, "exported"):
        finetune(None, FAST, model=both, train=table, output=tmp_path / "run", progress=SILENT)
    with refused("precision int8", "onnx float32"):
        load(both, precision="int8")
    with refused(classifier, "unmask export"):
        verify.verify(classifier)
    with refused(tmp_path / "nowhere"):
        verify.verify(tmp_path / "nowhere")


def test_a_second_export_leaves_the_first(both: Path) -> None:
    facts = files.read_object(both / FACTS)
    assert [one["backend"] for one in facts["networks"]] == ["onnx", "openvino"]
    assert not (both / "model.safetensors").exists()
