"""DEPA's losses in our closed list: names are keys of a table, arithmetic stays arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from policies.depa.form import Change
from policies.depa.network import KIND
from policies.errors import DocumentError, Problem
from policies.expression import parse

_FUNCTIONAL: Final = ("torch.nn.functional.", "F.")
_MODULES: Final = ("torch.nn.", "nn.")
_NAMES: Final[Mapping[str, str]] = {
    **{
        prefix + name: name
        for prefix in _MODULES
        for name in ("BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss", "SmoothL1Loss")
    },
    **{
        prefix + name: ours
        for prefix in _FUNCTIONAL
        for name, ours in (
            ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss"),
            ("cross_entropy", "CrossEntropyLoss"),
            ("l1_loss", "L1Loss"),
            ("mse_loss", "MSELoss"),
            ("smooth_l1_loss", "SmoothL1Loss"),
        )
    },
    "monai.losses.DiceLoss": "DiceLoss",
    "torch.exp": "Exp",
}
_FIXED: Final[Mapping[str, Mapping[str, tuple[object, ...]]]] = {
    "": {"input": ("outputs", "$outputs"), "target": ("targets", "$targets")},
    "DiceLoss": {
        "sigmoid": (True,),
        "include_background": (True,),
        "to_onehot_y": (False,),
        "softmax": (False,),
        "jaccard": (False,),
    },
}
"""Parameters with a value that ours always have: all losses', then one loss's."""
_REDUCTIONS: Final = ("mean", "none")
_KEPT: Final[Mapping[str, Mapping[str, str]]] = {
    "BCEWithLogitsLoss": {"pos_weight": "posWeight"},
    "CrossEntropyLoss": {"label_smoothing": "labelSmoothing"},
    "DiceLoss": {"squared_pred": "squaredPred", "batch": "batch"},
    "SmoothL1Loss": {"beta": "beta"},
    "Exp": {"input": "input"},
}
_LOGITS: Final = (
    "take BCEWithLogitsLoss for masks or CrossEntropyLoss for classes, and leave the sigmoid out"
)
_HINTS: Final = {"nn.BCELoss": _LOGITS, "torch.nn.BCELoss": _LOGITS}
_SMOOTH: Final = 1e-5
"""What MONAI adds above and below the line."""


def loss_of(loss: Mapping[str, Any], *, at: str) -> tuple[dict[str, Any], list[Change]]:
    """Return DEPA's loss as the JSON of ours, and what was left out of it.

    Raises:
        DocumentError: naming each loss or parameter that is not offered.
    """
    reader = _Loss()
    value = reader.composed(loss, at) if "expression" in loss else reader.atomic(loss, at)
    if reader.problems:
        raise DocumentError(KIND, reader.problems)
    return value, reader.changes


class _Loss:
    """Translates losses, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.changes: list[Change] = []

    def atomic(self, value: object, at: str) -> dict[str, Any]:
        """Return a single loss."""
        loss = value if isinstance(value, dict) else {}
        self._only(loss, at, "class", "params")
        said = loss.get("class")
        name = _NAMES.get(said) if isinstance(said, str) else None
        params = loss.get("params", {})
        if name is None or not isinstance(params, dict):
            hint = _HINTS.get(str(said), f"offered are {', '.join(sorted(_NAMES))}")
            self._refuse(f"{at}/class", f"{str(said)[:100]!r} is not offered", hint)
            return {}
        return {"class": name, "params": self._params(name, params, f"{at}/params")}

    def _params(self, loss: str, params: Mapping[str, Any], at: str) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        fixed = {} if loss == "Exp" else {**_FIXED[""], **_FIXED.get(loss, {})}
        for name, value in params.items():
            if name in _KEPT.get(loss, {}):
                kept[_KEPT[loss][name]] = value
            elif name in fixed:
                if value not in fixed[name]:
                    self._refuse(f"{at}/{name}", f"expected {fixed[name][0]!r}")
            elif name == "reduction" and loss != "Exp":
                if value not in _REDUCTIONS:
                    self._refuse(f"{at}/{name}", "expected 'mean' or 'none'")
            elif loss != "DiceLoss" or name not in ("smooth_nr", "smooth_dr"):
                self._refuse(f"{at}/{name}", f"is no parameter of {loss} here")
        if loss == "DiceLoss":
            kept["smooth"] = self._smooth(params, at)
            if "sigmoid" not in params:
                self._refuse(f"{at}/sigmoid", "is missing: expected true, our losses take logits")
        return kept

    def _smooth(self, params: Mapping[str, Any], at: str) -> Any:
        above, below = params.get("smooth_nr", _SMOOTH), params.get("smooth_dr", _SMOOTH)
        if above != below:
            self._refuse(f"{at}/smooth_nr", "differs from smooth_dr")
        return above

    def composed(self, loss: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Return a loss that is arithmetic over others, without what it does not use."""
        self._only(loss, at, "expression", "components", "variables", "reduction")
        components = loss.get("components", {})
        variables = loss.get("variables", {})
        if not isinstance(components, dict) or not isinstance(variables, dict):
            self._refuse(at, "components and variables are no objects")
            return {}
        if loss.get("reduction", "mean") != "mean":
            self._refuse(f"{at}/reduction", "expected 'mean'")
        found = {
            name: self.atomic(value, f"{at}/components/{name}")
            for name, value in components.items()
        }
        used = self._used(loss.get("expression"), found, variables, at)
        for name in sorted(set(found) - used):
            self._dropped(f"{at}/components/{name}", "is computed but not used")
        for name in sorted(set(variables) - used):
            self._dropped(f"{at}/variables/{name}", "is not used")
        return {
            "expression": loss.get("expression"),
            "components": {name: value for name, value in found.items() if name in used},
            "variables": {
                name: float(value) if type(value) is int else value
                for name, value in variables.items()
                if name in used
            },
        }

    def _used(
        self,
        expression: object,
        components: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, Any],
        at: str,
    ) -> set[str]:
        try:
            names = frozenset(components) | frozenset(variables)
            used = set(parse(str(expression), names=names).names)
        except ValueError as error:
            self._refuse(f"{at}/expression", str(error))
            return set()
        for name in tuple(used):
            params = components.get(name, {}).get("params", {})
            if components.get(name, {}).get("class") == "Exp" and "input" in params:
                used.add(str(params["input"]).lstrip("-").removeprefix("$"))
        return used

    def _dropped(self, at: str, message: str) -> None:
        self.changes.append(Change("dropped", at, message))

    def _only(self, value: Mapping[str, Any], at: str, *names: str) -> None:
        for name in value:
            if name not in names:
                self._refuse(f"{at}/{name}", "unknown field")

    def _refuse(self, at: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(at, message, hint))
