"""`unmask bench` as people and scripts call it."""

import json
from pathlib import Path

import pytest

from unmask.data.corpus.shards import Shards
from unmask.train import bench


@pytest.fixture(autouse=True)
def memory_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "keep_freed_memory", lambda: False)  # it would stay so in this process


def test_bench_says_how_fast_and_where_the_time_goes(command, small, corpus: Shards, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["bench", "pretrain", "tiny", "--corpus", corpus.folder, "--seconds", 1, *small]
    done = command(*asked)
    assert done.code == 0
    for word in ("tokens per second", "gemm share", "data wait", "peak memory", "cpu", "float32"):
        assert word in done.out
    for part in ("embedding", "attention", "feed-forward", "vocabulary head", "optimiser", "data", "other"):
        assert any(line.strip().startswith(part) and "%" in line for line in done.out.splitlines())
    told = json.loads(command(*asked, "--json").out)
    assert told["speed"]["tokens_per_second"] > 0 and told["breakdown"]["attention"] > 0
    assert not list(tmp_path.iterdir()), "nothing is kept"


def test_mistakes(command, corpus: Shards, tmp_path: Path) -> None:
    absent = command("bench", "pretrain", "tiny", "--corpus", tmp_path / "none")
    assert absent.code == 1 and "unmask corpus build" in absent.err
    short = command("bench", "pretrain", "tiny", "--corpus", corpus.folder, "--seconds", "0")
    assert short.code == 1 and "--seconds" in short.err and "1 or more" in short.err
    other = command("bench", "pretrain", "classify")
    assert other.code == 1 and "unmask finetune classify" in other.err
