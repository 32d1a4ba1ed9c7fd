"""A whole service in this process: parties, contract, clean room, attestation and vault.

The hardware is simulated, the vault is the embedded one without its TLS, and time stands still
until a test moves it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from fastapi.testclient import TestClient

from clients.api.answers import ContractRegistered, Released, RunStatus
from clients.api.room import RoomClient
from clients.api.service import ServiceClient
from clients.api.transport import RunToken, Transport
from contract_service import logs
from contract_service.app import create_app
from contract_service.init import init_home, load_home
from contract_service.keybroker.evidence import Authorities
from contract_service.settings import Settings
from deploy.local.attestation import key_set
from deploy.local.vault.store import KeyStore
from ledger.did import did_jwk_for
from ledger.identity import Identity
from policies import accounting
from policies.attestation.release_policy import build_release_policy
from policies.bundle import load_bundle
from policies.wire.base import sha256
from policies.wire.contract import Contract, contract_urn
from policies.wire.pipeline import Pipeline
from policies.wire.run import Revocation, RunReport, Spent
from tests import simulator
from tests.samples import contract_json, did, pipeline_json
from tests.service.vault import VAULT, Clock, InProcessVault, in_process_vault
from tests.simulator import NOW, party
from trainer.keys import RoomKeys

PASSPHRASE = "correct horse battery"  # noqa: S105
ORIGIN = "https://service.test"
LOG_ORIGIN = "service.test/log"
TDC, TDP_A, TDP_B, CCRP = "Developer", "Hospital-A", "Hospital-B", "Cloud"


def identity(name: str) -> Identity:
    """Return the signing identity of a made-up party."""
    who = party(name)
    chain = tuple(cert.public_bytes(Encoding.DER) for cert in who.chain)
    return Identity(did=who.did, chain=chain, private_key=who.key)


def contract(**changes: Any) -> Contract:
    """Return a contract between the made-up parties under the shipped policy."""
    value = json.loads(_with_real_parties(json.dumps(contract_json())))
    value["policy"] = {
        "id": "depa",
        "version": load_bundle().version,
        "digest": load_bundle().digest,
    }
    value["attestation"]["authorities"] = [simulator.ISSUER]
    value["attestation"]["hostData"] = [simulator.HOST_DATA]
    value["attestation"]["minimumGuestSvn"] = 2
    for index, dataset in enumerate(value["datasets"]):
        dataset["digest"] = sha256(f"sealed {index}".encode())
    for item in (*value["datasets"], *value["baseModels"]):
        item["key"]["vault"] = VAULT
    return Contract.parse(json.dumps(value | changes).encode())


def _with_real_parties(text: str) -> str:
    for name in (TDC, TDP_A, TDP_B, CCRP):
        text = text.replace(json.dumps(did(name)), json.dumps(party(name).did))
    return text


def pipeline(agreed: Contract, **train: Any) -> Pipeline:
    """Return a pipeline under a contract."""
    small = {"dataset": {"kind": "slices", "size": [32, 32]}, "steps": 40, "batchSize": 44}
    return Pipeline.from_json(pipeline_json(agreed.digest(), **{**small, **train}))


def sign_contract(agreed: Contract, name: str, *, now: float) -> bytes:
    """Return a party's signature statement."""
    return identity(name).issue(
        payload_hash=hashlib.sha256(agreed.canonical()).digest(),
        kind="signature",
        subject=agreed.urn,
        issued_at=int(now),
    )


@dataclass
class World:
    """A running service and everybody around it."""

    folder: Path
    clock: Clock
    app: FastAPI
    http: httpx2.Client
    vault: InProcessVault
    root: str

    def client(self, name: str = TDC) -> ServiceClient:
        """Return a verifying client of a party."""
        transport = Transport(
            ORIGIN, credential=party(name), http=self.http, clock=self.clock, pause=lambda _: None
        )
        return ServiceClient(transport, root_fingerprint=self.root, clock=self.clock)

    def request(
        self, method: str, path: str, name: str | None = TDC, **options: Any
    ) -> httpx2.Response:
        """Send a raw request as a party."""
        headers = dict(options.pop("headers", {}))
        if name is not None:
            headers["Authorization"] = "Bearer " + party(name).bearer(
                audience=ORIGIN, now=self.clock()
            )
        return self.http.request(method, path, headers=headers, **options)

    def executed(self, **changes: Any) -> Contract:
        """Return a contract that all parties have signed, its keys in the vault."""
        agreed = contract(**changes)
        known = {item.digest for item in self.client().contracts().contracts}
        if agreed.digest() in known:
            return agreed
        self.client(TDC).propose(agreed)
        for name in (TDC, TDP_A, TDP_B, CCRP):
            self.sign(agreed, name)
        self.import_keys(agreed)
        return agreed

    def sign(self, agreed: Contract, name: str) -> ContractRegistered:
        statement = sign_contract(agreed, name, now=self.clock())
        return self.client(name).sign(agreed.digest(), statement)

    def revoke(self, agreed: Contract, name: str) -> ContractRegistered:
        at = datetime.fromtimestamp(int(self.clock()), UTC)
        document = Revocation(contract=agreed.digest(), reason="study ended", revoked_at=at)
        statement = identity(name).issue(
            payload_hash=hashlib.sha256(document.canonical()).digest(),
            kind="revocation",
            subject=agreed.urn,
            issued_at=int(self.clock()),
        )
        return self.client(name).revoke(agreed.digest(), document, statement)

    def import_keys(self, agreed: Contract) -> None:
        policy = build_release_policy(
            agreed.digest(),
            authorities=agreed.attestation.authorities,
            host_data=agreed.attestation.host_data,
        )
        for item in (*agreed.datasets, *agreed.base_models):
            self.vault.add_key(item.key.name, owner=party(TDP_A), policy=policy)

    def approved(self, agreed: Contract, **train: Any) -> RunStatus:
        return self.client().submit(pipeline(agreed, **train))

    def room(self, run: str) -> Room:
        """Start a clean room for a run: it has a capability, and nothing else yet."""
        return self.room_with(run, self.client().access(run).token)

    def room_with(self, run: str, capability: str) -> Room:
        """Return the clean room that holds a capability."""
        client = RoomClient(ORIGIN, credential=RunToken(capability), http=self.http)
        return Room(self, run, capability, client)

    def stop_log(self) -> None:
        """Make the log unable to take anything."""
        self.app.state.services.context.log.close()


