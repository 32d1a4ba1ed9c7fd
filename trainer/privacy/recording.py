"""One forward and backward pass over a part of a batch, and what was recorded on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.privacy.detour import Detour
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers import fallback
from trainer.privacy.layers.fallback import WholeCall
from trainer.privacy.layers.group_norm import Statistics, statistics_of, through
from trainer.privacy.layers.registry import is_known, strategies
from trainer.privacy.layers.rule import Call, Dense, Ghost
from trainer.privacy.root import Root

Way = Dense | Ghost


class Rows:
    """Gradients of parameters by sample, each `[samples, numbers]` as its layer's rule made it."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._found: dict[Tensor, Tensor | None] = dict.fromkeys(parameters)

    def add(self, parameter: Tensor, rows: Tensor) -> None:
        """Add a call's gradients, if they are asked for; of two calls there is the sum."""
        if parameter not in self._found:
            return
        rows = rows.reshape(len(rows), -1).float()
        before = self._found[parameter]
        self._found[parameter] = rows if before is None else before + rows

    def finished(self, *, samples: int) -> dict[Tensor, Tensor]:
        """Return the gradients of all parameters; of what no call has reached they are zero."""
        return {
            parameter: parameter.new_zeros(samples, parameter.numel()) if rows is None else rows
            for parameter, rows in self._found.items()
        }


class Given:
    """What went into one call of a layer, held until the backward pass comes by."""

    def __init__(self, layer: nn.Module, inputs: Tensor) -> None:
        self._layer = type(layer).__name__
        self._inputs: Tensor | None = inputs.detach()
        self._version = inputs._version  # noqa: SLF001 - torch has no other name for it

    def call(self, gradient: Tensor) -> Call:
        """Return the call with the gradient of what came out, and let go of what went in.

        Raises:
            EngineRefused: if what went in was changed since.
        """
        inputs, self._inputs = self._inputs, None
        if inputs is None or inputs._version != self._version:  # noqa: SLF001
            raise EngineRefused(
                f"the input of a {self._layer} was changed in place after it was used",
                hint="use operations that return a new tensor",
            )
        if inputs.is_floating_point():
            inputs = inputs.to(gradient.dtype)
        return Call(inputs, gradient.detach())


class Recording:
    """What the hooks of an engine write to.

    Args:
        rows: Takes the gradients of layers whose way is dense.
        ways: How to get at each layer's gradients; the first way that a layer has, if not here.
        measuring: Whether to note the shapes of calls.
        anchor: A scalar that requires a gradient; ask for it to run the backward pass.
    """

    def __init__(
        self, rows: Rows, *, ways: Mapping[nn.Module, Way], measuring: bool = False
    ) -> None:
        self.rows = rows
        self.anchor = torch.zeros((), requires_grad=True)
        self.ghosts: list[tuple[nn.Module, Ghost, Call]] = []
        self.calls: dict[nn.Module, list[Call]] = {}
        """Calls of known layers, as tensors of the same shapes without storage; if measuring."""
        self._ways, self._measuring = ways, measuring

    def called(
        self, layer: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any], output: Any
    ) -> Any:
        """Note a call of a layer, and return its output tied to the backward pass."""
        first: Tensor = output[0] if isinstance(output, tuple) else output
        if not first.requires_grad:
            first = Root.apply(first, self.anchor)  # type: ignore[no-untyped-call]  # torch's own
        if (statistics := statistics_of(layer, first)) is not None:
            given = Given(layer, arguments[0])
            first = Detour.apply(  # type: ignore[no-untyped-call]  # torch's own
                arguments[0],
                first.detach(),
                lambda gradient: self._through(layer, given.call(gradient), statistics),
            )
        elif is_known(layer):
            given = Given(layer, arguments[0])
            first.register_hook(  # type: ignore[no-untyped-call]  # torch has no types here
                lambda gradient: self._passed(layer, given.call(gradient))
            )
        else:
            first.register_hook(  # type: ignore[no-untyped-call]  # torch has no types here
                lambda gradient: self._passed_whole(layer, arguments, keywords, gradient)
            )
        return (first, *output[1:]) if isinstance(output, tuple) else first

    def _through(self, layer: nn.Module, call: Call, statistics: Statistics) -> Tensor:
        found, gradients = through(layer, call, statistics)
        for parameter, rows in gradients:
            self.rows.add(parameter, rows)
        return found

    def _passed(self, layer: nn.Module, call: Call) -> None:
        if self._measuring:
            self.calls.setdefault(layer, []).append(_shapes(call))
        way = self._ways.get(layer) or strategies(layer, call)[0]
        if isinstance(way, Ghost):
            self.ghosts.append((layer, way, call))
            return
        for parameter, rows in way.gradients(layer, call):
            self.rows.add(parameter, rows)

    def _passed_whole(
        self,
        layer: nn.Module,
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        gradient: Tensor,
    ) -> None:
        call = WholeCall(arguments, keywords, gradient.detach())
        for parameter, rows in fallback.gradients(layer, call):
            self.rows.add(parameter, rows)


def _shapes(call: Call) -> Call:
    return Call(*(_hollow(value) for value in (call.inputs, call.output_gradient)))


def _hollow(value: Tensor) -> Tensor:
    return torch.empty_like(value, device="meta")


def calls_alike(calls: Mapping[nn.Module, list[Call]]) -> Iterator[tuple[nn.Module, Call]]:
    """Yield the layers that were called once, each with its call."""
    for layer, found in calls.items():
        if len(found) == 1:
            yield layer, found[0]
