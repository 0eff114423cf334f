"""Expecting an error by what it names: file, line, key, value, option; never by its wording."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from unmask.advice import PLACEHOLDERS
from unmask.errors import UserError


def as_keyword(option: str) -> str:
    """`--on-error skip` as the keyword that it is from Python: `on_error='skip'`; any other text as it is."""
    if option.startswith("data."):
        option = "--" + option.removeprefix("data.").replace("=", " ")
    if not option.startswith("--"):
        return option
    name, _, value = option.removeprefix("--").partition(" ")
    keyword = {"input-format": "format", "lang": "language"}.get(name, name.replace("-", "_"))
    return f"{keyword}={value if value.startswith(PLACEHOLDERS) else repr(value)}" if value else keyword


@contextmanager
def refused(*names: object, kind: type[Exception] = UserError) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error of this kind whose text contains all of `names`: of a file, `line 2`, a key, a value, an option
    (or the keyword that stands for it in an error from Python)."""
    with pytest.raises(kind) as caught:
        yield caught
    text = str(caught.value)
    absent = [str(name) for name in names if str(name) not in text and as_keyword(str(name)) not in text]
    assert not absent, f"{absent} not in: {text}"
