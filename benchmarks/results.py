"""From measurements to ratios, and to the one line that says them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One side in one round, in a process of its own.

    seconds, done: for each timed run, how long it took and how much it did; cpu_seconds: of all threads in all of
    them; others_before, others_during: cores that other processes kept busy; facts: what came out.
    """

    round: int
    side: str
    seconds: list[float]
    done: list[float]
    cpu_seconds: float
    before_bytes: int
    peak_bytes: int
    others_before: float | None = None
    others_during: float | None = None
    load_average: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def speed(self) -> float:
        """Units a second over all timed runs."""
        return sum(self.done) / max(1e-9, sum(self.seconds))

    @property
    def cpu_speed(self) -> float:
        """Units per processor second, of all threads together: what other processes take does not count."""
        return sum(self.done) / max(1e-9, self.cpu_seconds)

    @property
    def cores(self) -> float:
        """Cores kept busy, on average."""
        return self.cpu_seconds / max(1e-9, sum(self.seconds))


@dataclass(frozen=True)
class Spread:
    """Some values, one a round: `low` and `high` are the least and the most, `quartiles` the first and the third."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]
    rounds: tuple[float, ...]

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        ordered = sorted(values)
        quarters = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
        return Spread(statistics.median(ordered), ordered[0], ordered[-1], (quarters[0], quarters[2]), tuple(values))


@dataclass(frozen=True)
class Result:
    """Ours against one peer, over the rounds in which both were measured.

    speed: ratios of speeds, above 1 where ours is faster; cpu_speed: the same per processor second; memory:
    ratios of peak memory, below 1 where ours needs less; our_speed, peer_speed: units a second, our_peak,
    peer_peak: bytes, each the median over the rounds.
    """

    ours: str
    peer: str
    speed: Spread
    cpu_speed: Spread
    memory: Spread
    our_speed: float
    peer_speed: float
    our_peak: float
    peer_peak: float


def compare(sides: Sequence[str], measurements: Sequence[Measurement], mine: int = 1) -> list[Result]:
    """Each of the first `mine` sides against each of the others; a peer without a finished round has no result."""
    found = {(each.side, each.round): each for each in measurements}
    results = []
    for ours, peer in product(sides[:mine], sides[mine:]):
        rounds = sorted(number for side, number in found if side == peer and (ours, number) in found)
        pairs = [(found[ours, number], found[peer, number]) for number in rounds]
        if not pairs:
            continue
        results.append(
            Result(
                ours,
                peer,
                speed=Spread.of([a.speed / b.speed for a, b in pairs]),
                cpu_speed=Spread.of([a.cpu_speed / b.cpu_speed for a, b in pairs]),
                memory=Spread.of([a.peak_bytes / b.peak_bytes for a, b in pairs]),
                our_speed=statistics.median(a.speed for a, _ in pairs),
                peer_speed=statistics.median(b.speed for _, b in pairs),
                our_peak=statistics.median(a.peak_bytes for a, _ in pairs),
                peer_peak=statistics.median(b.peak_bytes for _, b in pairs),
            )
        )
    return results


def line(benchmark: str, unit: str, result: Result, more: Sequence[str] = ()) -> str:
    """All of a result in one line: ratio of speeds, its spread, both speeds, memory, and `more`."""
    speed, memory = result.speed, result.memory
    rounds = len(speed.rounds)
    scale, letter = next(
        ((size, sign) for size, sign in ((1e6, "M "), (1e3, "k ")) if result.our_speed >= size), (1.0, "")
    )
    parts = [
        f"{benchmark}: {result.ours} against {result.peer}",
        f"speed ×{speed.median:.2f} ({speed.low:.2f} to {speed.high:.2f}, {rounds} round{'s' * (rounds > 1)})",
        f"{result.our_speed / scale:.4g} against {result.peer_speed / scale:.4g} {letter}{unit}/s",
        f"per processor second ×{result.cpu_speed.median:.2f}",
        f"memory ×{memory.median:.2f}, {result.our_peak / 2**20:.0f} against {result.peer_peak / 2**20:.0f} MiB",
        *more,
    ]
    return " · ".join(parts)
