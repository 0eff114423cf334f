"""Vectors from the command line: trained, evaluated, written in each format, compared, reported, exported."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unmask.cli.app import run
from unmask.runtime.predictor import load

SMALL = ["task.max_length=16", "train.budget=3 steps", "train.optimizer.lr=0.01", "train.evaluations=1"]


@pytest.fixture(scope="module")
def runs(pretrained: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name, settings in (("a", []), ("b", ["task.pooling=cls"])):
        given = ["--task", "embed", "--model", pretrained, "--train", pairs, "--output", folder / name]
        assert run(list(map(str, ["finetune", *given, "--test", pairs, *SMALL, *settings]))) == 0
    return folder / "a", folder / "b"


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_vectors_are_written_in_each_format(
    runs: tuple[Path, Path], pairs: Path, tmp_path: Path, called: Callable[..., tuple[int, str, str]]
) -> None:
    texts = ["river stone", "winter, harbour", "captain"]
    file = tmp_path / "new.txt"
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    wanted = np.stack(load(runs[0])(texts))
    assert called("predict", runs[0], file, "--output", tmp_path / "v.npy")[0] == 0
    array = np.load(tmp_path / "v.npy")
    assert array.dtype == np.float32 and np.allclose(array, wanted, atol=1e-6)
    code, out, _ = called("predict", runs[0], file)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and np.allclose([row["vector"] for row in rows], wanted, atol=1e-6)
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert called("predict", runs[0], pairs, "--output", tmp_path / "p.npy")[0] == 0
    both = np.load(tmp_path / "p.npy")
    assert both.shape == (60, 2, 16)
    assert called("predict", runs[0], pairs, "--all", "--output", tmp_path / "p.jsonl")[0] == 0
    first = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert first["cosine"] == pytest.approx(float(both[0, 0] @ both[0, 1]), abs=1e-5)
    assert np.allclose(first["vectors"], both[0], atol=1e-6)
    assert called("predict", runs[0], pairs, "--output", tmp_path / "p.csv")[0] == 0
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "id,line,cosine,vector" and len(lines) == 61


def test_formats_that_do_not_suit_are_refused(
    runs: tuple[Path, Path], pairs: Path, called: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = called("predict", runs[0], pairs, "--format", "npy")
    assert code == 1 and "--output vectors.npy" in err
    code, _, err = called("predict", runs[0], pairs, "--format", "table")
    assert code == 1 and "jsonl, csv, npy" in err


def test_evaluated_compared_and_reported(
    runs: tuple[Path, Path],
    pairs: Path,
    numbers: Path,
    tmp_path: Path,
    called: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, _ = called("evaluate", runs[0], pairs, "--json")
    told = json.loads(out)
    assert code == 0 and list(told)[5:9] == ["mrr", "ndcg_10", "recall_1", "recall_10"]
    code, out, _ = called("evaluate", runs[0], numbers)
    assert code == 0 and "Spearman" in out and "Pearson" in out
    code, out, _ = called("compare", *runs, "--test", numbers, "--json")
    assert code == 0 and json.loads(out)["evaluation"]["metric"] == "spearman"
    code, out, _ = called("compare", *runs, "--output", tmp_path / "c.html")
    assert code == 0 and "MRR" in out
    for language, word in (("en", "the words in common"), ("zh", "共有的词")):
        page = tmp_path / f"{language}.html"
        assert called("report", runs[0], "--output", page, "--lang", language)[0] == 0
        text = page.read_text(encoding="utf-8")
        assert word in text and "nDCG@10" in text and "confusion" not in text


def test_exported_for_sentence_transformers(
    runs: tuple[Path, Path], pretrained: Path, tmp_path: Path, called: Callable[..., tuple[int, str, str]]
) -> None:
    out = tmp_path / "exported"
    code, shown, err = called("export", runs[1], "--format", "sentence-transformers", "--output", out)
    assert code == 0 and "BertModel" in shown and "do not support the head" not in err
    assert np.array_equal(load(out)("river"), load(runs[1])("river"))
    code, _, err = called("export", pretrained, "--format", "sentence-transformers", "--output", tmp_path / "x")
    assert code == 1 and "cannot be written for other libraries" in err
    code, _, err = called("export", runs[1], "--format", "keras", "--output", tmp_path / "y")
    assert code == 1 and "hf, sentence-transformers" in err
