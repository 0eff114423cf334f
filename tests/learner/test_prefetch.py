"""Prefetch: in order, in one thread of its own, errors where they are awaited, an end when nobody waits."""

import threading

import pytest
import torch

from unmask.errors import UserError
from unmask.learner.prefetch import Prefetch


def threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_results_come_in_the_order_in_which_they_were_asked_for() -> None:
    with Prefetch(lambda one, two: (one, two, threading.current_thread().name)) as ready:
        for number in range(4):
            ready.request(number, -number)
        assert [ready.get() for _ in range(4)] == [(n, -n, "prefetch") for n in range(4)]


def test_only_what_is_asked_for_is_made() -> None:
    made: list[int] = []
    with Prefetch(made.append) as ready:
        for number in (3, 5):
            ready.request(number)
            ready.get()
    assert made == [3, 5]


def test_the_thread_ends_when_nobody_waits() -> None:
    before = threads()
    with Prefetch(lambda step: step) as ready:
        for step in range(100):
            ready.request(step)
        ready.get()
        assert threads() == before + 1
    assert threads() == before


def test_an_error_comes_out_where_it_is_awaited_after_what_was_good() -> None:
    before = threads()

    def make(step: int) -> int:
        if step == 3:
            raise UserError("step three is broken")
        return step

    with pytest.raises(UserError, match="step three"), Prefetch(make) as ready:
        for step in (1, 2, 3):
            ready.request(step)
        assert (ready.get(), ready.get()) == (1, 2)
        ready.get()
    assert threads() == before


@pytest.mark.parametrize("settled", [True, False])
def test_batches_are_made_with_one_thread_whatever_the_caller_computes_with(settled: bool) -> None:
    """settled: torch was asked before, and does not take over what another thread has set in the meantime."""
    made_with: list[int] = []
    caller: list[int] = []

    def call() -> None:
        torch.set_num_threads(3)
        if settled:
            caller.append(torch.get_num_threads())
        with Prefetch(lambda: made_with.append(torch.get_num_threads())) as ready:
            ready.request()
            ready.get()
            caller.append(torch.get_num_threads())
        caller.append(torch.get_num_threads())

    before = torch.get_num_threads()
    thread = threading.Thread(target=call)
    try:
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert made_with == [1]
    assert set(caller) == {3}
