"""Prefetch: batches are prepared in a thread while the network learns from those before."""

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Prepares what is asked for ahead, in a thread. Errors come out where their result is awaited.

    Use as a context manager: `ask(...)` for each result to come, `get()` them in that order.
    """

    def __init__(self, produce: Callable[..., T]) -> None:
        self._produce = produce
        self._requests: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._stopped = False
        torch.get_num_threads()  # a thread that torch has not yet been asked in would take over what `_fill` sets
        self._thread = threading.Thread(target=self._fill, name="prefetch", daemon=True)
        self._thread.start()

    def request(self, *of: Any) -> None:
        """Let make(*of) be prepared."""
        self._requests.put(of)

    def get(self) -> T:
        """The next result, when it is ready; raises what making it raised."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _fill(self) -> None:
        # each thread has this setting for itself: with more, torch would keep a second pool of threads busy
        # here, with which training on both of two cores took more than twice as long
        torch.set_num_threads(1)
        while (of := self._requests.get()) is not None and not self._stopped:
            try:
                self._ready.put(self._produce(*of))
            except BaseException as error:  # handed over to the thread that waits
                self._ready.put(error)

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._requests.put(None)
        self._thread.join()
