"""DEPA's description of a network, and of an optimiser's parameters, in the words of our graph.

Names such as `nn.Conv2d` and `F.relu` are keys of closed tables; whatever is not in them is refused
by its name. The parameters are checked by our own types afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.errors import DocumentError, Problem

KIND: Final = "DEPA pipeline"
_TORCH: Final = ("torch.nn.functional.", "torch.nn.", "torch.", "nn.", "F.")
_LAYERS: Final = frozenset(
    {
        "AdaptiveAvgPool2d",
        "AdaptiveAvgPool3d",
        "AvgPool2d",
        "AvgPool3d",
        "BatchNorm2d",
        "BatchNorm3d",
        "Conv2d",
        "Conv3d",
        "ConvTranspose2d",
        "ConvTranspose3d",
        "ELU",
        "Flatten",
        "GELU",
        "GroupNorm",
        "Identity",
        "InstanceNorm2d",
        "InstanceNorm3d",
        "LayerNorm",
        "LeakyReLU",
        "Linear",
        "MaxPool2d",
        "MaxPool3d",
        "ReLU",
        "Sigmoid",
        "Tanh",
        "Upsample",
    }
)
_FUNCTIONS: Final = {
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_avg_pool3d": "AdaptiveAvgPool3d",
    "add": "Add",
    "avg_pool2d": "AvgPool2d",
    "avg_pool3d": "AvgPool3d",
    "cat": "Concat",
    "concat": "Concat",
    "elu": "ELU",
    "flatten": "Flatten",
    "gelu": "GELU",
    "interpolate": "Upsample",
    "leaky_relu": "LeakyReLU",
    "max_pool2d": "MaxPool2d",
    "max_pool3d": "MaxPool3d",
    "mul": "Mul",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
_HINTS: Final = {
    "Dropout": "leave it out: clipping and noise already keep a private run from overfitting",
    "dropout": "leave it out: clipping and noise already keep a private run from overfitting",
    "Softmax": "leave it out: losses take logits",
    "softmax": "leave it out: losses take logits",
}
_WITHOUT_EFFECT: Final[Mapping[str, tuple[object, ...]]] = {
    "align_corners": (False, None),
    "antialias": (False,),
    "ceil_mode": (False,),
    "count_include_pad": (True,),
    "end_dim": (-1,),
    "inplace": (True, False),
    "padding_mode": ("zeros",),
    "return_indices": (False,),
    "start_dim": (1,),
    "track_running_stats": (False,),
}
"""Parameters that our layers do not have, with the values that they always have here."""
_ALWAYS_KEPT: Final = {
    "BatchNorm2d": ("track_running_stats",),
    "BatchNorm3d": ("track_running_stats",),
}


@dataclass(frozen=True)
class Named:
    """A name of torch's, without its module."""

    name: str
    is_torch: bool


def short_name(text: object) -> Named:
    """Return the last part of a name that begins with a module of torch's, as it stands there."""
    if isinstance(text, str):
        for prefix in _TORCH:
            if text.startswith(prefix) and "." not in text.removeprefix(prefix):
                return Named(text.removeprefix(prefix), is_torch=True)
        return Named(text, is_torch=False)
    return Named(str(text)[:60], is_torch=False)


def graph_of(network: Mapping[str, Any], *, at: str) -> dict[str, Any]:
    """Return DEPA's network as the JSON of a graph.

    Raises:
        DocumentError: naming each class, function or field that is not offered.
    """
    reader = _Network()
    graph = {"kind": "graph", **reader.block(network, at, extra=("submodules",))}
    submodules = reader.mapping(network.get("submodules", {}), f"{at}/submodules")
    graph["submodules"] = {
        name: reader.block(
            reader.mapping(value, f"{at}/submodules/{name}"), f"{at}/submodules/{name}"
        )
        for name, value in submodules.items()
    }
    if reader.problems:
        raise DocumentError(KIND, reader.problems)
    return graph


