"""Write the page about privacy accounting: what is composed, how, and which bounds follow."""

from __future__ import annotations

from docs.markdown import page, table
from policies import accounting, events, risk

_EVENTS = [
    (
        "`GaussianDpEvent`",
        "one release with Gaussian noise, such as metrics of private data after training",
        "`noise_multiplier`",
    ),
    ("`LaplaceDpEvent`", "one release with Laplace noise", "`noise_multiplier`"),
    (
        "`PoissonSampledDpEvent`",
        "a mechanism on units of which each takes part with one probability",
        "`sampling_probability`, `event`",
    ),
    ("`SelfComposedDpEvent`", "the same mechanism many times", "`event`, `count`"),
    ("`ComposedDpEvent`", "several mechanisms", "`events`"),
    ("`NoOpDpEvent`", "nothing", ""),
]
_ABOUT = (
    "One module, `policies/accounting.py`, computes every privacy figure: the check before a "
    "pipeline is submitted, the service's budgets, the clean room's stop, the audit. "
    "`policies/risk.py` turns the same distributions into risks. How to read those: "
    "[read a risk report](../how-to/read-a-risk-report.md)."
)
_COMPOSED = (
    "Budgets hold mechanisms, never epsilons, and compose them anew: the sum of several "
    "runs' epsilons may be twice what they cost together. The JSON is that of "
    "`dp_accounting`'s `DpEvent.to_named_tuple`, read by a closed list of class names with "
    "exactly these fields."
)
_PLD = (
    "Privacy loss distributions (PLD). Losses are rounded up to a grid, so that every figure is "
    "an upper bound; where a grid is coarse for the figure, the next finer one is taken. Renyi "
    "DP checks the result wherever it knows the mechanism: PLD above RDP is an error and nothing "
    "is decided on it. Central-limit bounds (GDP) are not used: they report less than the truth."
)
_ADJACENCY = (
    "`add-remove`: data sets that differ by one unit more or less; the larger of the two "
    "directions counts. `replace-one`: one unit's data exchanged for other data, which costs "
    "more, often nearly twice as much, for the same noise. The contract fixes which; figures of "
    "one are not compared with figures of the other."
)
_RISK = (
    "With δ(ε) of the composed mechanism, over both directions of the adjacency,\n\n"
    "```text\n"
    "f(alpha) = max over ε ≥ 0 of  1 - δ(ε) - e^ε alpha  and of  e^-ε (1 - δ(ε) - alpha)\n"
    "```\n\n"
    "is the least share of members that any test misses at a false positive rate alpha (the "
    "trade-off function, made symmetric). It holds for any number of steps; no approximation by "
    "a normal distribution is in it. The maximum is over a grid of ε, so that what is left out "
    "can only make the reported risk larger."
)
_FIGURES = [
    ("membership advantage", "δ(0)", "largest true positive rate less false positive rate"),
    ("members found", "1 - f(0.001)", "true positive rate at a false positive rate of 0.001"),
    (
        "reconstruction",
        "1 - f(kappa)",
        "success of a guess that succeeds with kappa without the model",
    ),
]


_AUDIT = (
    "`trainer/privacy/audit.py` measures one training run (Steinke, Nasr and Jagielski 2023): of "
    "m made-up units, each included or not by a coin, a test says afterwards which were. If "
    "the run is (ε, δ)-private, so many right answers are improbable; the largest ε that is "
    "refuted with 95 % confidence is a lower bound. It has to stay below the reported ε, and a "
    "run whose noise is off has to fail. It says that a bound is broken, never that it holds."
)


def accounting_page() -> str:
    """Return the page."""
    grids = ", ".join(f"{grid:g}" for grid in accounting.GRIDS)
    limits = [
        ("epsilon of a plan", f"{accounting.MAX_EPSILON:g}"),
        ("noise multiplier", f"{events.MAX_NOISE:g}"),
        ("steps, or repetitions of an event", f"{events.MAX_COUNT:,}"),
        ("grids of the privacy loss", grids),
    ]
    baselines = " and ".join(f"{one:g}" for one in risk.BASELINES)
    return page(
        "Accounting",
        _ABOUT,
        f"## What is composed\n\n{_COMPOSED}",
        table("event", "what", "fields", rows=_EVENTS),
        f"## How\n\n{_PLD}",
        table("limit", "value", rows=limits),
        f"## Neighbouring data sets\n\n{_ADJACENCY}",
        f"## Risks\n\n{_RISK}",
        table("figure", "is", "meaning", rows=_FIGURES),
        f"kappa is one over the number of units, {baselines}, or what `--baseline` says.",
        f"## Measured from below\n\n{_AUDIT}",
    )
