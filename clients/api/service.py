"""The contract service's client of a party.

The service is not believed. Documents are compared with their digests, receipts with the log's
keys, and those with the one root whose fingerprint the caller knows.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable

from clients.api.answers import (
    BudgetList,
    ContractList,
    ContractRegistered,
    ContractState,
    ContractStatus,
    DecisionAnswer,
    PartyList,
    PolicyAnswer,
    PolicyList,
    PolicyQuestion,
    Registered,
    RevocationRequest,
    RulesTaken,
    RunAccess,
    RunList,
    RunStatus,
    StatementList,
)
from clients.api.errors import UntrustedAnswerError
from clients.api.reading import read_answer
from clients.api.transport import Transport
from ledger.errors import LedgerError
from ledger.receipt import verify_receipt
from ledger.statement import parse_statement, verify_statement
from ledger.trust import TrustedLog
from policies.bundle import Bundle, parse
from policies.errors import DocumentError, PolicyMismatchError
from policies.masking import marks
from policies.wire.base import sha256
from policies.wire.contract import Contract, contract_urn
from policies.wire.decision import DecisionRecord
from policies.wire.pipeline import Pipeline
from policies.wire.run import Revocation, RunState

_COSE = "application/cose"
_TEXT = "text/plain"


class ServiceClient:
    """What a party can do.

    Args:
        transport: How to reach the service, and who asks.
        root_fingerprint: SHA-256 of the service's root certificate, 64 hexadecimal digits.
        clock: Unix seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        root_fingerprint: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._root = root_fingerprint
        self._clock = clock
        self._log: TrustedLog | None = None

    @property
    def log(self) -> TrustedLog:
        """The service's log, its keys proven up to the pinned root.

        Raises:
            UntrustedAnswerError: if they are not.
        """
        if self._log is None:
            document = self._transport.get("/log.json")
            try:
                self._log = TrustedLog.from_document(
                    document, root_fingerprint=self._root, at=int(self._clock())
                )
            except LedgerError as error:
                raise _untrusted("trust document", error) from error
        return self._log

    def propose(self, contract: Contract) -> ContractRegistered:
        """Propose a contract as its consumer."""
        answer = self._transport.post("/contracts", contract.canonical())
        return read_answer(answer, ContractRegistered)

    def sign(self, digest: str, statement: bytes) -> ContractRegistered:
        """Register a party's signature and return where it is, its receipt verified.

        Raises:
            UntrustedAnswerError: if the receipt does not verify.
        """
        path = f"/contracts/{digest}/signatures"
        answer = read_answer(
            self._transport.post(path, statement, content_type=_COSE), ContractRegistered
        )
        mine = parse_statement(statement)
        leaf = mine.leaf_hash
        if answer.registered.leaf_hash != "sha256:" + leaf.hex():
            # This party has signed before; the receipt is of that signature.
            path = f"/entries/{answer.registered.entry_id}/statement"
            earlier = parse_statement(self._transport.get(path, accept=_COSE))
            if (earlier.issuer, earlier.payload_hash) != (mine.issuer, mine.payload_hash):
                raise UntrustedAnswerError(
                    "signature", expected=f"one by {mine.issuer}", got=f"one by {earlier.issuer}"
                )
            leaf = earlier.leaf_hash
        self._check_receipt(answer.registered, leaf)
        return answer

    def revoke(self, digest: str, document: Revocation, statement: bytes) -> ContractRegistered:
        """Register a party's revocation, its receipt verified.

        Raises:
            UntrustedAnswerError: if the receipt does not verify.
        """
        request = RevocationRequest(
            document=document, statement=base64.b64encode(statement).decode()
        )
        answer = read_answer(
            self._transport.post(f"/contracts/{digest}/revocations", request.canonical()),
            ContractRegistered,
        )
        self._check_receipt(answer.registered, parse_statement(statement).leaf_hash)
        return answer

    def contracts(
        self, *, party: str | None = None, state: ContractState | None = None
    ) -> ContractList:
        """Return the contracts that the caller is a party of."""
        params = _given(party=party, state=state)
        return read_answer(self._transport.get("/contracts", params=params), ContractList)

    def contract_status(self, digest: str) -> ContractStatus:
        """Return how far a contract is, and who is missing."""
        return read_answer(self._transport.get(f"/contracts/{digest}"), ContractStatus)

    def contract(self, digest: str) -> Contract:
        """Return a contract, compared with its digest.

        Raises:
            UntrustedAnswerError: if it is another one.
        """
        contract = Contract.parse(self._transport.get(f"/contracts/{digest}/document"))
        if contract.digest() != digest:
            raise UntrustedAnswerError("contract", expected=digest, got=contract.digest())
        return contract

    def contract_bundle(self, digest: str) -> bytes:
        """Return the offline bundle of a contract; the caller MUST verify it."""
        return self._transport.get(f"/contracts/{digest}/bundle")

    def upload_rules(self, text: bytes) -> RulesTaken:
        """Upload a provider's own rules, so that contracts can name them.

        Raises:
            UntrustedAnswerError: if the service has taken in something else.
        """
        answer = read_answer(
            self._transport.post("/policy/modules", text, content_type=_TEXT), RulesTaken
        )
        if answer.digest != sha256(text):
            raise UntrustedAnswerError("rules", expected=sha256(text), got=answer.digest)
        return answer

    def rules(self, digest: str) -> bytes:
        """Return the text of a provider's own rules, compared with its digest.

        Raises:
            UntrustedAnswerError: if it is another one.
        """
        text = self._transport.get(f"/policy/modules/{digest}", accept=_TEXT)
        if sha256(text) != digest:
            raise UntrustedAnswerError("rules", expected=digest, got=sha256(text))
        return text

    def submit(self, pipeline: Pipeline) -> RunStatus:
        """Submit a pipeline.

        Raises:
            RefusedError: if the policy denies, with every reason.
        """
        status = read_answer(self._transport.post("/runs", pipeline.canonical()), RunStatus)
        if status.pipeline != pipeline.digest():
            raise UntrustedAnswerError("pipeline", expected=pipeline.digest(), got=status.pipeline)
        return status

    def runs(self, *, contract: str | None = None, state: RunState | None = None) -> RunList:
        """Return the runs under the caller's contracts, newest first."""
        params = _given(contract=contract, state=state)
        return read_answer(self._transport.get("/runs", params=params), RunList)

    def run(self, run: str) -> RunStatus:
        """Return how far a run is."""
        return read_answer(self._transport.get(f"/runs/{run}"), RunStatus)

    def access(self, run: str) -> RunAccess:
        """Return a capability for the clean room of a run."""
        return read_answer(self._transport.post(f"/runs/{run}/access"), RunAccess)

    def abandon(self, run: str) -> RunStatus:
        """Give up a run."""
        return read_answer(self._transport.post(f"/runs/{run}/abandon"), RunStatus)

    def policies(self) -> PolicyList:
        """Return the policies that contracts may name."""
        return read_answer(self._transport.get("/policy/bundles"), PolicyList)

    def policy_bundle(self, digest: str) -> Bundle:
        """Return a policy, its digest computed from its text.

        Raises:
            UntrustedAnswerError: if it is another one, or no policy.
        """
        data = self._transport.get(f"/policy/bundles/{digest}", accept="application/gzip")
        try:
            return parse(data).require(digest)
        except (DocumentError, PolicyMismatchError) as error:
            raise UntrustedAnswerError("policy", expected=digest, got=str(error)) from error

    def check(self, contract: Contract | str, pipeline: Pipeline | None = None) -> PolicyAnswer:
        """Return what the policy would decide about a contract, or a pipeline under it.

        Args:
            contract: The digest of a contract that was proposed, or a draft.
            pipeline: The pipeline, if it is asked about one.

        Raises:
            UntrustedAnswerError: if another policy allows it than the draft names.
        """
        question = PolicyQuestion(
            contract=contract if isinstance(contract, str) else contract.to_json(),
            pipeline=None if pipeline is None else pipeline.to_json(),
        )
        answer = read_answer(
            self._transport.post("/policy/check", json.dumps(question.to_json()).encode()),
            PolicyAnswer,
        )
        decision = answer.decision
        if isinstance(contract, Contract) and decision.allow:
            agreed = contract.policy.digest
            if decision.policy != agreed:
                raise UntrustedAnswerError("policy", expected=agreed, got=decision.policy)
        return answer

    def decision(self, decision_id: str) -> DecisionAnswer:
        """Return a decision with its reasons, proven to be the one that the log has.

        Raises:
            UntrustedAnswerError: if record, statement, receipt and reasons are not of one decision.
        """
        answer = read_answer(self._transport.get(f"/decisions/{decision_id}"), DecisionAnswer)
        record = answer.record
        path = f"/entries/{answer.registered.entry_id}/statement"
        try:
            statement = verify_statement(self._transport.get(path, accept=_COSE))
        except LedgerError as error:
            raise _untrusted("statement", error) from error
        got = {
            "decision": (decision_id, record.decision_id),
            "issuer": (self.log.service, statement.issuer),
            "kind": (DecisionRecord.kind, statement.kind),
            "subject": (contract_urn(record.contract), statement.subject),
            "record": (statement.payload_digest, record.digest()),
            "reasons": (record.reasons, marks(answer.reasons)),
            "warnings": (record.warnings, marks(answer.warnings)),
        }
        for what, (expected, found) in got.items():
            if expected != found:
                raise UntrustedAnswerError(f"decision: {what}", expected=expected, got=found)
        self._check_receipt(answer.registered, statement.leaf_hash)
        return answer

    def budget(self, dataset_digest: str) -> BudgetList:
        """Return what has been spent of a data set."""
        return read_answer(self._transport.get(f"/datasets/{dataset_digest}/budget"), BudgetList)

    def parties(self) -> PartyList:
        """Return the parties that the caller shares a contract with."""
        return read_answer(self._transport.get("/parties"), PartyList)

    def statements(
        self,
        *,
        subject: str | None = None,
        kind: str | None = None,
        issuer: str | None = None,
        start: int = 0,
    ) -> StatementList:
        """Search statements, oldest first."""
        params = _given(subject=subject, kind=kind, issuer=issuer, start=str(start))
        return read_answer(self._transport.get("/entries", params=params), StatementList)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _check_receipt(self, entry: Registered, leaf: bytes) -> None:
        if entry.leaf_hash != "sha256:" + leaf.hex():
            raise UntrustedAnswerError("leaf hash", expected=leaf.hex(), got=entry.leaf_hash)
        try:
            claims = verify_receipt(
                base64.b64decode(entry.receipt), leaf_hash=leaf, keys=self.log.keys
            )
        except (LedgerError, ValueError) as error:
            raise _untrusted("receipt", error) from error
        if entry.entry_id.rpartition(".")[2] != str(claims.leaf_index):
            raise UntrustedAnswerError(
                "entry id", expected=f"index {claims.leaf_index}", got=entry.entry_id
            )


def _untrusted(what: str, error: Exception) -> UntrustedAnswerError:
    return UntrustedAnswerError(
        what,
        expected="one under the pinned root",
        got=str(error),
        hint="compare the fingerprint with the operator's, by another way than this service",
    )


def _given(**params: str | None) -> dict[str, str]:
    return {name: value for name, value in params.items() if value is not None}