def room_keys() -> RoomKeys:
    """Return keys of one run; the RSA key, which takes long to make, is the session's."""
    return RoomKeys(simulator.room_keys().release, ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Room:
    """A clean room on simulated hardware."""

    world: World
    run: str
    capability: str
    client: RoomClient
    keys: RoomKeys = field(default_factory=room_keys)

    def evidence(self, **changes: Any) -> simulator.Evidence:
        """Return honest evidence for this run, with a fresh nonce, or bent."""
        status = self.client.status(self.run)
        if "nonce" not in changes:
            changes["nonce"] = self.client.nonce(self.run).nonce
        values: dict[str, Any] = {
            "contract": status.contract,
            "run": self.run,
            "pipeline": status.pipeline,
            "keys": self.keys,
        }
        return simulator.bend(**(values | changes))

    def token(self, **changes: Any) -> str:
        now = datetime.fromtimestamp(self.world.clock(), UTC)
        return self.evidence(**changes).token(now=now)

    def release(self, token: str | None = None) -> Released:
        return self.client.release(self.run, token=token or self.token())

    def report(self, **changes: Any) -> tuple[RunReport, bytes]:
        """Return an honest report and its statement, or a bent one."""
        status = self.client.status(self.run)
        claims = simulator.evidence_claims()
        values: dict[str, Any] = {
            "run": self.run,
            "contract": status.contract,
            "pipeline": status.pipeline,
            "state": "completed",
            "reason": "completed",
            "host_data": simulator.HOST_DATA,
            "measurement": claims.measurement,
            "datasets": (sha256(b"sealed 0"), sha256(b"sealed 1")),
            "spent": spent(),
            "model": sha256(b"model"),
            "model_url": "file:///blobs/output/model.sealed",
            "started_at": int(self.world.clock()),
            "finished_at": int(self.world.clock()),
        }
        report = RunReport(**(values | changes))
        return report, sign_report(report, now=self.world.clock(), key=self.keys.report)


@cache
def spent(steps: int = 40) -> Spent:
    """Return what `steps` steps of the sample pipeline cost, or a little less."""
    plan = accounting.plan(
        epsilon=8.0, delta=0.0005, sampling_rate=0.1, steps=40, adjacency="add-remove"
    )
    event = plan.event_after(steps)
    cost = accounting.compose([event], delta=0.0005, adjacency="add-remove")
    return Spent(
        micro_epsilon=accounting.micro_epsilon(cost),
        delta_trillionths=accounting.delta_trillionths(0.0005),
        steps=steps,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=0.1,
        max_grad_norm=0.5,
        unit="patient",
        adjacency="add-remove",
        event=accounting.event_to_json(event),
    )


def sign_report(
    report: RunReport, *, now: float, key: ec.EllipticCurvePrivateKey, **changes: Any
) -> bytes:
    """Return the statement of a key about a report."""
    values: dict[str, Any] = {
        "payload_hash": hashlib.sha256(report.canonical()).digest(),
        "kind": "run-report",
        "subject": contract_urn(report.contract),
        "issued_at": int(now),
    }
    signer = Identity(did=did_jwk_for(key.public_key()), chain=(), private_key=key)
    return signer.issue(**(values | changes))


def settings(folder: Path, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "home": folder / "service",
        "origin": ORIGIN,
        "DEPA_PASSPHRASE": PASSPHRASE,
    }
    return Settings(**(values | {"settle_seconds": 3600.0} | changes))


@contextmanager
def running(folder: Path, *, clock: Clock | None = None, **changes: Any) -> Iterator[World]:
    """Run a service on a folder; a second time, it goes on where it was."""
    clock = clock or Clock(NOW.timestamp())
    folder.mkdir(exist_ok=True)
    logs.configure("INFO")
    configured = settings(folder, **changes)
    if not configured.home.exists():
        init_home(
            configured.home,
            passphrase=PASSPHRASE,
            origin=LOG_ORIGIN,
            organization="Operator",
            now=int(clock()),
        )
    home = load_home(configured.home, passphrase=PASSPHRASE, now=int(clock()))
    with ExitStack() as stack:
        store = KeyStore(folder / "vault.db", passphrase=b"vault passphrase", cost=1 << 10)
        stack.callback(store.close)
        jwks = _key_set(folder)
        vault = in_process_vault(
            store, home.identity, clock, jwks, owner=party(TDP_A).did, diary=folder / "asked.txt"
        )
        authority = httpx2.Client(
            transport=httpx2.MockTransport(lambda _: httpx2.Response(200, content=jwks))
        )
        stack.callback(authority.close)
        app = create_app(
            configured, clock=clock, vaults=vault, authorities=Authorities(http=authority)
        )
        http = stack.enter_context(TestClient(app, base_url=ORIGIN, raise_server_exceptions=False))
        yield World(folder, clock, app, http, vault, home.fingerprint)


def _key_set(folder: Path) -> bytes:
    """Return the attestation service's keys, which a folder keeps for other processes."""
    path = folder / "jwks.json"
    if not path.exists():
        path.write_bytes(key_set(simulator.token_key()))
    return path.read_bytes()
