"""An ONNX graph as a torch network that can be trained, and trained weights back into the graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from policies.wire.datasets import Dataset, answer_shape, sample_shape
from trainer.models.errors import ModelRefused
from trainer.models.graph import Graph, parse_onnx, read_graph
from trainer.models.layers import build_layer
from trainer.models.nodes import Layer

_MAX_ELEMENTS: Final = 1 << 24
"""Numbers that one sample may become between two layers."""
_MAX_TOTAL: Final = 1 << 27
"""Numbers that one sample may become in all layers together."""


class OnnxNetwork(nn.Module):
    """Runs the layers of a graph one after the other."""

    def __init__(self, graph: Graph) -> None:
        """Build the network.

        Raises:
            ModelRefused: if a node is not supported, values are missing, or samples are mixed.
        """
        super().__init__()
        built = [build_layer(node, graph.arrays) for node in graph.nodes]
        self.layers = nn.ModuleList(layer.module for layer in built)
        self._inputs = tuple(layer.inputs for layer in built)
        self._outputs = tuple(node.output for node in graph.nodes)
        self._input, self._output = graph.input, graph.output
        self._layers = tuple(built)
        self.sample_shape = graph.input_shape
        for layer in built:
            for name, parameter in layer.module.named_parameters():
                parameter.requires_grad_(layer.sources[name] not in graph.frozen)
        _check_sizes(self)
        self.answer_shape = _check_samples_apart(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the graph's output for a batch of samples."""
        return self.values(x)[self._output]

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Return what the layers make of a batch of samples, by name."""
        values = {self._input: x}
        for layer, inputs, output in zip(self.layers, self._inputs, self._outputs, strict=True):
            values[output] = layer(*(values[name] for name in inputs))
        return values

    def check_fit(self, dataset: Dataset) -> None:
        """Raise unless the graph takes the samples of a data set and answers as it asks.

        Raises:
            ModelRefused: with the shapes that differ.
        """
        for what, got, wanted in (
            ("takes", self.sample_shape, sample_shape(dataset)),
            ("gives", self.answer_shape, answer_shape(dataset)),
        ):
            if got != wanted:
                raise ModelRefused(
                    f"onnx: the graph {what} {list(got)}, the dataset asks for {list(wanted)}"
                )

    def initialisers(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the values of the graph's initialisers from a state of this network."""
        result = {}
        for number, layer in enumerate(self._layers):
            for name, source in layer.sources.items():
                value = weights[f"layers.{number}.{name}"]
                result[source] = value.T if _is_transposed(layer, name) else value
        return result


def _is_transposed(layer: Layer, name: str) -> bool:
    return layer.transposed and name == "weight"


def open_onnx(data: bytes) -> OnnxNetwork:
    """Return the network of an ONNX file.

    Raises:
        ModelRefused: naming what is not allowed.
    """
    return OnnxNetwork(read_graph(data))


def write_onnx(base: bytes, weights: Mapping[str, Tensor]) -> bytes:
    """Return the ONNX file `base` with the trained weights in place of its own.

    Args:
        base: The file that the network was opened from.
        weights: The network's state after training.

    Raises:
        ModelRefused: if the weights are not this network's.
    """
    model = parse_onnx(base)
    network = open_onnx(base)
    if set(weights) != set(network.state_dict()):
        raise ModelRefused("onnx: the weights are those of another network")
    values = network.initialisers(weights)
    for item in model.graph.initializer:
        if item.name in values:
            array = np.ascontiguousarray(values[item.name].detach().numpy(), dtype=np.float32)
            if list(array.shape) != list(item.dims):
                raise ModelRefused(f"onnx: {item.name} has shape {array.shape}")
            item.CopyFrom(numpy_helper.from_array(array, item.name))
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@torch.no_grad()
def _check_sizes(network: OnnxNetwork) -> None:
    """Run the layers without their numbers, to see how many there would be."""
    shape = network.sample_shape
    try:
        values = copy.deepcopy(network).to("meta").values(torch.empty(1, *shape, device="meta"))
    except _FAILURES as error:
        raise _unrunnable(error) from None
    sizes = [value.numel() for value in values.values()]
    if max(sizes) > _MAX_ELEMENTS or sum(sizes) > _MAX_TOTAL:
        raise ModelRefused(
            f"onnx: a sample of shape {list(shape)} becomes too large: {max(sizes)} numbers, "
            f"{sum(sizes)} in all layers together; at most {_MAX_ELEMENTS} and {_MAX_TOTAL} may be"
        )


@torch.no_grad()
def _check_samples_apart(network: OnnxNetwork) -> tuple[int, ...]:
    """Run two samples together and apart: the outputs must be the same, one row a sample."""
    shape = network.sample_shape
    pair = torch.linspace(-1, 1, 2 * int(np.prod(shape))).reshape(2, *shape)
    try:
        together = network(pair)
        apart = torch.cat([network(pair[:1]), network(pair[1:])])
    except _FAILURES as error:
        raise _unrunnable(error) from None
    if together.shape[:1] != (2,) or together.shape != apart.shape:
        raise ModelRefused(f"onnx: two samples give an output of shape {list(together.shape)}")
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-4):
        raise ModelRefused("onnx: a sample's output depends on the other samples of its batch")
    return tuple(together.shape[1:])


_FAILURES: Final = (RuntimeError, KeyError, IndexError, ValueError, NotImplementedError)


def _unrunnable(error: Exception) -> ModelRefused:
    return ModelRefused(f"onnx: the graph does not run: {str(error)[:200]}")
