"""Whatever somebody writes into DEPA's documents: an import, or a refusal that names the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.errors import DocumentError
from tests.depa import document, imported, imported_pipeline

STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e999",
            "nan",
            "$in_ch",
            "x",
            "__class__",
            "torch.os.system",
            "F.relu",
            "nn.Conv2d",
            "../..",
            "/mnt/remote/output",
            "\x00",
            "é" * 600,
        ]
    ),
    st.just([]),
    st.just({}),
    st.just([[]]),
    st.just({"class": "torch.os.system", "params": {}}),
    st.just(["F.torch.os.system", {"command": "id"}]),
)
AGREED = imported("brats").contract


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every node below the root."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*way, key)
            yield from places(value[key], (*way, key))


def bend(source: Any, way: tuple[Any, ...], how: str, value: Any) -> None:
    """Replace, remove or add to the node at the end of a way."""
    node = source
    for key in way[:-1]:
        node = node[key]
    if how == "remove":
        del node[way[-1]]
    elif how == "add" and isinstance(node, dict):
        node["extra"] = value
    elif how == "add":
        node.append(value)
    else:
        node[way[-1]] = value


PIPELINE_PLACES = list(places(document("brats", "pipeline_config")))
CONTRACT_PLACES = list(places(document("brats", "contract")))
HOW = st.sampled_from(["replace", "remove", "add"])


@settings(max_examples=400, deadline=None)
@given(way=st.sampled_from(PIPELINE_PLACES), how=HOW, value=STRANGE)
def test_a_configuration_comes_over_or_is_refused(
    way: tuple[Any, ...], how: str, value: Any
) -> None:
    source = document("brats", "pipeline_config")
    bend(source, way, how, value)
    try:
        made = imported_pipeline("brats", source, contract=AGREED).pipeline
    except DocumentError:
        return
    text = json.dumps(made.to_json())
    assert "os.system" not in text
    assert "/mnt/" not in text
    assert made.contract == AGREED.digest()


@settings(max_examples=200, deadline=None)
@given(way=st.sampled_from(CONTRACT_PLACES), how=HOW, value=STRANGE)
def test_a_contract_comes_over_or_is_refused_and_grants_no_more(
    way: tuple[Any, ...], how: str, value: Any
) -> None:
    source = document("brats", "contract")
    bend(source, way, how, value)
    try:
        made = imported("brats", source).contract
    except DocumentError:
        return
    said = {
        limit["dataset"]: float(limit["epsilon_threshold"])
        for outer in source["constraints"]
        for limit in outer["privacy"]
    }
    owners = {item["owner"]: item["id"] for item in source["datasets"] if item.get("owner")}
    for limit in made.constraints.privacy:
        assert limit.run.epsilon <= said.get(owners.get(limit.dataset, ""), limit.run.epsilon)
    assert all(use.private_only for use in made.constraints.data_use)
    assert made.parties == AGREED.parties
