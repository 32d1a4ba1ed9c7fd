"""Writes a log about one run on a real sequencer, and lets a test bend each document of it."""

from __future__ import annotations

import copy
import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ledger.bundle import Bundle
from ledger.identity import Identity
from ledger.sequencer import Sequencer
from ledger.store import Store
from ledger.trust import LogKeys
from ledger.verify import VerifiedLog, verify_bundle
from policies.accounting import PrivacyPlan, event_to_json, micro_epsilon, plan
from policies.bundle import load_bundle
from policies.decide import Policy
from policies.dossier import Dossier, read_dossier
from policies.engine.protocol import PartyVerdict
from policies.facts import (
    BudgetAfter,
    ContractFacts,
    Signed,
    contract_facts,
    release_facts,
    training_facts,
)
from policies.parameters import most_parameters
from policies.party import PartyRules
from policies.record import record
from policies.wire.base import Document, sha256
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from policies.wire.run import (
    Approval,
    BudgetBooking,
    Charge,
    Executed,
    KeyRelease,
    Revocation,
    RunReport,
    Spent,
)
from tests.samples import contract_json, pipeline_json
from tests.unit.ledger.makers import enclave, log_keys, party

NOW = 1_790_000_000
RUN = "run-" + "a" * 26
HOST_DATA = "b" * 64
TOKEN = b"header.payload.signature"

Bend = Callable[[Any], Any]


@cache
def _plan() -> PrivacyPlan:
    return plan(epsilon=8.0, delta=0.0005, sampling_rate=0.2, steps=10, adjacency="add-remove")


def same(document: Any) -> Any:
    """Leave a document as it is."""
    return document


@dataclass
class Record:
    """One contract, one run, everything as it should be but for what `bends` names."""

    folder: Path
    bends: dict[str, Bend] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    """Steps that are not written."""
    more: tuple[Callable[[_Writer], None], ...] = ()
    """Steps that are written after all others."""
    late: set[str] = field(default_factory=set)
    """Steps that are written last."""
    rules: bytes | None = None
    """The first provider's own rules; the service does not ask them, as it should."""
    issuers: dict[str, Identity] = field(default_factory=dict)
    """Who signs a document in place of whom it behoves."""
    keys: LogKeys = field(init=False)
    root: str = field(init=False)

    def __post_init__(self) -> None:
        self.keys, trusted = log_keys()
        self.root = trusted.root_fingerprint
        self.room = enclave()
        names = {"tdc": "Developer", "a": "Hospital-A", "b": "Hospital-B", "ccrp": "Cloud"}
        self.parties = {role: party(name) for role, name in names.items()}
        self.contract = self._contract()
        self.pipeline = self._pipeline()

    def _contract(self) -> Contract:
        text = contract_json()
        dids = {role: identity.did for role, identity in self.parties.items()}
        text["tdc"]["id"] = text["output"]["recipient"] = dids["tdc"]
        text["baseModels"][0]["provider"] = dids["tdc"]
        text["ccrp"]["id"] = dids["ccrp"]
        for index, role in enumerate(("a", "b")):
            text["tdps"][index]["id"] = text["datasets"][index]["provider"] = dids[role]
        text["policy"]["digest"] = load_bundle().digest
        text["policy"]["version"] = load_bundle().version
        if self.rules is not None:
            rule = {"provider": dids["a"], "name": "hospital_a", "digest": sha256(self.rules)}
            text["policy"]["partyRules"] = [rule]
        return Contract.from_json(text)

    def _pipeline(self) -> Pipeline:
        return Pipeline.from_json(pipeline_json(self.contract.digest()))

    def dossier(self) -> Dossier:
        """Write the log and return what it proves."""
        return read_dossier(self.log(), contract_digest=self.contract.digest())

    def log(self) -> VerifiedLog:
        """Write the log, export it and verify the export."""
        return verify_bundle(self.bundle(), root_fingerprint=self.root, at=NOW)

    def bundle(self) -> Bundle:
        """Write the log and export it."""
        with self._sequencer() as sequencer:
            writer = _Writer(self, sequencer)
            steps = (*STEPS, *self.more)
            for step in sorted(steps, key=lambda step: step.__name__ in self.late):
                if step.__name__ not in self.left_out:
                    step(writer)
            return sequencer.bundle(
                range(sequencer.size), documents=writer.documents, inputs=writer.inputs
            )

    @contextmanager
    def _sequencer(self) -> Iterator[Sequencer]:
        store = Store(f"sqlite:///{self.folder / secrets.token_hex(4)}.db")
        try:
            with Sequencer(store, keys=self.keys, clock=lambda: NOW) as sequencer:
                yield sequencer
        finally:
            store.close()


