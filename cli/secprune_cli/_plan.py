"""Lists on the command line, and the tables of a plan, for `auditor plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from secprune.errors import LocalMisuseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secprune.parties.planning import Case, Plan, Price, Threshold


def words(text: str, what: str) -> tuple[str, ...]:
    """The parts of a list with commas.

    Raises:
        LocalMisuseError: a part is empty, or stands there twice.
    """
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts) or len(set(parts)) != len(parts):
        raise LocalMisuseError(
            f"{text!r} is no list of {what}",
            hint="give different numbers with commas between, such as 4,8,16",
        )
    return parts


def numbers(text: str, what: str) -> tuple[int, ...]:
    """Whole numbers of a list with commas.

    Raises:
        LocalMisuseError: a part is no whole number.
    """
    parts = words(text, what)
    # Digits of other scripts are decimal too, and long ones take int() a while.
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise LocalMisuseError(
            f"{text!r} is no list of {what}", hint="give whole numbers with commas between, such as 4,8,16"
        )
    return tuple(map(int, parts))


def print_plan(plan: Plan) -> None:
    """For people: what it rests on, a table for each epsilon, and where each begins to be worth having."""
    console = Console(soft_wrap=False, highlight=False)
    console.print(_basis(plan))
    console.print(Text(plan.assumption + " " + plan.conservative))
    for epsilon in dict.fromkeys(price.epsilon for price in plan.prices):
        console.print()
        console.print(_cases(plan, [price for price in plan.prices if price.epsilon == epsilon]))
    console.print()
    console.print(_thresholds(plan))
    for price in plan.prices:
        least = price.smallest
        console.print(
            Text(
                f"epsilon {price.epsilon}, {price.payload}: worth having from {least.patients} patients on, at {least.hospitals} "
                f"hospitals of {least.patients_per_hospital}"
            )
        )


def _basis(plan: Plan) -> Table:
    table = Table(
        title="What privacy costs", show_header=False, title_justify="left", title_style="bold", box=None
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    baseline = plan.public_only_agreement
    rows = {
        "features": str(plan.features),
        "delta": plan.delta,
        "clip bound": plan.clip,
        "assumed shift": f"{plan.shift:.4f}",
        "taken by clipping": f"{100 * plan.pulled_by_clip:.1f}% of the shift, of a typical patient; not counted below",
        "public text alone": f"error {plan.shift:.4f}"
        + ("" if baseline is None else f", {_share(baseline)} of the mask at sparsity {plan.sparsity}"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _cases(plan: Plan, prices: Sequence[Price]) -> Table:
    """Rows: consortia; columns: patients of each hospital."""
    measured = plan.public_only_agreement is not None
    z = float(prices[0].noise_multiplier)
    table = Table(
        title=f"epsilon {prices[0].epsilon}: noise multiplier {z:.4f}",
        title_justify="left",
        title_style="bold",
        caption="noise of a feature's mean (in parts of the shift), "
        + ("mask agreement" if measured else "error left")
        + "; * worth having",
        caption_justify="left",
    )
    table.add_column("patients each", style="cyan")
    shown = dict.fromkeys(case.patients_per_hospital for case in prices[0].cases)
    for patients in shown:
        table.add_column(str(patients), justify="right")
    for price in prices:
        for label, row in _rows(price).items():
            table.add_row(label, *(_cell(row[patients]) for patients in shown))
    return table


def _rows(price: Price) -> dict[str, dict[int, Case]]:
    rows: dict[str, dict[int, Case]] = {}
    for case in price.cases:
        # With counts each hospital's own mask is the same in all consortia.
        label = "counts, each alone" if price.payload == "counts" else f"{case.hospitals} hospitals"
        rows.setdefault(label, {})[case.patients_per_hospital] = case
    return rows


def _cell(case: Case) -> str:
    quality = _short(case.error) if case.agreement is None else _share(case.agreement)
    return f"{_short(case.noise)} ({_short(case.noise_to_signal)})\n{quality}{' *' if case.worth_having else '  '}"


def _thresholds(plan: Plan) -> Table:
    table = Table(
        title="Fewest patients of all hospitals together for which an epsilon is worth having (at each)",
        title_justify="left",
        title_style="bold",
        caption="worth having: at most half of what public text alone loses is lost. Below: the epsilon if all servers and all other "
        "hospitals work together",
        caption_justify="left",
    )
    table.add_column("epsilon", style="cyan")
    for threshold in plan.prices[0].thresholds:
        table.add_column(f"{threshold.hospitals} hospitals", justify="right")
    for price in plan.prices:
        table.add_row(f"{price.epsilon}\n{price.payload}", *map(_threshold, price.thresholds))
    return table


def _threshold(threshold: Threshold) -> str:
    collapsed = threshold.epsilon_collapsed
    return f"{threshold.patients} ({threshold.patients_per_hospital})\n" + (
        f"{threshold.epsilon_intact:.3g}, still"
        if collapsed is None
        else f"{threshold.epsilon_intact:.3g}, else {collapsed:.3g}"
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _share(share: float) -> str:
    return f"{100 * share:.2f}%"