class _Network:
    """Translates blocks, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def mapping(self, value: object, at: str) -> Mapping[str, Any]:
        """Return a JSON object, or an empty one if it is none."""
        if isinstance(value, dict):
            return value
        self._refuse(at, "is not an object")
        return {}

    def sequence(self, value: object, at: str) -> Sequence[Any]:
        """Return a list, or an empty one if it is none."""
        if isinstance(value, list):
            return value
        self._refuse(at, "is not a list")
        return []

    def block(self, network: object, at: str, *, extra: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the layers, inputs, steps and output of a network or a submodule."""
        value = self.mapping(network, at)
        self._only(value, at, "layers", "input", "forward", "output", *extra)
        layers = self.mapping(value.get("layers", {}), f"{at}/layers")
        steps = self.sequence(value.get("forward", []), f"{at}/forward")
        output = self.sequence(value.get("output", []), f"{at}/output")
        if len(output) != 1:
            self._refuse(f"{at}/output", f"names {len(output)} values, expected one")
        return {
            "layers": {
                name: self._layer(entry, f"{at}/layers/{name}") for name, entry in layers.items()
            },
            "inputs": list(self.sequence(value.get("input", []), f"{at}/input")),
            "forward": [self._step(one, f"{at}/forward/{i}") for i, one in enumerate(steps)],
            "output": output[0] if output else "",
        }

    def _layer(self, value: object, at: str) -> dict[str, Any]:
        entry = self.mapping(value, at)
        params = self.mapping(entry.get("params", {}), f"{at}/params")
        if "submodule" in entry:
            self._only(entry, at, "submodule", "params")
            return {"submodule": entry["submodule"], "params": dict(params)}
        self._only(entry, at, "class", "params")
        found = short_name(entry.get("class"))
        if not found.is_torch or found.name not in _LAYERS:
            self._not_offered(f"{at}/class", entry.get("class"), found, _LAYERS)
        return {
            "class": found.name,
            "params": self._params(found.name, params, f"{at}/params"),
        }

    def _step(self, value: object, at: str) -> dict[str, Any]:
        step = self.mapping(value, at)
        self._only(step, at, "ops", "input", "output")
        inputs = self.sequence(step.get("input", []), f"{at}/input")
        if len(inputs) == 1 and isinstance(inputs[0], list):
            inputs = inputs[0]
        ops = self.sequence(step.get("ops", []), f"{at}/ops")
        return {
            "ops": [self._op(op, f"{at}/ops/{number}") for number, op in enumerate(ops)],
            "inputs": list(inputs),
            "output": step.get("output"),
        }

    def _op(self, value: object, at: str) -> object:
        name: object = value
        params: Mapping[str, Any] = {}
        if isinstance(value, list) and len(value) == 2:
            name, params = value[0], self.mapping(value[1], f"{at}/1")
        if isinstance(name, str) and "." not in name:
            if params:
                self._refuse(at, f"{name} is a layer, whose parameters stand with it")
            return name
        found = short_name(name)
        if not found.is_torch or found.name not in _FUNCTIONS:
            self._not_offered(at, name, found, frozenset(_FUNCTIONS))
            return ""
        layer = _FUNCTIONS[found.name]
        return {"class": layer, "params": self._params(layer, params, f"{at}/1")}

    def _params(self, layer: str, params: Mapping[str, Any], at: str) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in params.items():
            known = _WITHOUT_EFFECT.get(name)
            if known is None or name in _ALWAYS_KEPT.get(layer, ()):
                kept[_camel(name)] = _plain(layer, name, value)
            elif not any(value is one or value == one for one in known):
                self._refuse(f"{at}/{name}", f"expected {known[0]!r}, got {str(value)[:60]!r}")
        return kept

    def _not_offered(self, at: str, value: object, found: Named, offered: frozenset[str]) -> None:
        hint = _HINTS.get(found.name, f"offered are {', '.join(sorted(offered))} of torch")
        self._refuse(at, f"{str(value)[:100]!r} is not offered", hint)

    def _only(self, value: Mapping[str, Any], at: str, *names: str) -> None:
        for name in value:
            if name not in names:
                self._refuse(f"{at}/{name}", "unknown field")

    def _refuse(self, at: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(at, message, hint))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _plain(layer: str, name: str, value: Any) -> Any:
    """Return one number for equal sides, and a list of sides where a layer has one."""
    if name == "normalized_shape":
        return value if isinstance(value, list) else [value]
    if isinstance(value, list) and len(value) in (2, 3) and value.count(value[0]) == len(value):
        value = value[0]
    if layer == "Upsample" and name == "scale_factor" and isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value
