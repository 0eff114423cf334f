"""How the training went: figures of speed and curves by layer, from logs with known values."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest

from unmask import files
from unmask.messages import LANGUAGES, translate
from unmask.report import engine, write_report
from unmask.report.blocks import Folded, Panels, Table
from unmask.report.figures import training

BLOCKS = 12


def row(step: int, **more: Any) -> dict[str, Any]:
    plain = {"step": step, "progress": step / 8, "seconds": 30.0 * step, "tokens": 1000 * step, "loss": 6.0}
    return plain | {"lr": 1e-3, "grad_norm": 2.0, "tokens_per_second": 100, "data_wait": 0.0} | more


def fading(step: int) -> dict[str, list[float]]:
    """Each block's gradient a tenth of that of the block above it."""
    blocks = [10.0 ** (at - BLOCKS) for at in range(1, BLOCKS + 1)]
    return {"gradient": [0.5, *blocks], "activation": [1.0, *(float(at) for at in range(1, BLOCKS + 1))]}


def shown(log: list[dict[str, Any]], tmp_path: Path, speed: dict[str, Any] | None = None) -> list[Any]:
    (tmp_path / "metrics.jsonl").write_text("")
    for one in log:
        files.append_jsonl(tmp_path / "metrics.jsonl", one)
    entry = {"log": "metrics.jsonl"} | ({"speed": speed} if speed else {})
    return [block for block in engine.training_section({"pretraining": entry}, tmp_path) if block]


