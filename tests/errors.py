"""Expecting an error by what it names: file, line, key, value, option; never by its wording."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from unmask.errors import UserError


@contextmanager
def refused(*names: object, kind: type[Exception] = UserError) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error of this kind whose text contains all of `names`: of a file, `line 2`, a key, a value."""
    with pytest.raises(kind) as caught:
        yield caught
    text = str(caught.value)
    absent = [str(name) for name in names if str(name) not in text]
    assert not absent, f"{absent} not in: {text}"
