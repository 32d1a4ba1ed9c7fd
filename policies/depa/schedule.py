"""DEPA's optimisers and schedules in our closed lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from policies.depa.form import Change
from policies.depa.network import KIND
from policies.depa.pipeline_form import DepaNamed
from policies.errors import DocumentError, Problem

_ADAM: Final = {"lr": "lr", "betas": "betas", "eps": "eps", "weight_decay": "weightDecay"}
_OPTIMISERS: Final[Mapping[str, Mapping[str, str]]] = {
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "SGD": {
        "lr": "lr",
        "momentum": "momentum",
        "nesterov": "nesterov",
        "weight_decay": "weightDecay",
    },
}
_SCHEDULES: Final[Mapping[str, Mapping[str, str]]] = {
    "CyclicLR": {
        "base_lr": "baseLr",
        "max_lr": "maxLr",
        "step_size_up": "stepSizeUp",
        "step_size_down": "stepSizeDown",
        "mode": "mode",
        "gamma": "gamma",
    },
    "OneCycleLR": {
        "max_lr": "maxLr",
        "pct_start": "pctStart",
        "div_factor": "divFactor",
        "final_div_factor": "finalDivFactor",
    },
    "CosineAnnealingLR": {"eta_min": "etaMin"},
    "StepLR": {"step_size": "stepSize", "gamma": "gamma"},
}
_ALWAYS: Final[Mapping[str, object]] = {
    "amsgrad": False,
    "cycle_momentum": False,
    "dampening": 0,
    "maximize": False,
}
_FROM_STEPS: Final = frozenset({"T_max", "total_steps", "epochs", "steps_per_epoch"})
_WHOLE: Final = frozenset({"stepSizeUp", "stepSizeDown", "stepSize"})
_CYCLE: Final = 2000
"""Steps in which torch's cyclic schedule goes up unless it is told otherwise."""


def optimizer_of(said: DepaNamed, *, at: str) -> dict[str, Any]:
    """Return an optimiser as the JSON of ours.

    Raises:
        DocumentError: naming the optimiser or parameter that is not offered.
    """
    params, _ = _params(said, _OPTIMISERS, at)
    return {"name": said.name, "params": params}


def scheduler_of(said: DepaNamed, *, at: str) -> tuple[dict[str, Any], list[Change]]:
    """Return a schedule as the JSON of ours, and what was changed.

    Raises:
        DocumentError: naming the schedule or parameter that is not offered.
    """
    params, changes = _params(said, _SCHEDULES, at)
    if said.name == "CyclicLR":
        params.setdefault("stepSizeUp", _CYCLE)
    return {"name": said.name, "params": params}, changes


def _params(
    said: DepaNamed, offered: Mapping[str, Mapping[str, str]], at: str
) -> tuple[dict[str, Any], list[Change]]:
    names = offered.get(said.name)
    if names is None:
        hint = f"offered are {', '.join(offered)}"
        raise DocumentError(
            KIND, [Problem(f"{at}/name", f"{said.name[:60]!r} is not offered", hint)]
        )
    kept: dict[str, Any] = {}
    changes: list[Change] = []
    problems: list[Problem] = []
    for name, value in said.params.items():
        if name in names:
            whole = names[name] in _WHOLE
            kept[names[name]] = value if whole or isinstance(value, bool) else _floats(value)
        elif name in _FROM_STEPS and said.name in ("OneCycleLR", "CosineAnnealingLR"):
            changes.append(
                Change("changed", f"{at}/params/{name}", "the schedule spans the planned steps")
            )
        elif name not in _ALWAYS or value != _ALWAYS[name]:
            problems.append(
                Problem(f"{at}/params/{name}", f"is no parameter of {said.name} with this value")
            )
    if problems:
        raise DocumentError(KIND, problems)
    return kept, changes


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    return float(value) if type(value) is int else value
