"""Ratios and lines against values computed by hand."""

import pytest

from benchmarks.results import Measurement, Spread, compare, line

MIB = 2**20


def measured(number: int, side: str, seconds: list[float], done: list[float], peak: int = 10) -> Measurement:
    cpu_seconds = sum(seconds) / (2 if side == "ours" else 1)  # ours waits half of the time
    return Measurement(number, side, seconds, done, cpu_seconds, before_bytes=0, peak_bytes=peak * MIB)


def test_ratios_are_of_speeds_within_a_round() -> None:
    found = [
        measured(0, "ours", [1.0, 1.0], [100.0, 100.0], peak=30),  # 100 a second
        measured(0, "peer", [2.0], [100.0], peak=20),  # 50 a second: 2.0
        measured(1, "peer", [8.0], [100.0], peak=20),  # the machine is slow in this round: 12.5
        measured(1, "ours", [4.0], [200.0], peak=10),  # 50: 4.0
        measured(2, "ours", [3.0, 1.0], [80.0, 20.0], peak=20),  # 25
        measured(2, "peer", [1.0], [10.0], peak=20),  # 10: 2.5
    ]
    (result,) = compare(["ours", "peer"], found)
    assert result.speed.rounds == (2.0, 4.0, 2.5)
    assert (result.speed.median, result.speed.low, result.speed.high) == (2.5, 2.0, 4.0)
    assert result.speed.quartiles == (2.25, 3.25)
    assert result.cpu_speed.rounds == (4.0, 8.0, 5.0)
    assert result.memory.rounds == (1.5, 0.5, 1.0)
    assert (result.our_speed, result.peer_speed) == (50.0, 12.5)
    assert (result.our_peak, result.peer_peak) == (20 * MIB, 20 * MIB)


def test_a_round_that_was_cut_short_does_not_count() -> None:
    found = [
        measured(0, "ours", [1.0], [6.0]),
        measured(0, "peer", [1.0], [2.0]),
        measured(1, "peer", [1.0], [5.0]),
    ]
    (result,) = compare(["ours", "peer"], found)
    assert result.speed.rounds == (3.0,)
    assert result.peer_speed == 2.0
    assert compare(["ours", "peer"], found[:1]) == []


def test_each_peer_has_a_result() -> None:
    found = [measured(0, side, [1.0], [units]) for side, units in (("ours", 6.0), ("a", 3.0), ("b", 2.0))]
    assert [(each.peer, each.speed.median) for each in compare(["ours", "a", "b"], found)] == [
        ("a", 2.0),
        ("b", 3.0),
    ]


def test_each_of_ours_beside_each_peer() -> None:
    found = [measured(0, side, [1.0], [units]) for side, units in (("a", 6.0), ("b", 3.0), ("c", 2.0))]
    assert [(each.ours, each.peer, each.speed.median) for each in compare(["a", "b", "c"], found, 2)] == [
        ("a", "c", 3.0),
        ("b", "c", 1.5),
    ]


def test_spread_of_one_value() -> None:
    assert Spread.of([1.5]) == Spread(1.5, 1.5, 1.5, (1.5, 1.5), (1.5,))


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        (3.0, "3 against 1.5 tokens/s"),
        (3456.0, "3.456 against 1.728 k tokens/s"),
        (7e6, "7 against 3.5 M tokens/s"),
    ],
)
def test_a_line_says_ratio_spread_and_units(units: float, shown: str) -> None:
    found = [
        measured(0, "ours", [1.0], [units], peak=30),
        measured(0, "peer", [2.0], [units], peak=20),
        measured(1, "ours", [1.0], [units], peak=30),
        measured(1, "peer", [2.0], [units], peak=20),
    ]
    (result,) = compare(["ours", "peer"], found)
    assert line("reading", "tokens", result, ["1 thread"]) == (
        f"reading: ours against peer · speed ×2.00 (2.00 to 2.00, 2 rounds) · {shown} · "
        "per processor second ×4.00 · memory ×1.50, 30 against 20 MiB · 1 thread"
    )


def test_cores_kept_busy() -> None:
    measurement = Measurement(0, "ours", [1.0, 3.0], [1.0, 1.0], cpu_seconds=6.0, before_bytes=0, peak_bytes=1)
    assert measurement.cores == 1.5