class _Silent:
    def evaluate(self, text: str, *, package: str, document: str) -> PartyVerdict:
        del text, package, document
        return PartyVerdict(deny=(), warn=())


class _Writer:
    def __init__(self, record: Record, sequencer: Sequencer) -> None:
        self.record, self.sequencer = record, sequencer
        self.contract, self.pipeline = record.contract, record.pipeline
        self.documents: list[bytes] = [self.contract.canonical(), self.pipeline.canonical(), TOKEN]
        if record.rules is not None and "rules" not in record.left_out:
            self.documents.append(record.rules)
        self.inputs: dict[str, bytes] = {}
        self.signatures: dict[str, bytes] = {}
        self.plan = _plan()
        self.charges = tuple(
            Charge(
                dataset=item.id,
                tdc=self.contract.tdc.id,
                micro_epsilon=8_000_000,
                delta_trillionths=500_000_000,
                event=event_to_json(self.plan.event),
            )
            for item in self.contract.datasets
        )

    def state(self, name: str, document: Document, *, by: Identity | None = None) -> bytes:
        document = self.record.bends.get(name, same)(document)
        self.documents.append(document.canonical())
        signer = self.record.issuers.get(name) or by or self.record.keys.identity
        return self.issue(document.canonical(), document.kind, signer)

    def issue(self, content: bytes, kind: str, by: Identity) -> bytes:
        statement = by.issue(
            payload_hash=hashlib.sha256(content).digest(),
            kind=kind,
            subject=self.contract.urn,
            issued_at=NOW - 10,
        )
        return self.sequencer.register(statement).leaf_hash

    def agreement(self, *, executed: bool) -> ContractFacts:
        return contract_facts(
            self.contract,
            signatures={
                party.id: Signed(NOW - 10, NOW - 10, NOW) for party in self.contract.parties
            },
            executed=executed,
            revoked_by=(),
            now=NOW,
        )

    def approval(self) -> Approval:
        return Approval(
            run=RUN,
            contract=self.contract.digest(),
            pipeline=self.pipeline.digest(),
            decision="dec-training",
            approved_at=datetime.fromtimestamp(NOW, UTC),
            expires_at=datetime.fromtimestamp(NOW + 3600, UTC),
            charges=self.charges,
        )

    @property
    def policy(self) -> Policy:
        texts = {} if self.record.rules is None else {sha256(self.record.rules): self.record.rules}
        return replace(Policy.embedded(), party=PartyRules(_Silent(), texts))

    def decide(self, name: str, *, run: str, spent: int = 8_000_000) -> None:
        facts = training_facts(
            self.agreement(executed=True),
            self.pipeline,
            parameters=most_parameters(self.pipeline, self.contract),
            charges=self.charges,
            budgets=[BudgetAfter(item.id, spent, spent) for item in self.contract.datasets],
        )
        decision = self.policy.training(facts)
        assert decision.allow == (spent <= 8_000_000), decision.reasons
        self.keep(name, decision, facts, run=run)

    def keep(
        self, name: str, decision: Decision, facts: ContractFacts, *, run: str | None = None
    ) -> None:
        salt = b"s" * 32
        entry = record(
            decision,
            facts,
            salt=salt,
            decision_id=name,
            decided_at=NOW,
            pipeline=None if run is None else self.pipeline.digest(),
            run=run,
        )
        bend = (
            same
            if name in {"dec-contract", "dec-release"}
            else self.record.bends.get("input", same)
        )
        self.inputs[f"decision/{name}"] = bend(salt + facts.canonical())
        self.state(name, entry)


