"""A network as a graph of named layers: closed, typed, and bounded.

A step takes named values, runs layers one after the other, and names what comes out. Submodules
are blocks with parameters that may be used several times, each time with weights of its own; they
hold layers, not other submodules. Nothing is looked up by name outside of this document.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from policies.wire.base import Wire
from policies.wire.layers import (
    BATCH_COUPLED,
    MAX_SIZE,
    SEVERAL_INPUTS,
    WITH_WEIGHTS,
    Layer,
    Plain,
    Simple,
)

MAX_NODES: Final = 512
"""Layers that run, those of submodules included."""
RESERVED: Final = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state
    get_parameter get_submodule half ipu items keys load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters pop register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type update values xpu
    zero_grad
    """.split()  # noqa: SIM905 - one word a line would be a page
)
"""Names that mean something to the library that runs the graph."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name} is a reserved name; choose another")
    return name


NodeName = Annotated[
    str,
    StringConstraints(pattern=r"\A[A-Za-z][A-Za-z0-9_]{0,31}\z"),
    AfterValidator(_not_reserved),
]
ParameterName = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,31}\z")]


def _kind_of_op(value: Any) -> str:
    return "name" if isinstance(value, str) else "layer"


def _kind_of_entry(value: Any) -> str:
    part = isinstance(value, Part) or (isinstance(value, dict) and "submodule" in value)
    return "part" if part else "layer"


Op = Annotated[
    Annotated[NodeName, Tag("name")] | Annotated[Plain, Tag("layer")], Discriminator(_kind_of_op)
]
"""The name of a layer, or a layer without weights itself."""


class Step(Wire):
    """Some layers, one after the other."""

    ops: tuple[Op, ...] = Field(min_length=1, max_length=10)
    inputs: tuple[NodeName, ...] = Field(min_length=1, max_length=8)
    """Values that the first layer takes."""
    output: NodeName
    """What the last layer's value is called."""


class Part(Wire):
    """A submodule with its parameters filled in."""

    submodule: NodeName
    params: dict[ParameterName, Annotated[int, Field(ge=0, le=MAX_SIZE)]] = Field(
        default_factory=dict, max_length=16
    )


class Block(Wire):
    """Steps over named values."""

    inputs: tuple[NodeName, ...] = Field(min_length=1, max_length=8)
    forward: tuple[Step, ...] = Field(min_length=1, max_length=200)
    output: NodeName


class Submodule(Block):
    """A block that may be used several times."""

    layers: dict[NodeName, Layer] = Field(default_factory=dict, max_length=64)


Entry = Annotated[
    Annotated[Layer, Tag("layer")] | Annotated[Part, Tag("part")],
    Discriminator(_kind_of_entry),
]


@dataclass(frozen=True)
class Node:
    """One layer that runs."""

    path: tuple[str, ...]
    """Names of the layer and, before it, of the part that it belongs to."""
    layer: Layer
    """With sizes that are numbers."""
    inputs: tuple[str, ...]
    output: str

    @property
    def name(self) -> str:
        """The path as text."""
        return ".".join(self.path)


class GraphModel(Block):
    """A network described as a graph; it comes with or without base weights."""

    kind: Literal["graph"]
    submodules: dict[NodeName, Submodule] = Field(default_factory=dict, max_length=16)
    layers: dict[NodeName, Entry] = Field(default_factory=dict, max_length=128)

    @model_validator(mode="after")
    def _runs(self) -> Self:
        if len(self.inputs) != 1:
            raise ValueError(f"expected one input of the graph, got {len(self.inputs)}")
        used = {part.submodule for part in self.layers.values() if isinstance(part, Part)}
        unknown = sorted(used ^ set(self.submodules))
        if unknown:
            raise ValueError(f"submodules {unknown} are not defined, or not used")
        self.nodes()
        return self

    def nodes(self) -> tuple[Node, ...]:
        """Return the layers in the order in which they run, submodules unrolled.

        The graph's input and output keep their names.

        Raises:
            ValueError: if a name is unknown or used twice, or a parameter is missing.
        """
        return tuple(_Unroller(self).block(self, scope=(), names={}))

    @property
    def coupled(self) -> tuple[str, ...]:
        """Layers through which one sample changes the outputs of others."""
        return tuple(
            f"{node.name} ({node.layer.layer})"
            for node in self.nodes()
            if isinstance(node.layer, BATCH_COUPLED)
        )

    @property
    def gives_probabilities(self) -> bool:
        """Whether the last layer is a sigmoid, so that outputs are no logits."""
        last = next((n.layer for n in reversed(self.nodes()) if n.output == self.output), None)
        return isinstance(last, Simple) and last.layer == "Sigmoid"


