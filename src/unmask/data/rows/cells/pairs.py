"""Whether two texts belong together: the column that says so, as scores or in words."""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from unmask.data.rows.cells.lists import with_cells
from unmask.data.rows.cells.onehot import flag
from unmask.data.rows.columns import Records, excerpt
from unmask.data.textfiles import ReadLog

PAIR_LABELS = tuple(
    "label gold_label score scores similarity similarity_score sim relatedness relatedness_score is_duplicate "
    "duplicate is_paraphrase paraphrase quality is_match match is_similar similar is_same same labels class target "
    "rating 标签 类别 评分 相似度 得分 分数".split()
)
NLI = ({"premise", "hypothesis"}, {"前提", "假设"})  # their classes are numbered 0, 1, 2
_OBVIOUS = re.compile("duplicat|paraphras|similar|match|same|relat|entail|重复|相似|相关|匹配")


def pair_column(records: Records, others: Collection[str | None]) -> str | None:
    """The column of the scores: as named, by its usual names, or of flags under a name that tells."""
    label = records.labels(PAIR_LABELS, others)
    if label is not None:
        return label
    names = [name for name in records.names if name not in others and _OBVIOUS.search(name.lower())]
    return next((name for name in names if all(flag(row.get(name)) is not None for _, row in records.rows)), None)


def number(value: Any) -> float | None:
    """A number; None where it is missing, nan for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return math.nan if isinstance(value, bool | list | dict) else float(value)
    except (ValueError, OverflowError, TypeError):
        return math.nan


def with_scores(records: Records, column: str, log: ReadLog) -> tuple[Records, str | None]:
    """The records with numbers in place of yes and no, and the column; None where all of its rows belong together.

    So they do where a column that no option names is 1 everywhere, or the same word; which is noted.
    """
    values = [value for _, row in records.rows if (value := row.get(column)) not in (None, "")]
    flags = set(map(flag, values))
    same = len({str(value).strip() for value in values}) == 1
    if same and column != records.options.label_column and (flags == {True} or are_classes(records, column)):
        text = "{source}: all pairs have {column}={value} and are read as pairs that belong together"
        log.note(text, records.source, column, excerpt(values[0]))
        return records, None
    if {str(value).strip() for value in values} == {*"012"} and not _are_of_nli(records, values):
        log.note("{source}: 0, 1 and 2 are read as scores, not as the classes of NLI", records.source)
    if values and None not in flags and not _are_of_nli(records, values):
        records = with_cells(records, column, lambda _, value: value if (bit := flag(value)) is None else float(bit))
    return records, column


def are_classes(records: Records, column: str) -> bool:
    """Whether labels are words, and none a number; or whole numbers beside a premise and a hypothesis."""
    values = [row.get(column) for _, row in records.rows if number(row.get(column)) is not None]
    words = all(math.isnan(number(value) or 0) for value in values)
    return bool(values) and (words or _are_of_nli(records, values))


def _are_of_nli(records: Records, values: Sequence[Any]) -> bool:
    names = {name.lower() for name in records.names}
    return any(both <= names for both in NLI) and {str(value).strip() for value in values} <= {*"012"}
