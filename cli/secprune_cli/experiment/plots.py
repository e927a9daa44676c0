"""Figures of an experiment: one for each section of a grid, drawn without a display.

The ordinal axis of a section lies on the abscissa; of the other axes, the last one has colours and markers,
and the rest have panels of their own. Bars are the sample standard deviation over seeds.
"""

from __future__ import annotations

import io
import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec

from secprune_cli.experiment.results import shown, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secprune_cli.experiment.grid import Choices, Section
    from secprune_cli.experiment.results import Row

_ORDINAL = ("sparsity", "windows", "clients", "tokenizer_merges", "texts")
"""Axes of numbers, the likelier one to want on the abscissa first."""

_LABELS = {
    "sparsity": "sparsity (share of weights pruned)",
    "windows": "calibration windows of each client",
    "clients": "number of clients",
    "tokenizer_merges": "share of merges used on calibration text",
}

# Okabe and Ito's colours, told apart by colour-blind people too; markers as well, for print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#777777"

Points = list[tuple[int, float, float]]
"""Place on the abscissa, mean and standard deviation."""


class _Series(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn in one colour in one panel."""

    number: int
    label: str
    federated: Points
    local: Points


def draw(section: Section, rows: Mapping[Choices, Mapping[int, Row]]) -> bytes:
    """The figure of one section as PNG.

    Args:
        section: with at least one varied axis.
        rows: of each of its choices, by seed; those not measured yet may be empty.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(section.varied, key=lambda axis: _ORDINAL.index(axis) if axis in _ORDINAL else len(_ORDINAL))
    others = [axis for axis in section.varied if axis != across]
    coloured = others[-1] if others else None
    panels = list(itertools.product(*(_values(section, axis) for axis in others[:-1])))
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        width = max(5.2, 2.9 * len(panels) + 0.7)
        figure = Figure(figsize=(width, 3.9), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        plots = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for plot, panel in zip(plots, panels, strict=True):
            fixed = dict(zip(others[:-1], panel, strict=True))
            inside = {c: r for c, r in rows.items() if all(getattr(c, a) == v for a, v in fixed.items())}
            _panel(plot, section, inside, across, coloured)
            plot.set_title(", ".join(f"{_words(a)} {shown(v)}" for a, v in fixed.items()), fontsize=9)
            plot.set_xlabel(_LABELS.get(across, _words(across)))
        plots[0].set_ylabel("perplexity on held-out notes")
        title = section.name
        dense, _ = summary(row.dense for by_seed in rows.values() for row in by_seed.values())
        if _is_wide(rows):
            _logarithmic(plots[0])
            if math.isfinite(dense):
                for plot in plots:
                    plot.axhline(dense, color=_GREY, linewidth=0.8, linestyle="--", label="dense")
        elif math.isfinite(dense):
            # On a linear scale its line would leave little room for the differences that matter.
            title += f" (dense model: {dense:.1f})"
        found = {
            label: handle
            for plot in plots
            for handle, label in zip(*plot.get_legend_handles_labels(), strict=True)
        }
        labels = sorted(found, key=lambda label: label == "dense")
        columns = max(2, int(width / 2.1))
        handles = [found[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        figure.suptitle(title, fontsize=10)
        stream = io.BytesIO()
        # No version: the same results give the same file.
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _panel(
    plot: Any,
    section: Section,
    rows: Mapping[Choices, Mapping[int, Row]],
    across: str,
    coloured: str | None,
) -> None:
    ordinal = across in _ORDINAL
    places = _values(section, across)
    if ordinal:
        places.sort(key=Fraction)
    series = []
    for number, value in enumerate([None] if coloured is None else _values(section, coloured)):
        members = {
            places.index(getattr(choices, across)): list(by_seed.values())
            for choices, by_seed in rows.items()
            if by_seed and (coloured is None or getattr(choices, coloured) == value)
        }
        label = "" if coloured is None else f", {_short(coloured)}{shown(value)}"
        series.append(
            _Series(
                number=number,
                label=label,
                federated=_points(members, "federated"),
                local=_points(members, "local"),
            )
        )
    # Where one stands on a number, lines tell series apart; else they stand side by side.
    step = 0.05 if ordinal else 0.16
    shared = len(series) > 1 and all(s.local == series[0].local for s in series)
    middle = (len(series) - 1) / 2
    for one in series:
        colour, marker = _COLOURS[one.number % len(_COLOURS)], _MARKERS[one.number % len(_MARKERS)]
        shift, look = step * (one.number - middle), {"color": colour, "marker": marker}
        line = "-" if ordinal else "none"
        _line(plot, one.federated, f"federated{one.label}", shift, linestyle=line, **look)
        if not shared:
            line = ":" if ordinal else "none"
            _line(
                plot,
                one.local,
                f"local only{one.label}",
                shift + step / 2,
                linestyle=line,
                mfc="white",
                **look,
            )
    if shared:  # the server's choices do not touch what a client does alone
        line = ":" if ordinal else "none"
        _line(
            plot,
            series[0].local,
            "local only",
            -step * (middle + 1),
            linestyle=line,
            mfc="white",
            color=_GREY,
            marker="o",
        )
    names = [shown(place) for place in places]
    plot.set_xticks(range(len(places)), names, rotation=20 if sum(map(len, names)) > 36 else 0)
    plot.set_xlim(-0.5, len(places) - 0.5)
    plot.grid(axis="y", color="#dddddd", linewidth=0.5)


def _points(members: Mapping[int, list[Row]], field: str) -> Points:
    """Finite means; an infinite one stands in the table."""
    found = []
    for place, rows in sorted(members.items()):
        mean, deviation = summary(getattr(row, field) for row in rows)
        if math.isfinite(mean):
            found.append((place, mean, deviation or 0.0))
    return found


def _line(plot: Any, points: Points, label: str, shift: float, **look: Any) -> None:
    if not points:
        return
    places, means, deviations = zip(*points, strict=True)
    # On a logarithmic scale a bar must not reach down to zero.
    down = [min(deviation, 0.95 * mean) for mean, deviation in zip(means, deviations, strict=True)]
    at = [place + shift for place in places]
    bars = None if not any(deviations) else (down, deviations)
    plot.errorbar(at, means, yerr=bars, label=label, linewidth=1.2, markersize=4.5, capsize=2, **look)


def _is_wide(rows: Mapping[Choices, Mapping[int, Row]]) -> bool:
    """Whether perplexities differ by more than a factor of five."""
    found = [row.federated for by_seed in rows.values() for row in by_seed.values()]
    finite = [value for value in found if math.isfinite(value)]
    return bool(finite) and max(finite) > 5 * min(finite)


def _logarithmic(plot: Any) -> None:
    """A logarithmic scale with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    plot.set_yscale("log")
    low, high = plot.get_ylim()
    plot.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 200 * low else (1.0, 2.0, 5.0)))
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    plot.yaxis.set_minor_formatter(NullFormatter())


def _values(section: Section, axis: str) -> list[Any]:
    return list(dict.fromkeys(getattr(choices, axis) for choices in section.choices))


def _words(axis: str) -> str:
    return axis.replace("_", " ")


def _short(axis: str) -> str:
    """What goes before an axis's value in a legend, where there is little room."""
    names = {"server_comparison": "server ", "local_comparison": "client ", "weight_scaling": "scaled: "}
    return names.get(
        axis, "" if axis in {"ties", "split", "schedule", "local_pruner"} else f"{_words(axis)} "
    )
