"""What people see: units, lines of work, and who prints."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask import console
from unmask.errors import UserError, missing_extra, suggest


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    console.set_quiet(False)
    yield
    console.set_quiet(False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0.0 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99.4, "99 s"),
        (100, "1 min 40 s"),
        (120, "2 min"),
        (125.4, "2 min 5 s"),
        (599.9, "10 min"),
        (3599.9, "1 h 0 min"),
        (4320, "1 h 12 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations(value: float, shown: str) -> None:
    assert console.seconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (27_449_000, "27.4 MB"), (3.2e12, "3.2 TB")],
)
def test_sizes(value: float, shown: str) -> None:
    assert console.size(value) == shown


def test_piped_work_is_one_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with console.start_step("Corpus", number=3) as work:
        work.start(100, "rows")
        work.advance(40)
        work.result("40 rows [read]")
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(" 3  Corpus") and "40 rows [read]" in line and line.endswith(" s")


def test_piped_work_tells_now_and_then(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.start_step("Read") as work:
        work.start(200.0, "rows")
        work.show("loss 2.0")
        for _ in range(20):
            now[0] += 1.5
            work.advance(5)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 + 1, "two in thirty seconds, and the last"
    assert "18%" in lines[0] and "3 rows/s" in lines[0] and "loss 2.0" in lines[0] and "left" in lines[0]


def test_quiet_silences_all_but_results(capfd: pytest.CaptureFixture[str]) -> None:
    console.set_quiet(True)
    with console.start_step("Read") as work:
        work.result("x")
    console.note("by the way")
    console.print_text("the result")
    assert capfd.readouterr() == ("the result\n", "")


def test_only_rank_nought_prints(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    console.print_text("result")
    console.table(["a"], [[1]])
    console.note("remark")
    with console.start_step("Read") as work:
        work.result("x")
    assert capfd.readouterr() == ("", "")


def test_brackets_are_no_markup(capfd: pytest.CaptureFixture[str]) -> None:
    console.note("fill the [MASK] [bold]")
    console.show_error(UserError("no [MASK] in it", given="[red]"))
    console.table(["piece"], [["[MASK]"], ["[/x]"]])
    out, err = capfd.readouterr()
    assert "[MASK] [bold]" in err and "error: no [MASK] in it" in err and "given  [red]" in err
    assert "[MASK]" in out and "[/x]" in out


def test_tables_keep_all_rows_and_long_cells(capfd: pytest.CaptureFixture[str]) -> None:
    console.table(["name", "rows"], [["a", 1234567], ["b", 2]], title="Two")
    out = capfd.readouterr().out
    assert "Two" in out and "1,234,567" in out
    rows = [line for line in out.splitlines() if line.strip().startswith(("a ", "b "))]
    assert len(rows) == 2 and len(rows[0].rstrip()) == len(rows[1].rstrip()), "numbers stand on the right"
    console.table(["name"], [])
    assert "name" in capfd.readouterr().out


def test_errors_line_up_their_facts() -> None:
    error = UserError("x is wrong", given=3, allowed=None, hint=[None, "y"])
    assert str(error) == "x is wrong\n  given  3\n  hint   y"
    assert suggest("ratoi", ["ratio", "weight"]) == "ratio" and suggest("zzz", ["ratio"]) is None
    assert "pip install 'unmask[report]'" in str(missing_extra("jinja2", "report", "a report"))


def test_nothing_here_needs_torch() -> None:
    source = Path(sys.modules["unmask.console"].__file__ or "").read_text()
    assert "torch" not in source


def test_a_command_makes_a_remark_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with console.command():
            for text in ("a file", "another", "a file"):
                console.note(text)
    console.note("a file")
    assert capsys.readouterr().err.split("\n") == ["a file", "another"] * 2 + ["a file", ""]


# speed and time left


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def work_of(total: float) -> console.StepProgress:
    work = console.StepProgress("Work", None, is_live=True)
    work.start(total, "rows")
    return work


@given(
    st.floats(0.01, 1e4),
    st.lists(st.floats(0.01, 40), min_size=1, max_size=120),
    st.floats(0, 1),
    st.floats(0, 1e6),
)
def test_constant_speed_gives_the_exact_time_left(
    clock: list[float], speed: float, pauses: list[float], part: float, before: float
) -> None:
    """Whatever the pauses between two reports, at any time between two; with what an earlier run did."""
    whole = sum(pauses) + 100
    work = work_of(before + speed * whole)
    for number, pause in enumerate(pauses):
        clock[0] += pause
        work.advance(speed * pause)
        if number == 0:
            work.resume(before)
    later = part * min(pauses[-1], max(pauses))
    clock[0] += later
    left = work.seconds_left()
    if sum(pauses) + later > 0.5:
        assert left == pytest.approx(100 - later, rel=1e-6, abs=1e-3)
        assert work.speed.measure(clock[0])[0] == pytest.approx(speed, rel=1e-6)


@given(st.floats(1, 2000), st.floats(0.1, 100), st.floats(0.1, 100), st.sampled_from([0.02, 0.5, 3.0]))
def test_a_change_of_speed_is_followed(
    clock: list[float], first: float, slow: float, fast: float, every: float
) -> None:
    """After 30 seconds, or a tenth of the time, the speed is the new one alone."""
    work = work_of(1e9)
    for speed, lasts in ((slow, first), (fast, max(console.RECENT_SECONDS, first * 0.12) + 2 * every + 2)):
        steps = max(1, min(2000, round(lasts / every)))
        for _ in range(steps):
            clock[0] += lasts / steps
            work.advance(speed * lasts / steps)
    left = (1e9 - work.speed.done) / fast
    assert work.seconds_left() == pytest.approx(left, rel=1e-6)
    assert len(work.speed._samples) < 2 * console.SAMPLES


def test_a_stall_lowers_the_speed_and_a_slow_start_is_forgotten(clock: list[float]) -> None:
    work = work_of(1000)
    clock[0] += 60  # a compiler
    work.advance(1)
    for _ in range(40):
        clock[0] += 1
        work.advance(10)
    assert work.seconds_left() == pytest.approx(599 / 10)
    clock[0] += 30
    assert work.seconds_left() > 1.9 * 599 / 10
