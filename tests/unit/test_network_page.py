"""The network that the documentation describes runs and is private."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from policies.shapes import graph_parameters, output_shape
from policies.wire.graph import GraphModel
from policies.wire.models import Cnn, UNet3d
from trainer.models.described import DescribedNetwork
from trainer.models.factory import build_model
from trainer.models.graph import OPERATORS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "describe-a-network.md"


BLOCKS = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
BY_KIND = {json.loads(block)["kind"]: json.dumps(json.loads(block)) for block in BLOCKS}


def test_the_graph_of_the_page_runs() -> None:
    graph = GraphModel.model_validate_json(BY_KIND["graph"], by_alias=True)
    network = DescribedNetwork(graph)
    assert output_shape(graph, (1, 28, 28)) == (10,)
    assert tuple(network(torch.zeros(2, 1, 28, 28)).shape) == (2, 10)
    assert graph_parameters(graph) == sum(value.numel() for value in network.parameters())
    assert graph.coupled == ()
    assert {"_layers.head.weight", "_layers.first._layers.conv.weight"} <= set(network.state_dict())


def test_the_networks_of_a_few_numbers_on_the_page_run() -> None:
    assert set(BY_KIND) == {"graph", "unet3d", "cnn"}
    volumes = build_model(UNet3d.model_validate_json(BY_KIND["unet3d"], by_alias=True), base=None)
    volumes.eval()
    assert tuple(volumes(torch.zeros(1, 2, 8, 8, 8)).shape) == (1, 1, 8, 8, 8)
    digits = build_model(Cnn.model_validate_json(BY_KIND["cnn"], by_alias=True), base=None)
    assert tuple(digits(torch.zeros(2, 1, 28, 28)).shape) == (2, 10)


def test_the_page_lists_the_operators_of_onnx_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (listed,) = re.findall(r"The operators:\n\n((?:`.*\n)+)", page, re.M)
    assert set(re.findall(r"`(\w+)`", listed)) == OPERATORS
