"""The service as a process of its own, over TLS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clients.api.errors import NetworkError
from clients.api.transport import Transport
from contract_service.errors import HomeError
from contract_service.init import init_home
from contract_service.serve import run_server
from contract_service.settings import Settings
from deploy.local.server import bind, url_of
from deploy.local.tls import server_certificate
from ledger.errors import LogHeldError
from tests.service.world import LOG_ORIGIN, PASSPHRASE, settings

_PROGRAM = """
import sys
from contract_service.serve import run_server
from contract_service.settings import Settings
run_server(Settings(), fd=int(sys.argv[1]))
"""


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    url: str
    authority: Path
    log: Path
    environment: dict[str, str]

    def client(self) -> Transport:
        return Transport(self.url, ca_file=self.authority)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Running]:
    now = int(time.time())
    home = tmp_path / "home"
    init_home(home, passphrase=PASSPHRASE, origin=LOG_ORIGIN, organization="Operator", now=now)
    tls = server_certificate(tmp_path / "tls", name="service", now=datetime.fromtimestamp(now, UTC))
    log = tmp_path / "log.jsonl"
    with bind() as listener, log.open("wb") as stderr:
        environment = os.environ | {
            "DEPA_PASSPHRASE": PASSPHRASE,
            "DEPA_SERVICE_HOME": str(home),
            "DEPA_SERVICE_ORIGIN": url_of(listener),
            "DEPA_SERVICE_TLS_CERTIFICATE": str(tls.certificate),
            "DEPA_SERVICE_TLS_KEY": str(tls.key),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stderr=stderr,
            env=environment,
        )
        try:
            yield Running(process, url_of(listener), tls.authority, log, environment)
        finally:
            process.kill()
            process.wait()


def test_a_second_service_on_the_same_log_says_that_it_is_held(served: Running) -> None:
    client = served.client()
    assert client.get_json("/readyz")["status"] == "ok"
    client.close()
    with bind() as listener:
        command = [sys.executable, "-m", "clients.cli.main", "serve", "--json"]
        second = subprocess.run(
            [*command, "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env=served.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    problem = json.loads(second.stderr.splitlines()[-1])
    assert second.returncode == LogHeldError.exit_code
    assert problem["type"].endswith(LogHeldError.code)


def test_it_answers_over_tls_and_stops_in_order(served: Running) -> None:
    client = served.client()
    assert client.get_json("/readyz")["status"] == "ok"
    client.close()
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=30) in {0, -signal.SIGTERM}
    lines = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert "started" in {line["event"] for line in lines}
    assert PASSPHRASE not in served.log.read_text()


def test_whoever_does_not_trust_its_certificate_does_not_speak_to_it(served: Running) -> None:
    with pytest.raises(NetworkError):
        Transport(served.url, pause=lambda _: None).get("/healthz")


def test_it_does_not_start_without_tls(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="TLS"):
        run_server(settings(tmp_path))


def test_settings_come_from_the_environment_and_hide_the_passphrase(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEPA_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("DEPA_SERVICE_HOME", str(tmp_path))
    monkeypatch.setenv("DEPA_SERVICE_ORIGIN", "https://service.test")
    monkeypatch.setenv("DEPA_SERVICE_AUDITORS", '["did:web:auditor.test"]')
    found = Settings()
    assert found.auditors == ("did:web:auditor.test",)
    assert found.database_url == f"sqlite:///{tmp_path}/service.db"
    assert PASSPHRASE not in repr(found)


@pytest.mark.parametrize("origin", ["http://service.test", "https://service.test/", "service.test"])
def test_an_origin_that_is_none_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        settings(tmp_path, origin=origin)


def test_a_database_url_of_postgresql_gets_the_projects_driver(tmp_path: Path) -> None:
    found = settings(tmp_path, database="postgresql://u@h/d", ledger_database="postgresql://u@h/l")
    assert found.database_url == "postgresql+psycopg://u@h/d"
    assert found.ledger_url == "postgresql+psycopg://u@h/l"
