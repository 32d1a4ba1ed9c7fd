"""How the OPA server is reached: by which address, token and certificate, and by no other."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from clients.api.opa import OpaEngine
from deploy.local.tls import server_certificate
from policies.decide import Policy
from policies.errors import (
    DocumentError,
)
from tests.opa_server import OpaServer, serving
from tests.unit.clients.api.opa_calls import BUNDLE, SECONDS, failure, opened
from tests.unit.policies.good import (
    contract_case,
)


def test_the_token_is_sent_and_shown_to_nobody() -> None:
    opa = OpaServer(BUNDLE, token="t0ken")  # noqa: S106
    with opened(opa, token=SecretStr("t0ken")) as policy:
        assert policy.contract(contract_case()).allow
        assert "t0ken" not in repr(policy)
        assert "t0ken" not in str(vars(policy.engine))
    with opened(OpaServer(BUNDLE, token="t0ken"), token=SecretStr("0ther")) as policy:  # noqa: S106
        code, message = failure(policy.contract(contract_case()))
        assert code == "POLICY_UNAVAILABLE"
        assert "0ther" not in message


@pytest.mark.parametrize("token", ["", "s3 cret", "s3\ncret", "s3crét", "x" * 5000])
def test_a_token_that_is_no_header_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(DocumentError, match="/token: expected visible") as refused:
        OpaEngine("http://127.0.0.1:1", token=SecretStr(token))
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://opa.example:8181", "expected https, since opa.example is not this machine"),
        ("http://10.0.0.1:8181", "expected https"),
        ("http://127.0.0.1.example", "expected https"),
        ("http://[2001:db8::1]:8181", "expected https"),
        ("ftp://127.0.0.1", "expected https://host:port"),
        ("127.0.0.1:8181", "expected https://host:port"),
        ("https://", "expected https://host:port"),
        ("https://user:s3cret@opa.example", "scheme, host and port alone"),
        ("https://opa.example/v1", "scheme, host and port alone"),
        ("https://opa.example?x=1", "scheme, host and port alone"),
        ("https://opa.example:port", "is not a URL"),
    ],
)
def test_a_url_that_is_not_safe_is_refused(url: str, problem: str) -> None:
    with pytest.raises(DocumentError, match=problem) as refused:
        OpaEngine(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://localhost:1", "http://[::1]:1", "https://127.0.0.1:1"])
def test_a_url_of_this_machine_is_taken_and_nobody_answers_there(url: str) -> None:
    decision = Policy(BUNDLE, OpaEngine(url, seconds=SECONDS)).contract(contract_case())
    assert failure(decision)[0] == "POLICY_UNAVAILABLE"


def test_an_authority_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is not a file"):
        OpaEngine("https://opa.example", ca_file=tmp_path / "ca.pem")


def test_the_environment_names_no_proxy_password_or_authority(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with opened(OpaServer(BUNDLE, token="t0ken"), token=SecretStr("t0ken")) as policy:  # noqa: S106
        assert policy.contract(contract_case()).allow


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    files = server_certificate(tmp_path / "one", name="opa", now=now)
    other = server_certificate(tmp_path / "two", name="opa", now=now).authority
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    opa = OpaServer(BUNDLE)
    with serving(opa, tls=context):
        for ca_file, code in ((files.authority, None), (other, "POLICY_UNAVAILABLE")):
            engine = OpaEngine(opa.url, ca_file=ca_file, seconds=5.0)
            decision = Policy(BUNDLE, engine).contract(contract_case())
            assert (None if decision.allow else failure(decision)[0]) == code
            engine.close()
