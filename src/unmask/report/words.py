"""Which languages the report speaks, and how it writes numbers.

A language is added by one more catalogue with the same keys and the same {places}, beside english.py.
"""

from typing import Any

from unmask.errors import UserError
from unmask.language import Verbatim, label
from unmask.metrics import figure_of
from unmask.report import chinese, english

ENGLISH = english.WORDS
CATALOGUES = {"en": ENGLISH, "zh": chinese.WORDS}
PHRASES = {text: key for key, text in ENGLISH.items() if key.startswith("known.")}


def catalogue(language: str) -> dict[str, str]:
    """The words of a language. Raises UserError for one that there is no catalogue of."""
    if language not in CATALOGUES:
        raise UserError(f"the report cannot be written in the language {language!r}", allowed=", ".join(CATALOGUES))
    return CATALOGUES[language]


def translated(text: str, words: dict[str, str]) -> str:
    """The counterpart of a text that the quick start writes; any other text, or a Verbatim one, as it is."""
    if text in PHRASES and not isinstance(text, Verbatim):
        return words[PHRASES[text]]
    return label(text, into=words["language"])


def format_duration(seconds: float, words: dict[str, str]) -> str:
    """`0.8 s`, `2 min 5 s`, `1 h 12 min`, as `console.seconds` has it, in the words of the page."""
    if seconds < 99.5:
        return words["seconds"].format(seconds=f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10 and rest:
        return words["minutes"].format(minutes=minutes, seconds=rest)
    if minutes < 60:
        return words["minutes.only"].format(minutes=minutes)
    return words["hours"].format(hours=minutes // 60, minutes=minutes % 60)


def format_percent(share: float, digits: int = 1) -> str:
    """0.952 -> `95.2 %`."""
    return f"{100 * share:.{digits}f}\u00a0%"


def format_figure(metric: str, value: float) -> str:
    """A figure as the page shows it: a share in per cent, any other as it is."""
    return format_percent(value) if figure_of(metric).percent else _signed(value, f"{abs(value):.3f}", plus="")


def figure_range(metric: str, value: dict[str, Any], words: dict[str, str]) -> str:
    """Its interval."""
    if figure_of(metric).percent:
        return percent_range(value, words)
    return words["to"].format(low=format_figure(metric, value["low"]), high=format_figure(metric, value["high"]))


def gain(metric: str, difference: float, *, sign: bool = True) -> str:
    """A difference of such figures: of shares in percentage points, of others as it is."""
    if figure_of(metric).percent:
        return format_points(difference, sign=sign)
    shown = f"{abs(difference):.3f}"
    return _signed(difference, shown) if sign and float(shown) else shown


def gain_range(metric: str, value: dict[str, Any], words: dict[str, str]) -> str:
    """The interval of a difference."""
    return words["to"].format(low=gain(metric, value["low"]), high=gain(metric, value["high"]))


def format_gain(metric: str, difference: float, words: dict[str, str], *, sign: bool = True) -> str:
    """A difference with its unit."""
    shown = gain(metric, difference, sign=sign)
    return words["points"].format(value=shown) if figure_of(metric).percent else shown


def _signed(value: float, shown: str, plus: str = "+") -> str:
    return f"{plus if value >= 0 else '−'}{shown}"


def format_points(difference: float, *, sign: bool = True) -> str:
    """A difference of shares in percentage points: 0.021 -> `+2.1`; with two digits where one would show nothing."""
    digits = 1 if abs(difference) >= 0.0005 else 2
    value = round(100 * difference, digits)
    shown = f"{abs(value):.{digits if value else 1}f}"
    if not sign or value == 0:
        return shown
    return f"{'+' if value > 0 else '−'}{shown}"


def percent_range(value: dict[str, Any], words: dict[str, str]) -> str:
    """The interval of a share: `94.3 to 96.1 %`."""
    low, high = f"{100 * value['low']:.1f}", format_percent(value["high"])
    return words["to"].format(low=low, high=high)


def format_p_value(p: float) -> str:
    """0.0312 -> `0.031`; below a thousandth `<0.001`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
