"""The report's plots, as SVG that stands inside the page: no font, file or address from outside.

Colours are Okabe and Ito's; lines and markers differ too, for print and for who sees no colours. What was measured is
solid and filled; its control, with a protection switched off, dashed and hollow.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from secprune_cli.report import series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from secprune.audit.evidence import Evidence
    from secprune_cli.report.series import Dot, Epsilons, Line, Panel
    from secprune_cli.report.words import CheckText

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#666666"
_SMALLEST = 1e-3
"""Where both axes of a ROC begin."""
_WIDTH, _ROW = 7.0, 0.2
"""Inches, of a figure and of a line in a list of values."""
_LOOK: Any = {
    "svg.fonttype": "path",  # letters as outlines: no font is needed, and no text of a study is markup
    "svg.hashsalt": "secprune",
    "text.parse_math": False,  # a dollar sign in a name begins no formula
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class Plot(NamedTuple):
    """A figure of the report.

    Attributes:
        id: for references, unique in the report.
        title: its heading.
        reads: how to read it, in plain words.
        words: what a reader hears who cannot see it.
        box: the picture's viewBox.
        svg: what is inside the svg element; empty if there is nothing to draw.
        missing: why there is nothing.
    """

    id: str
    title: str
    reads: str
    words: str
    box: str
    svg: Markup
    missing: str


def plots(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[Plot, ...]:
    """All plots in order, those without data too."""
    import matplotlib as mpl

    with mpl.rc_context(_LOOK):
        return _all(evidence, about)


def _all(evidence: Evidence, about: Mapping[str, CheckText]) -> tuple[Plot, ...]:
    rocs, dots = series.rocs(evidence, about), series.aucs(evidence, about)
    found = series.epsilons(evidence, about)
    leakage, unanimity = series.leakage(evidence, about), series.unanimity(evidence)
    return (
        _plot(
            "aucs",
            "How well attacks tell notes that were used from others",
            "Each dot is an attack; its bar is the 95% confidence interval. On the line at 0.5 the attack is guessing; at "
            "1.0 it is always right. Hollow squares are controls: the same attack with a protection switched off, which "
            "must succeed. Grey diamonds are baselines: the same attack where there is nothing to find.",
            "; ".join(f"{dot.check}, {dot.label}: {dot.value:.3f}" for dot in dots),
            lambda: _dots(dots),
            "" if dots else "no attack that gives an AUC was run",
        ),
        _plot(
            "roc",
            "How many notes attacks find at few false accusations",
            "How large a share of the used notes an attack finds (upwards) when it accuses a given share of others wrongly "
            "(rightwards). Both scales are logarithmic, because what happens at few false accusations matters most. The dotted "
            "line is guessing. Dashed lines are controls with a protection switched off.",
            "; ".join(f"{panel.title}: {len(panel.lines)} curves" for panel in rocs),
            lambda: _rocs(rocs),
            "" if rocs else "no attack that gives such a curve was run",
        ),
        _plot(
            "epsilon",
            "Measured against claimed epsilon",
            "Lower bounds: the true epsilon is at least this, so a bound to the right of the claim would refute it. "
            "Estimates are shown apart, because the true epsilon may lie on either side of them. Hollow squares are "
            "controls in which the noise was made wrong on purpose; grey diamonds were computed, not measured.",
            _epsilon_words(found),
            lambda: _epsilons(found) if found else "",
            "" if found else "no canary audit was run; without noise there is no epsilon to audit",
        ),
        _plot(
            "leakage",
            "Leakage against the number of clients and of documents",
            "How well the attack does the more clients are summed, and the more documents each client has. 0.5 is guessing.",
            _panel_words(leakage),
            lambda: _numbers(leakage, "AUC", middle=0.5),
            "" if leakage else "no check measured an AUC for several numbers of clients or documents",
        ),
        _plot(
            "unanimity",
            "How often all clients agree",
            "The share of weights on which all clients vote the same. There, the sum tells every single client's vote.",
            _panel_words(unanimity),
            lambda: _numbers(unanimity, "share of weights", middle=None),
            "" if unanimity else "how often clients agree was not measured",
        ),
    )


def _plot(name: str, title: str, reads: str, words: str, draw: Callable[[], str], missing: str) -> Plot:
    box, svg = ("", Markup()) if missing else _embedded(draw(), name)
    return Plot(name, title, reads, f"{words}.", box, svg, missing)


def _panel_words(panels: Sequence[Panel]) -> str:
    return "; ".join(
        f"{line.label}, {panel.title}: "
        + ", ".join(f"{y:.3f} at {x:g}" for x, y in zip(line.x, line.y, strict=True))
        for panel in panels
        for line in panel.lines
    )


def _epsilon_words(found: Epsilons | None) -> str:
    if found is None:
        return ""
    return "; ".join(
        [
            *([] if found.claimed is None else [f"claimed: {found.claimed:.3g}"]),
            *(f"lower bounds, {dot.label}: {dot.value:.3g}" for dot in found.bounds),
            *(f"estimates, {dot.label}: {dot.value:.3g}" for dot in found.estimates),
        ]
    )


def _dots(dots: Sequence[Dot]) -> str:
    figure, (axes,) = _canvas(1, 1, 0.7 + _ROW * _rows(dots))
    _rank(axes, dots)
    axes.axvline(0.5, color=_GREY, linewidth=1, linestyle=":")
    axes.set_xlim(min(0.3, *(dot.value - 0.05 for dot in dots)), 1.02)
    axes.set_xlabel("AUC (0.5 = guessing, 1.0 = always right)")
    return _svg(figure)


def _epsilons(found: Epsilons) -> str:
    parts = [
        (dots, name)
        for dots, name in ((found.bounds, "lower bounds"), (found.estimates, "estimates (no bounds)"))
        if dots
    ]
    heights = [1 + _rows(dots) for dots, _ in parts]
    figure, panels = _canvas(len(parts), 1, 0.5 + _ROW * sum(heights), heights=heights, sharex=True)
    ends = [end for dots, _ in parts for dot in dots for end in (dot.value, dot.high, found.claimed)]
    right = 1.1 * max(filter(None, map(_finite, ends)), default=1.0)
    for axes, (dots, name) in zip(panels, parts, strict=True):
        _rank(axes, dots)
        axes.set_title(name, fontsize=9, loc="left", fontweight="bold")
        axes.set_xlim(0, right)
        if found.claimed is not None:
            axes.axvline(found.claimed, color=_COLOURS[6], linewidth=1.4, linestyle="--")
            axes.annotate(
                f"claimed: {found.claimed:.3g}",
                (found.claimed, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, 2),
                textcoords="offset points",
                fontsize=8,
            )
    panels[-1].set_xlabel("epsilon")
    return _svg(figure)


def _rank(axes: Any, dots: Sequence[Dot]) -> None:
    """Values below each other, with their intervals, each check's under its title; controls and computed values hollow."""
    row, ticks, names, weights = 0, [], [], []
    for check, some in groupby(dots, key=lambda dot: dot.check):
        ticks.append(row)
        names.append(_shortened(check))
        weights.append("bold")
        for dot in some:
            row += 1
            colour = _GREY if dot.compared else _COLOURS[1] if dot.control else _COLOURS[0]
            low, high = (dot.value if end is None else end for end in (_finite(dot.low), _finite(dot.high)))
            axes.plot([low, high], [row, row], color=colour, linewidth=1.4)
            look = {"marker": "o", "mfc": colour}
            if dot.control or dot.compared:
                look = {"marker": "D" if dot.compared else "s", "mfc": "white"}
            axes.plot([dot.value], [row], color=colour, linestyle="none", markersize=5.5, **look)
            ticks.append(row)
            names.append(_shortened(dot.label))
            weights.append("normal")
        row += 1
    axes.set_yticks(ticks, names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    for label, weight in zip(axes.get_yticklabels(), weights, strict=True):
        label.set_fontweight(weight)
    axes.set_ylim(row - 0.3, -0.7)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)


