"""Figures, intervals and differences as pages and tables show them: a share in per cent, any other figure as it is."""

from collections.abc import Mapping

from unmask.messages import Message, message
from unmask.metrics import figure_of

Bounds = Mapping[str, float]  # low and high, of a figure or a difference


def figure_title(name: str) -> Message:
    """`classify.accuracy` as people call it: `accuracy`."""
    return message(figure_of(name).title)


def figure_heading(name: str) -> Message:
    """The title at the beginning of a heading: `Accuracy`; `macro-F1`, `nDCG@10` as they are."""
    title = figure_of(name).title
    return message(title.capitalize() if title.islower() else title)


def figure_axis(name: str) -> Message:
    """The title with its unit."""
    title = figure_title(name)
    return message("{figure} (%)", title) if figure_of(name).percent else title


def scale_of(name: str) -> int:
    """The factor by which values are drawn and shown."""
    return 100 if figure_of(name).percent else 1


def format_percent(share: float, digits: int = 1) -> str:
    """0.952 -> `95.2 %`."""
    return f"{100 * share:.{digits}f}\u00a0%"


def format_loss(loss: float) -> str:
    """A loss in nats: `6.41`."""
    return f"{loss:.2f}"


def format_figure(name: str, value: float) -> str:
    """`95.2 %`, `0.812`, `−0.031`."""
    return format_percent(value) if figure_of(name).percent else f"{value:.3f}".replace("-", "−")


def format_range(name: str, bounds: Bounds, *, difference: bool = False) -> Message:
    """The interval of a figure or of a difference: `94.3 to 96.1 %`, `+1.0 to +3.0`."""
    show = format_difference if difference else format_figure
    low, high = (show(name, bounds[key]) for key in ("low", "high"))
    return message("{low} to {high}", low.removesuffix("\u00a0%"), high)


def format_difference(name: str, difference: float, *, sign: bool = True) -> str:
    """A difference of such figures, of shares in percentage points: `+2.1`, `−0.012`; with a digit more where one would
    show nothing."""
    digits = 3 if not figure_of(name).percent else 2 if 0.00005 <= abs(difference) < 0.0005 else 1
    shown = f"{scale_of(name) * abs(difference):.{digits}f}"
    return f"{'+' if difference > 0 else '−'}{shown}" if sign and float(shown) else shown


def format_p_value(p: float) -> str:
    """0.0312 -> `0.031`; below a thousandth `<0.001`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
