"""A service whose policies an OPA server evaluates."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from clients.api.errors import ClientError
from contract_service.errors import EngineError
from policies.bundle import load_bundle
from policies.errors import DepaError, DocumentError, PolicyMismatchError, PolicyUnavailableError
from tests.opa_server import OpaServer, serving
from tests.service.crash import record_of
from tests.service.world import World, pipeline, running
from tests.unit.policies.good import other_bundle

BUNDLE = load_bundle()


def test_runs_are_judged_by_the_server_and_recorded_as_such(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    with (
        serving(OpaServer(BUNDLE, token="t0ken")) as opa,  # noqa: S106
        running(tmp_path / "world", **asking(opa.url, opa_token_file=token)) as world,
    ):
        agreed = world.executed()
        with pytest.raises(ClientError):
            world.client().submit(pipeline(agreed, isPrivate=False, privacyParams=None))
        world.room(world.approved(agreed).run).release()
        decisions = [item.document for item in record_of(world, agreed.digest()).decisions]
        assert {decision.engine for decision in decisions} == {"opa-1.20.2"}
        assert {decision.allow for decision in decisions} == {True, False}


def asking(url: str, **changes: Any) -> dict[str, Any]:
    return {"policy_engine": "opa", "opa_url": url, "opa_seconds": 20.0, **changes}


def denials(world: World) -> dict[str, int]:
    """Return how many runs were denied for the sake of each one reason."""
    runs = world.client().runs(state="denied").runs
    return dict(Counter(",".join(reason.code for reason in run.reasons) for run in runs))


def test_a_server_that_fails_denies_each_run_and_no_other_engine_is_asked(tmp_path: Path) -> None:
    with (
        serving(OpaServer(BUNDLE)) as opa,
        running(tmp_path / "world", **asking(opa.url)) as world,
    ):
        agreed, expected = world.executed(), dict[str, int]()
        for bent, code in (
            ({"malfunction": "unauthorized"}, "POLICY_UNAVAILABLE"),
            ({"malfunction": "empty"}, "POLICY_ERROR"),
            ({"revision": other_bundle().digest}, "POLICY_MISMATCH"),
        ):
            opa.malfunction, opa.revision = bent.get("malfunction"), bent.get("revision")
            with pytest.raises(ClientError):
                world.client().submit(pipeline(agreed))
            expected[code] = 1
            assert denials(world) == expected
        opa.malfunction = opa.revision = None
        assert world.approved(agreed).state == "approved"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"opa_url": None}, EngineError),
        ({"opa_url": "http://opa.example"}, DocumentError),
        ({"opa_url": "http://127.0.0.1:9"}, PolicyUnavailableError),
        ({"opa_token_file": Path("/nowhere/token")}, EngineError),
        ({"opa_ca": Path("/nowhere/ca.pem"), "opa_url": "https://127.0.0.1:9"}, DocumentError),
    ],
)
def test_a_service_does_not_start_without_its_policy_server(
    tmp_path: Path, changes: dict[str, Any], error: type[DepaError]
) -> None:
    with serving(OpaServer(BUNDLE)) as opa, pytest.raises(error):
        start(tmp_path, asking(opa.url) | changes)


def start(folder: Path, settings: dict[str, Any]) -> None:
    with running(folder / "world", **settings):
        pass


@pytest.mark.parametrize(
    "bent", [{"revision": other_bundle().digest}, {"texts": {"a": "package depa.contract\n"}}]
)
def test_a_service_does_not_start_on_another_policy(tmp_path: Path, bent: dict[str, Any]) -> None:
    with serving(OpaServer(BUNDLE, **bent)) as opa, pytest.raises(PolicyMismatchError):
        start(tmp_path, asking(opa.url))


def test_a_service_does_not_start_when_the_client_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "clients.api.opa", None)
    with pytest.raises(EngineError, match="not installed"):
        start(tmp_path, asking("http://127.0.0.1:9"))