def signatures(writer: _Writer) -> None:
    for role, identity in writer.record.parties.items():
        if f"signature-{role}" in writer.record.left_out:
            continue
        content = writer.record.bends.get(f"signature-{role}", same)(writer.contract.canonical())
        writer.signatures[identity.did] = writer.issue(content, "signature", identity)


def consented(writer: _Writer) -> None:
    facts = writer.agreement(executed=False)
    writer.keep("dec-contract", writer.policy.contract(facts), facts)


def executed(writer: _Writer) -> None:
    leaves = [writer.signatures.get(each.id, b"\0" * 32) for each in writer.contract.parties]
    writer.state(
        "executed",
        Executed(
            contract=writer.contract.digest(),
            decision="dec-contract",
            signatures=tuple("sha256:" + leaf.hex() for leaf in leaves),
            executed_at=NOW,
        ),
    )


def decided(writer: _Writer) -> None:
    writer.decide("dec-training", run=RUN)


def refused(writer: _Writer) -> None:
    """Deny a run for which no budget is left."""
    writer.decide("dec-refused", run="run-" + "b" * 26, spent=19_000_000)


def approved(writer: _Writer) -> None:
    writer.state("approval", writer.approval())


def judged(writer: _Writer) -> None:
    facts = release_facts(
        writer.agreement(executed=True),
        run=RUN,
        state="approved",
        contract=writer.contract.digest(),
        pipeline=writer.pipeline.digest(),
        approval=writer.approval(),
        reads=writer.pipeline,
        files=writer.pipeline.files(writer.contract),
        token=TOKEN,
        nonce="N" * 43,
        reserved=[item.id for item in writer.contract.datasets],
    )
    writer.keep("dec-release", writer.policy.release(facts), facts, run=RUN)


def _booking(writer: _Writer, state: str) -> None:
    value = {
        "run": RUN,
        "contract": writer.contract.digest(),
        "decision": "dec-release",
        "state": state,
        "reason": state,
        "charges": [charge.to_json() for charge in writer.charges],
        "bookedAt": NOW,
    }
    writer.state(state, BudgetBooking.from_json(value))


def reserved(writer: _Writer) -> None:
    _booking(writer, "reserved")


def revoked(writer: _Writer) -> None:
    document = Revocation(
        contract=writer.contract.digest(),
        reason="no longer wanted",
        revoked_at=datetime.fromtimestamp(NOW, UTC),
    )
    writer.state("revocation", document, by=writer.record.parties["a"])


def released(writer: _Writer) -> None:
    writer.state(
        "release",
        KeyRelease(
            run=RUN,
            contract=writer.contract.digest(),
            pipeline=writer.pipeline.digest(),
            allowed=True,
            decision="dec-release",
            keys=("https://127.0.0.1:8443/keys/mri-a-key",),
            token="sha256:" + hashlib.sha256(TOKEN).hexdigest(),
            nonce="sha256:" + "e" * 64,
            host_data=HOST_DATA,
            measurement="d" * 96,
            report_key=writer.record.room.did,
            released_at=NOW,
        ),
    )


def reported(writer: _Writer) -> None:
    charge = writer.charges[0]
    document = RunReport(
        run=RUN,
        contract=writer.contract.digest(),
        pipeline=writer.pipeline.digest(),
        state="completed",
        reason="completed",
        host_data=HOST_DATA,
        measurement="d" * 96,
        datasets=(),
        spent=Spent(
            micro_epsilon=micro_epsilon(writer.plan.cost),
            delta_trillionths=500_000_000,
            steps=10,
            noise_multiplier=1.0,
            sampling_rate=0.2,
            max_grad_norm=0.5,
            unit="patient",
            adjacency="add-remove",
            event=copy.deepcopy(charge.event),
        ),
        model="sha256:" + "f" * 64,
        started_at=NOW,
        finished_at=NOW,
    )
    writer.state("report", document, by=writer.record.room)


def settled(writer: _Writer) -> None:
    _booking(writer, "settled")


STEPS = (
    signatures,
    consented,
    executed,
    decided,
    approved,
    judged,
    reserved,
    revoked,
    released,
    reported,
    settled,
)
BEFORE_RELEASE = {"revoked", "released", "reported", "settled", "reserved"}
