"""The tables of a study, and what it takes from the log of a run."""

from pathlib import Path

import pytest

from benchmarks import study
from unmask import files


def test_gradients_are_those_of_the_first_and_the_last_time_they_were_taken(tmp_path: Path) -> None:
    for step, norms in ((1, [9.0, 0.5, 1.0, 0.25]), (2, None), (3, [9.0, 1e-6, 1.0, 0.5]), (4, None)):
        more = {"norms": {"gradient": norms, "activation": norms}} if norms else {}
        files.append_jsonl(tmp_path / "metrics.jsonl", {"step": step, **more})
    assert list(study.gradients(tmp_path).values()) == pytest.approx([2.0, 2e-6])


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([2e-6, 4e-6], "3e-06 ± 1e-06"),
        ([0.5, 1.5], "1.000 ± 0.707"),
        ([12.0], "12.0"),
        ([1500.0, 2500.0], "2,000 ± 707"),
    ],
)
def test_figures_are_told_with_digits_that_suit_them(values: list[float], shown: str) -> None:
    assert study.shown(values) == shown


def test_rows_of_few_seeds_are_screening() -> None:
    three, one = [{"held-out loss": value} for value in (6.0, 6.1, 6.2)], [{"held-out loss": 6.0}]
    lines = study.table([("a", three), ("b", one)], header=True).splitlines()
    assert lines[0] == "| variant | seeds | held-out loss |"
    assert lines[2:] == ["| a | 3 | 6.100 ± 0.100 |", "| b (screening) | 1 | 6.000 |"]
