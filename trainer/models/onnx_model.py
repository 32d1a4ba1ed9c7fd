"""An ONNX graph as a torch network that can be trained, and trained weights back into the graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from trainer.models.errors import ModelRefused
from trainer.models.graph import Graph, parse_onnx, read_graph
from trainer.models.layers import Layer, build_layer

_MAX_ELEMENTS = 1 << 22
"""Numbers that one sample may become between two layers."""


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
        for layer in built:
            for name, parameter in layer.module.named_parameters():
                parameter.requires_grad_(layer.sources[name] not in graph.frozen)
        _check_samples_apart(self, graph.input_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the graph's output for a batch of samples."""
        values = {self._input: x}
        for layer, inputs, output in zip(self.layers, self._inputs, self._outputs, strict=True):
            values[output] = layer(*(values[name] for name in inputs))
        return values[self._output]

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
def _check_samples_apart(network: OnnxNetwork, shape: tuple[int, ...]) -> None:
    """Run two samples together and apart: the outputs must be the same, one row a sample."""
    if int(np.prod(shape)) > _MAX_ELEMENTS:
        raise ModelRefused(f"onnx: a sample of shape {list(shape)} is too large")
    pair = torch.linspace(-1, 1, 2 * int(np.prod(shape))).reshape(2, *shape)
    try:
        together = network(pair)
        apart = torch.cat([network(pair[:1]), network(pair[1:])])
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        raise ModelRefused(f"onnx: the graph does not run: {str(error)[:200]}") from None
    if together.shape[:1] != (2,) or together.shape != apart.shape:
        raise ModelRefused(f"onnx: two samples give an output of shape {list(together.shape)}")
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-4):
        raise ModelRefused("onnx: a sample's output depends on the other samples of its batch")
