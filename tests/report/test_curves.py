"""How the training went: figures of speed and curves by layer, from logs with known values."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest

from unmask import files
from unmask.messages import LANGUAGES, translate
from unmask.report import curves, write_report
from unmask.report.blocks import Panels, Table
from unmask.report.curves import Trained

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
    run = Trained("a run", curves.read_log(tmp_path / "metrics.jsonl"), {"speed": speed} if speed else {})
    return [block for block in curves.training_section([run]) if block]


def facts(blocks: list[Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in next(b for b in blocks if isinstance(b, Table)).rows}


def test_until_a_run_is_finished_its_speed_is_that_of_the_last_row(tmp_path: Path) -> None:
    log = [row(1, data_wait=0.5), row(2, tokens=4000, tokens_per_second=1000, data_wait=0.125)]
    found = facts(shown(log, tmp_path))
    assert found == {"Tokens per second": "1,000", "Time waited for data": "12.5\u00a0%"}


def test_what_the_run_measured_itself_counts_and_nulls_are_left_out(tmp_path: Path) -> None:
    speed = {"tokens_per_second": 5678.0, "gemm_share": 0.415, "mfu": None, "peak_memory": 2_500_000_000}
    found = facts(shown([row(1, skipped=2), row(2), row(3, skipped=1)], tmp_path, speed))
    assert found["Tokens per second"] == "5,678"
    assert found["Share of the measured matrix rate"].replace("\u00a0", " ") == "41.5 %"
    assert found["Peak memory"] == "2.5 GB" and found["Skipped steps"] == "3"
    assert not any("MFU" in name for name in found)


def test_fading_gradients_stand_in_the_order_of_their_layers(tmp_path: Path) -> None:
    log = [row(step, norms=fading(step)) for step in (1, 4, 8)]
    embeddings, *blocks = curves.layers(log, "gradient")
    assert embeddings.colour != blocks[0].colour and [value for _, value in embeddings.points] == [0.5] * 3
    strengths = [curve.strength for curve in blocks]
    assert strengths == sorted(strengths) and strengths[0] == curves.FAINTEST and strengths[-1] == 1
    assert [curve.name for curve in blocks if curve.name] == ["layer 1", f"layer {BLOCKS}"]
    for at, curve in enumerate(blocks, 1):
        assert [value for _, value in curve.points] == [10.0 ** (at - BLOCKS)] * 3
    panel = next(panel for panel in curves.panels(log) if panel.caption == "Gradient norm by layer")
    lines = re.findall(r'<polyline class="curve c1 fine"[^>]* points="[\d.]+,([\d.]+)', panel.plot.svg("norms"))
    heights = [float(height) for height in lines]
    steps = [low - high for low, high in itertools.pairwise(heights)]
    assert len(heights) == BLOCKS and min(steps) > 0, "the lowest block lowest"
    assert max(steps) - min(steps) < 0.2, "equal ratios are equally far apart"


@pytest.mark.parametrize("blocks", [1, 2])
def test_few_blocks_have_curves_too(blocks: int) -> None:
    log = [row(1, norms={"gradient": [1.0, *range(1, blocks + 1)]})]
    assert len(curves.layers(log, "gradient")) == 1 + blocks
    assert curves.layers(log, "activation") == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_steps_that_were_no_number_leave_no_trace_in_a_plot(tmp_path: Path, bad: float) -> None:
    norms = {"gradient": [bad, bad, 1.0], "activation": [1.0, bad, bad]}
    log = [row(1), row(2, norms=norms, grad_norm=bad, skipped=1), row(3)]
    del log[1]["loss"]
    (block,) = (block for block in shown(log, tmp_path) if isinstance(block, Panels))
    assert len(block.figures) == 8
    assert not re.search(r"nan|inf\b", "".join(panel.plot.svg("") for panel in block.figures))


@pytest.mark.parametrize(("seconds", "unit"), [(100.0, "seconds"), (600.0, "minutes"), (20_000.0, "hours")])
def test_time_is_told_in_a_unit_that_suits_it(seconds: float, unit: str) -> None:
    found = list(curves.panels([row(1), row(2, seconds=seconds)]))
    axes = [panel.caption for panel in found if panel.plot.x_label == f"{unit} of training"]
    assert axes == ["Loss (nats) against time", "Tokens per second", "Time waited for data (%)"]


def test_several_runs_are_folded_and_one_is_not() -> None:
    runs = [Trained("Pretraining", [row(1)], {}), Trained("Fine-tuning", [row(1)], {})]
    for some in (runs[:1], [*runs, Trained("without a log", [], {})]):
        folded = [block for block in curves.training_section(some) if isinstance(block, Panels)]
        assert [block.title for block in folded] == [f"{run.name}: curves" for run in some if run.log]
        assert [block.open for block in folded] == [len(folded) == 1] * len(folded)


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


def test_a_run_without_a_log_has_no_such_section() -> None:
    assert not [block for block in curves.training_section([Trained("a run", [], {"steps": 3})]) if block]


def test_of_several_terms_the_one_is_drawn_that_is_compared() -> None:
    tuned = {"tokens": 8, "loss": 3.0, "tag.loss": 1.0, "rdrop.loss": 0.5, "adversarial.loss": 1.5}
    pretrained = {"tokens": 16, "loss": 3.0, "next_sentence.loss": 0.5, "masked.loss": 2.5}
    other = {"tokens": 24, "evaluation": {"tag.loss": 1.0}}
    assert curves.training_loss([tuned, other], "tokens") == [(8.0, 1.0)]
    assert curves.training_loss([pretrained, other], "tokens") == [(16.0, 2.5)]
    assert curves.training_loss([{"tokens": 24, "loss": 2.0}, other], "tokens") == [(24.0, 2.0)]
