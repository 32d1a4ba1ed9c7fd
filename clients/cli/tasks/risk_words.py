"""The risks of a release in words, for terminals and pages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clients.cli.tasks.mechanisms import Mechanism
from policies.risk import LOW_FALSE_POSITIVES, RiskReport


@dataclass(frozen=True)
class NamedRisk:
    """One figure, with what it would be if nothing had been released."""

    name: str
    without: str
    with_it: str


def named_risks(report: RiskReport) -> tuple[NamedRisk, ...]:
    """Return the figures in the order in which people ask for them."""
    return (
        NamedRisk(
            "members found, one in a thousand others accused",
            percent(LOW_FALSE_POSITIVES),
            percent(report.true_positives),
        ),
        NamedRisk("membership advantage", percent(0), percent(report.advantage)),
        *(
            NamedRisk(_reconstruction(baseline, report.units), percent(baseline), percent(success))
            for baseline, success in report.reconstruction
        ),
    )


def _reconstruction(baseline: float, units: int | None) -> str:
    if units is not None and math.isclose(baseline, 1 / units):
        return f"right guess who of {units:,} it is"
    return f"right guess of what {percent(baseline)} guess anyway"


def headline(found: Mechanism, report: RiskReport) -> str:
    """Return the budget that the figures follow from."""
    at = (
        ""
        if report.epsilon is None
        else f"epsilon {report.epsilon:.4g} at delta {report.delta:g}, "
    )
    many = "" if report.units is None else f", {report.units:,} {found.unit}s"
    return f"{at}{report.adjacency}{many}"


def percent(value: float) -> str:
    """Return a probability as people read it; rounded up, since it is a bound."""
    if value <= 0:
        return "0 %"
    digits = max(0, 2 - math.floor(math.log10(value * 100)))
    scale = 10 ** min(digits, 9)
    return f"{min(100.0, math.ceil(value * 100 * scale - 1e-6) / scale):g} %"