def facts(blocks: list[Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in next(b for b in blocks if isinstance(b, Table)).rows}


def test_speed_is_taken_from_the_log_weighed_by_how_long_each_row_took(tmp_path: Path) -> None:
    # 1,000 tokens at 100 a second, half of it waiting; then 3,000 at 1,000 a second: 4,000 in 13 s, waited 5
    log = [row(1, data_wait=0.5), row(2, tokens=4000, tokens_per_second=1000)]
    found = facts(shown(log, tmp_path))
    assert found["Tokens per second"] == f"{4000 / 13:.0f}"
    assert found["Time waited for data"].replace("\u00a0", " ") == f"{100 * 5 / 13:.1f} %"
    assert list(found) == ["Tokens per second", "Time waited for data"]


def test_what_the_run_measured_itself_counts_and_nulls_are_left_out(tmp_path: Path) -> None:
    speed = {"tokens_per_second": 5678.0, "gemm_share": 0.415, "mfu": None, "peak_memory": 2_500_000_000}
    found = facts(shown([row(1, skipped=2), row(2), row(3, skipped=1)], tmp_path, speed))
    assert found["Tokens per second"] == "5,678"
    assert found["Share of the measured matrix rate"].replace("\u00a0", " ") == "41.5 %"
    assert found["Peak memory"] == "2.5 GB" and found["Skipped steps"] == "3"
    assert not any("MFU" in name for name in found)


def test_fading_gradients_stand_in_the_order_of_their_layers(tmp_path: Path) -> None:
    log = [row(step, norms=fading(step)) for step in (1, 4, 8)]
    embeddings, *blocks = engine.layers(log, "gradient")
    assert embeddings.colour != blocks[0].colour and [value for _, value in embeddings.points] == [0.5] * 3
    strengths = [curve.strength for curve in blocks]
    assert strengths == sorted(strengths) and strengths[0] == engine.FAINTEST and strengths[-1] == 1
    assert [curve.name for curve in blocks if curve.name] == ["layer 1", f"layer {BLOCKS}"]
    for at, curve in enumerate(blocks, 1):
        assert [value for _, value in curve.points] == [10.0 ** (at - BLOCKS)] * 3
    panel = next(panel for panel in engine.panels(log) if panel.title == "Gradient norm by layer")
    lines = re.findall(r'<polyline class="curve c1 fine"[^>]* points="[\d.]+,([\d.]+)', panel.plot.svg("norms"))
    heights = [float(height) for height in lines]
    steps = [low - high for low, high in itertools.pairwise(heights)]
    assert len(heights) == BLOCKS and min(steps) > 0, "the lowest block lowest"
    assert max(steps) - min(steps) < 0.2, "equal ratios are equally far apart"


@pytest.mark.parametrize("blocks", [1, 2])
def test_few_blocks_have_curves_too(blocks: int) -> None:
    log = [row(1, norms={"gradient": [1.0, *range(1, blocks + 1)]})]
    assert len(engine.layers(log, "gradient")) == 1 + blocks
    assert engine.layers(log, "activation") == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_steps_that_were_no_number_leave_no_trace_in_a_plot(tmp_path: Path, bad: float) -> None:
    norms = {"gradient": [bad, bad, 1.0], "activation": [1.0, bad, bad]}
    log = [row(1), row(2, norms=norms, grad_norm=bad, skipped=1), row(3)]
    del log[1]["loss"]
    (block,) = (block for block in shown(log, tmp_path) if isinstance(block, Folded))
    (inner,) = block.blocks
    assert isinstance(inner, Panels) and len(inner.panels) == 8
    assert not re.search(r"nan|inf\b", "".join(panel.plot.svg("") for panel in inner.panels))


@pytest.mark.parametrize(("seconds", "unit"), [(100.0, "seconds"), (600.0, "minutes"), (20_000.0, "hours")])
def test_time_is_told_in_a_unit_that_suits_it(seconds: float, unit: str) -> None:
    found = list(engine.panels([row(1), row(2, seconds=seconds)]))
    axes = [panel.title for panel in found if panel.plot.x_label == f"{unit} of training"]
    assert axes == ["Loss (nats) against time", "Tokens per second", "Time waited for data (%)"]


def test_several_runs_are_folded_and_one_is_not(tmp_path: Path) -> None:
    files.append_jsonl(tmp_path / "log", row(1))
    one = {"pretraining": {"log": "log"}}
    two = one | {"finetuning": [{"name": "pretrained", "log": "log"}, {"name": "from scratch"}]}
    for results, names in ((one, ["Pretraining"]), (two, ["Pretraining", "Fine-tuning, pretrained"])):
        blocks = list(engine.training_section(results, tmp_path))
        folded = [block for block in blocks if isinstance(block, Folded)]
        assert [block.title for block in folded] == [f"{name}: curves" for name in names]
        assert [block.open for block in folded] == [len(names) == 1] * len(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_of_a_run_folder_shows_its_training(tmp_path: Path, language: str) -> None:
    for step in (1, 2):
        files.append_jsonl(tmp_path / "metrics.jsonl", row(step, norms=fading(step)))
    (tmp_path / "recipe.yaml").write_text("train: {budget: 2 steps}\n")
    finished = {"steps": 2, "tokens": 2000, "seconds": 60.0, "speed": {"mfu": 0.123, "gemm_share": None}}
    files.write_json(tmp_path / "run.json", {"kind": "pretrain", "finished": finished})
    page = write_report(tmp_path, language=language).read_text(encoding="utf-8")
    section = page[page.index('<section id="training">') :]
    titles = [translate(title, language) for title in ("Gradient norm by layer", "Share of the measured matrix rate")]
    assert titles[0] in section and "12.3\u00a0%" in section
    assert "<details open>" in section and titles[1] not in section


def test_a_run_without_a_log_has_no_such_section(tmp_path: Path) -> None:
    assert not [block for block in engine.training_section({"pretraining": {"steps": 3}}, tmp_path) if block]


def test_of_several_terms_the_one_is_drawn_that_is_compared() -> None:
    tuned = {"step": 1, "tokens": 8, "loss": 3.0, "tag.loss": 1.0, "rdrop.loss": 0.5, "adversarial.loss": 1.5}
    pretrained = {"tokens": 16, "loss": 3.0, "next_sentence.loss": 0.5, "masked.loss": 2.5}
    alone, other = {"tokens": 24, "loss": 2.0}, {"tokens": 24, "evaluation": {"tag.loss": 1.0}}
    assert training([tuned, pretrained, alone, other], "tokens") == [(8.0, 1.0), (16.0, 2.5), (24.0, 2.0)]