def _rocs(panels: Sequence[Panel]) -> str:
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, all_axes = _canvas(rows, columns, (2.3 + _legend_height(panels, 30)) * rows)
    for axes, panel in zip(all_axes, panels, strict=False):
        guess = [_SMALLEST, 1.0]
        axes.plot(guess, guess, color=_GREY, linewidth=1, linestyle=":", label="guessing")
        for number, line in enumerate(panel.lines):
            colour = _COLOURS[number % len(_COLOURS)]
            points = [(max(x, _SMALLEST), y) for x, y in zip(line.x, line.y, strict=True) if y >= _SMALLEST]
            if not points:
                continue
            x, y = zip(*points, strict=True)
            look = {"linestyle": "--", "mfc": "white"} if line.control else {"linestyle": "-"}
            axes.plot(
                x,
                y,
                color=colour,
                linewidth=1.5,
                marker=_MARKERS[number % len(_MARKERS)],
                markevery=max(1, len(x) // 6),
                markersize=4.5,
                label=_wrapped(line.label, 30),
                **look,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(_SMALLEST, 1.05)
        axes.set_ylim(_SMALLEST, 1.2)
        axes.set_title(_wrapped(panel.title, 30), fontsize=9)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.grid(color="#dddddd", linewidth=0.5)
        _percent(axes)
        _legend(figure, axes)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    return _svg(figure)


def _numbers(panels: Sequence[Panel], upwards: str, *, middle: float | None) -> str:
    """Lines against whole numbers of something; on a scale of doublings where they span many."""
    figure, all_axes = _canvas(1, len(panels), 2.9 + _legend_height(panels, 44))
    for axes, panel in zip(all_axes, panels, strict=True):
        for number, line in enumerate(panel.lines):
            _line(axes, line, number)
        places = sorted({x for line in panel.lines for x in line.x})
        if places[0] > 0 and places[-1] > 8 * places[0]:
            axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
        if middle is not None:
            axes.axhline(middle, color=_GREY, linewidth=1, linestyle=":", label="guessing")
        low = min(y for line in panel.lines for y in line.y)
        axes.set_ylim(min(low - 0.05, 0.45 if middle else 0.0), 1.04)
        axes.set_xlabel(panel.across)
        axes.set_ylabel(upwards)
        axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        _legend(figure, axes)
    return _svg(figure)


def _line(axes: Any, line: Line, number: int) -> None:
    colour = _COLOURS[number % len(_COLOURS)]
    bars = None
    if line.low:
        ends = [
            (y if low is None else low, y if high is None else high)
            for y, low, high in zip(line.y, line.low, line.high, strict=True)
        ]
        bars = (
            [max(0.0, y - low) for y, (low, _) in zip(line.y, ends, strict=True)],
            [max(0.0, high - y) for y, (_, high) in zip(line.y, ends, strict=True)],
        )
    axes.errorbar(
        line.x,
        line.y,
        yerr=bars,
        label=_wrapped(line.label, 44),
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        mfc="white" if line.control else colour,
        linestyle="--" if line.control else "-",
        linewidth=1.4,
        markersize=5,
        capsize=2.5,
    )


def _percent(axes: Any) -> None:
    """Decades of both axes as people say them."""
    from matplotlib.ticker import FuncFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def _legend(figure: Any, axes: Any) -> None:
    """Below the axes, at a distance that does not depend on their height."""
    from matplotlib.transforms import ScaledTranslation

    below = axes.transAxes + ScaledTranslation(0, -0.45, figure.dpi_scale_trans)
    axes.legend(
        fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below, frameon=False
    )


def _legend_height(panels: Sequence[Panel], width: int) -> float:
    """In inches, of the longest legend."""
    return max(
        (0.17 * sum(1 + _wrapped(line.label, width).count("\n") for line in panel.lines) for panel in panels),
        default=0.0,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _rows(dots: Sequence[Dot]) -> int:
    """That `_rank` takes: one for each dot, and one for each check's title."""
    return len(dots) + len(list(groupby(dots, key=lambda dot: dot.check)))


def _shortened(text: str) -> str:
    """In one line; the whole text stands in the check's own table."""
    return textwrap.shorten(text, 60, placeholder=" …")


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width)


def _canvas(
    rows: int, columns: int, height: float, *, heights: Sequence[int] = (), sharex: bool = False
) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, height_ratios=heights or None)
    return figure, list(axes.flat)


def _svg(figure: Any) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    stream = io.StringIO()
    # No date, and ids that follow from the content: the same results give the same text.
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return stream.getvalue()


def _embedded(svg: str, name: str) -> tuple[str, Markup]:
    """The viewBox of a figure, and what is inside its svg element, with ids that no other figure has.

    matplotlib's style element speaks of everything ("*"), so it would reach into the page: it goes, and the page's own
    style sheet says the same of plots. Its metadata name addresses on the web, its comments repeat texts: they go too.
    """
    start = svg.index("<svg")
    opening, inside = (
        svg[start : svg.index(">", start)],
        svg[svg.index(">", start) + 1 : svg.rindex("</svg>")],
    )
    inside = re.sub(r"<!--.*?-->", "", inside, flags=re.DOTALL)
    for element in ("metadata", "style"):
        inside = re.sub(rf"<{element}\b.*?</{element}>", "", inside, flags=re.DOTALL)
    inside = re.sub(r'\bid="', f'id="{name}-', inside)
    inside = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", inside)
    box = re.search(r'viewBox="([\d. ]+)"', opening)
    # Trusted: matplotlib made it, texts are outlines of letters in it, and comments are gone.
    return (box[1] if box else ""), Markup(re.sub(r"\s*\n\s*", "\n", inside))  # noqa: S704
