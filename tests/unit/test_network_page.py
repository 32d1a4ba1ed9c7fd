"""The network that the documentation describes runs and is private."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from policies.shapes import graph_parameters, output_shape
from policies.wire.graph import GraphModel
from trainer.models.described import DescribedNetwork

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "describe-a-network.md"


def test_the_network_of_the_page_runs() -> None:
    (block,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    graph = GraphModel.model_validate_json(json.dumps(json.loads(block)), by_alias=True)
    network = DescribedNetwork(graph)
    assert output_shape(graph, (1, 28, 28)) == (10,)
    assert tuple(network(torch.zeros(2, 1, 28, 28)).shape) == (2, 10)
    assert graph_parameters(graph) == sum(value.numel() for value in network.parameters())
    assert graph.coupled == ()
    assert {"_layers.head.weight", "_layers.first._layers.conv.weight"} <= set(network.state_dict())