class _Unroller:
    """Walks the steps of a graph and of the submodules it uses."""

    def __init__(self, graph: GraphModel) -> None:
        self._graph = graph
        self._count = 0

    def block(
        self, block: Submodule | GraphModel, *, scope: tuple[str, ...], names: Mapping[str, str]
    ) -> Iterator[Node]:
        """Yield the nodes of a block whose inputs are called as `names` says outside."""
        inputs = {name: names.get(name, name) for name in block.inputs}
        if len(inputs) != len(block.inputs):
            raise ValueError(f"inputs {list(block.inputs)} are not unique")
        known = dict(inputs)
        for step in block.forward:
            if step.output in known:
                raise ValueError(f"{_at(scope)}value {step.output!r} is computed twice")
            known[step.output] = _outside(scope, names, step.output, block.output)
            yield from self._step(block, step, scope=scope, known=known)
        if block.output not in known or block.output in inputs:
            raise ValueError(f"{_at(scope)}output {block.output!r} is not computed")
        _each_used(block, scope=scope)

    def _step(
        self,
        block: Submodule | GraphModel,
        step: Step,
        *,
        scope: tuple[str, ...],
        known: Mapping[str, str],
    ) -> Iterator[Node]:
        missing = [name for name in step.inputs if name not in known or name == step.output]
        if missing:
            raise ValueError(f"{_at(scope)}value {missing[0]!r} is not computed before its use")
        values = tuple(known[name] for name in step.inputs)
        for number, op in enumerate(step.ops):
            last = number == len(step.ops) - 1
            self._count += 1
            if self._count > MAX_NODES:
                raise ValueError(f"more than {MAX_NODES} layers run")
            output = known[step.output] if last else f"#{self._count}"
            yield from self._op(block, op, scope=scope, inputs=values, output=output)
            values = (output,)

    def _op(
        self,
        block: Submodule | GraphModel,
        op: Op,
        *,
        scope: tuple[str, ...],
        inputs: tuple[str, ...],
        output: str,
    ) -> Iterator[Node]:
        if not isinstance(op, str):
            yield _node((*scope, f"#{self._count}"), op, inputs, output)
            return
        entry = block.layers.get(op)
        if entry is None:
            raise ValueError(f"{_at(scope)}{op!r} is no layer; layers are {sorted(block.layers)}")
        if isinstance(entry, Part):
            yield from self._part(entry, name=op, inputs=inputs, output=output)
        else:
            yield _node((*scope, op), entry, inputs, output)

    def _part(
        self, part: Part, *, name: str, inputs: tuple[str, ...], output: str
    ) -> Iterator[Node]:
        submodule = self._graph.submodules[part.submodule]
        if len(inputs) != len(submodule.inputs):
            raise ValueError(
                f"{name}: {part.submodule} takes {len(submodule.inputs)} values, got {len(inputs)}"
            )
        odd = set(_parameters(submodule)) ^ set(part.params)
        if odd:
            raise ValueError(
                f"{name}: parameters {sorted(odd)} of {part.submodule} are missing or unknown"
            )
        layers = {key: _filled(layer, part.params) for key, layer in submodule.layers.items()}
        names = {
            **dict(zip(submodule.inputs, inputs, strict=True)),
            submodule.output: output,
        }
        filled = submodule.model_copy(update={"layers": layers})
        yield from self.block(filled, scope=(name,), names=names)


def _outside(scope: tuple[str, ...], names: Mapping[str, str], name: str, output: str) -> str:
    if not scope:
        return name
    return names[name] if name == output else f"{scope[0]}.{name}"


def _at(scope: tuple[str, ...]) -> str:
    return "".join(f"{name}: " for name in scope)


def _node(path: tuple[str, ...], layer: Layer, inputs: tuple[str, ...], output: str) -> Node:
    several = isinstance(layer, SEVERAL_INPUTS)
    if several != (len(inputs) > 1):
        wanted = "several values" if several else "one value"
        raise ValueError(f"{'.'.join(path)}: {layer.layer} takes {wanted}, got {len(inputs)}")
    left = _open(layer)
    if left:
        raise ValueError(f"{'.'.join(path)}: {left[0]} is a parameter, and no submodule has it")
    return Node(path, layer, inputs, output)


def _each_used(block: Submodule | GraphModel, *, scope: tuple[str, ...]) -> None:
    uses = Counter(op for step in block.forward for op in step.ops if isinstance(op, str))
    for name, entry in block.layers.items():
        once = isinstance(entry, (Part, *WITH_WEIGHTS))
        if uses[name] == 0 or (once and uses[name] > 1):
            raise ValueError(
                f"{_at(scope)}layer {name!r} is used {uses[name]} times, "
                f"expected {'once' if once else 'at least once'}"
            )


@lru_cache(maxsize=1024)
def _open(layer: Layer) -> tuple[str, ...]:
    """Return the parameters that a layer waits for, each once."""
    return tuple(sorted(set(_references(layer.to_json()))))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("$"):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _parameters(submodule: Submodule) -> Iterator[str]:
    for layer in submodule.layers.values():
        yield from (name.removeprefix("$") for name in _open(layer))


def _filled(layer: Layer, params: Mapping[str, int]) -> Layer:
    """Return the layer with numbers for its parameters, checked again."""
    needed = [name.removeprefix("$") for name in _open(layer)]
    return _checked(layer, tuple((name, params[name]) for name in needed)) if needed else layer


@lru_cache(maxsize=1024)
def _checked(layer: Layer, params: tuple[tuple[str, int], ...]) -> Layer:
    values = {f"${name}": value for name, value in params}

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return values.get(value, value) if isinstance(value, str) else value

    text = json.dumps(fill(layer.to_json()))
    return type(layer).model_validate_json(text, by_alias=True, by_name=False)
