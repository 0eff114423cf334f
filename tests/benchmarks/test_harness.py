"""The harness on tiny sides: its record is complete, a crash is told, an interruption keeps what there is."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_sides

from benchmarks import conditions, harness
from benchmarks.harness import Benchmark, Plan, Side, environment, run
from errors import refused

SETTINGS = {"size": 3}
DATA = [{"name": "a text", "sha256": "0" * 64}]


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "others_now", lambda: 0.0)


def tiny(*sides: Side, **values: Any) -> Benchmark:
    sides = sides or (Side("ours", tiny_sides.counting), Side("peer", tiny_sides.counting))
    return Benchmark(name="tiny", unit="units", sides=sides, **values)


def record_in(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_sides_alternate_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    plan = Plan(rounds=2, threads=1, warmup=1, repeat=2)
    outcome = run(tiny(), SETTINGS, plan, DATA, tmp_path)
    found = json.loads(outcome.record.read_text(encoding="utf-8"))
    places = [(each["round"], each["side"]) for each in found["measurements"]]
    assert places == [(0, "ours"), (0, "peer"), (1, "peer"), (1, "ours")]
    assert len({each["facts"]["process"] for each in found["measurements"]}) == 4
    for each in found["measurements"]:
        assert each["done"] == [2.0, 3.0]  # the first run was the warm-up
        assert len(each["seconds"]) == 2 and min(each["seconds"]) >= 0.001
        assert each["facts"]["runs"] == 3
        assert 0 < each["before_bytes"] <= each["peak_bytes"]
        assert each["facts"]["OMP_NUM_THREADS"] == each["facts"]["RAYON_NUM_THREADS"] == "1"
    assert outcome.complete and found["complete"]


def test_the_record_holds_all_conditions(tmp_path: Path) -> None:
    outcome = run(tiny(packages=("tokenizers",)), SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    found = record_in(tmp_path)
    assert found["benchmark"] == "tiny" and found["unit"] == "units" and found["sides"] == ["ours", "peer"]
    assert found["settings"] == SETTINGS and found["data"] == DATA and found["command"] == sys.argv
    plan = [found[name] for name in ("rounds", "threads", "warmup", "repeat", "pinned")]
    assert plan == [1, 1, 1, 1, False]
    machine = found["machine"]
    assert machine["cpu"] and machine["system"] and machine["memory_bytes"] > 2**28
    assert 1 <= machine["usable_cores"] <= machine["cores"]
    assert found["versions"]["python"].count(".") == 2 and found["versions"]["tokenizers"]
    assert set(found["code"]) == {"commit", "changed"}
    assert found["lines"] == outcome.lines and len(found["lines"]) == 1
    speeds = [sum(m["done"]) / sum(m["seconds"]) for m in found["measurements"]]
    assert found["results"][0]["speed"]["rounds"] == [pytest.approx(speeds[0] / speeds[1])]
    assert "fewer than three rounds" in " ".join(found["warnings"])


def test_a_crash_is_told_with_what_the_side_said(tmp_path: Path) -> None:
    benchmark = tiny(Side("ours", tiny_sides.crashing), Side("peer", tiny_sides.counting))
    printed = ["about to divide", "no rounds are left in this side"]
    with refused("tiny: ours", "status 1", *printed, tmp_path):
        run(benchmark, {**SETTINGS, "crash_after": 1}, Plan(rounds=3, repeat=1), DATA, tmp_path)
    found = record_in(tmp_path)
    assert not found["complete"]
    assert len(found["results"][0]["speed"]["rounds"]) == 1  # of the first round
    assert [each["round"] for each in found["measurements"]] == [0, 0, 1]  # the peer went first in the second


def test_a_killed_side_is_told_by_its_signal(tmp_path: Path) -> None:
    benchmark = tiny(Side("ours", tiny_sides.killed), Side("peer", tiny_sides.counting))
    with refused("tiny: ours", "signal 9"):
        run(benchmark, SETTINGS, Plan(rounds=1), DATA, tmp_path)


def test_a_side_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    benchmark = tiny(Side("ours", tiny_sides.endless), Side("peer", tiny_sides.counting))
    with refused("tiny: ours", "0 seconds", "--limit"):
        run(benchmark, SETTINGS, Plan(rounds=1, limit=0.2), DATA, tmp_path)


def test_an_interruption_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def say(text: str) -> None:
        done.append(text)
        if len(done) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(harness, "_say", say)
    outcome = run(tiny(), SETTINGS, Plan(rounds=5, repeat=1), DATA, tmp_path)
    assert not outcome.complete and len(outcome.results[0].speed.rounds) == 1
    found = record_in(tmp_path)
    assert len(found["measurements"]) == 3 and found["lines"] == outcome.lines


def test_sides_that_did_other_work_are_warned_of(tmp_path: Path) -> None:
    benchmark = tiny(
        Side("ours", tiny_sides.counting),
        Side("peer", tiny_sides.other),
        same=("size",),
        shown={"size": "size"},
    )
    outcome = run(benchmark, SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    assert "the sides did not do the same work: size is ours 3, peer 4" in outcome.warnings
    assert " · size 3 against 4 · " in outcome.lines[0]


def test_facts_may_differ_by_a_share(tmp_path: Path) -> None:
    sides = Side("ours", tiny_sides.counting), Side("peer", tiny_sides.other)
    plan = Plan(rounds=1, repeat=1)
    apart = run(tiny(*sides, near={"size": 0.2}), SETTINGS, plan, DATA, tmp_path)
    assert "the sides differ by more than 20%: size is ours 3, peer 4" in apart.warnings
    near = run(tiny(*sides, near={"size": 0.25}), SETTINGS, plan, DATA, tmp_path)
    assert not any("size" in warning for warning in near.warnings)


def test_judges_see_what_the_side_left_and_their_seed(tmp_path: Path) -> None:
    benchmark = tiny(judge=tiny_sides.judge, shown={"grade": "grade"})
    outcome = run(benchmark, SETTINGS, Plan(rounds=1, repeat=1, seeds=2), DATA, tmp_path)
    judged = record_in(tmp_path)["judgements"]
    assert judged["ours"] == [{"seed": seed, "kept": "kept", "grade": 10.0 + seed} for seed in (0, 1)]
    assert "grade 10.5 against 10.5 (2 seeds)" in outcome.lines[0]  # means over the seeds


def test_peak_memory_is_that_of_the_work(tmp_path: Path) -> None:
    sides = (Side("ours", tiny_sides.hungry), Side("peer", tiny_sides.counting))
    run(tiny(*sides), SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    hungry, modest = record_in(tmp_path)["measurements"]
    assert hungry["peak_bytes"] - modest["peak_bytes"] > 2**26 * 0.9
    if Path("/proc/self/clear_refs").exists():  # what was held before the work is forgotten
        assert hungry["peak_bytes"] - hungry["before_bytes"] < 2**27


def test_what_a_command_of_the_work_takes_counts(tmp_path: Path) -> None:
    sides = (Side("ours", tiny_sides.spawning), Side("peer", tiny_sides.counting))
    run(tiny(*sides), SETTINGS, Plan(rounds=1, warmup=0, repeat=2), DATA, tmp_path)
    spawning, modest = record_in(tmp_path)["measurements"]
    assert spawning["cpu_seconds"] >= 0.2
    assert spawning["peak_bytes"] > 3 * 2**26 > modest["peak_bytes"]


def test_a_side_may_have_settings_of_its_own(tmp_path: Path) -> None:
    sides = (Side("ours", tiny_sides.counting), Side("peer", tiny_sides.counting, settings={"size": 5}))
    outcome = run(tiny(*sides, shown={"size": "size"}), SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    assert " · size 3 against 5 · " in outcome.lines[0]


def test_numbers_among_the_facts_are_medians_over_the_rounds(tmp_path: Path) -> None:
    outcome = run(tiny(shown={"prepared": "prepared"}), SETTINGS, Plan(rounds=3, repeat=1), DATA, tmp_path)
    assert " · prepared 2 against 2 · " in outcome.lines[0]  # the first, second and third time


def test_load_by_others_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "others_now", lambda: 1.25)
    outcome = run(tiny(), SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    assert "NOT QUIET" in outcome.lines[0]
    assert any("kept up to 1." in warning for warning in outcome.warnings)
    assert record_in(tmp_path)["quiet"] is False


def test_others_are_all_but_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.0])
    busy = iter([50.0, 57.0])
    own = iter([5.0, 6.0])
    monkeypatch.setattr(conditions.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(conditions, "_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(conditions, "_own_seconds", lambda: next(own))
    assert conditions.Others().cores() == 1.5  # 7 busy, 1 of them ours, in 4 seconds


def test_unknown_load_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(conditions, "others_now", lambda: None)
    monkeypatch.setattr(conditions, "_busy_seconds", lambda: None)
    outcome = run(tiny(), SETTINGS, Plan(rounds=1, repeat=1), DATA, tmp_path)
    assert "load unknown" in outcome.lines[0]


def test_all_libraries_get_the_same_number_of_threads() -> None:
    found = environment(3)
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON"):
        assert found[f"{name}_NUM_THREADS"] == "3"
    assert found["TOKENIZERS_PARALLELISM"] == "true" and environment(1)["TOKENIZERS_PARALLELISM"] == "false"
