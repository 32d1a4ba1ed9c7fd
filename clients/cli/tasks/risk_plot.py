"""Draw the risks of a release: what guesses become, and epsilon by delta."""

from __future__ import annotations

import io
import math
from typing import Any

from clients.cli.errors import UsageError
from policies.risk import RiskReport

_BLUE, _GREY = "#1f5fa8", "#777777"


def draw(report: RiskReport, *, kind: str) -> bytes:
    """Return a picture as PNG or SVG; the same bytes for the same report.

    Raises:
        UsageError: if the drawing library is not installed.
    """
    try:
        # Drawing belongs to an extra; the figures need no picture.
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise UsageError("drawing needs matplotlib", hint="pip install 'depa[demo]'") from None
    with mpl.rc_context({"svg.hashsalt": "depa", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_guesses(left, report)
        _draw_epsilons(right, report)
        file = io.BytesIO()
        date = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=120, metadata=date)
    return file.getvalue()


def _draw_guesses(axes: Any, report: RiskReport) -> None:
    guesses = [alpha for alpha, _ in report.curve]
    axes.loglog(guesses, guesses, "--", color=_GREY, label="without the model")
    axes.loglog(guesses, [1 - f for _, f in report.curve], color=_BLUE, label="with it, at most")
    for baseline, success in report.reconstruction:
        axes.plot(baseline, success, "o", color=_BLUE)
    axes.set_xlabel("success without the model, or false positive rate")
    axes.set_ylabel("success, or true positive rate")
    axes.set_ylim(top=1.05)
    axes.set_title("What a guess becomes")
    axes.legend(frameon=False)


def _draw_epsilons(axes: Any, report: RiskReport) -> None:
    known = [(delta, epsilon) for delta, epsilon in report.epsilons if math.isfinite(epsilon)]
    axes.semilogx([d for d, _ in known], [e for _, e in known], "o-", color=_BLUE)
    if report.delta is not None and report.epsilon is not None:
        axes.plot(report.delta, report.epsilon, "s", color=_GREY, label="this release")
        axes.legend(frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("delta")
    axes.set_ylabel("epsilon")
    axes.set_title("Epsilon by delta")
