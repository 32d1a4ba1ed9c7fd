"""Contracts: proposed by their consumer, signed by every party, revoked by any of them."""

from __future__ import annotations

from sqlmodel import Session, col, func, select

from clients.api.answers import (
    ContractList,
    ContractRegistered,
    ContractStatus,
    PartyStatus,
    RevocationRequest,
)
from contract_service.audit.record import info_of
from contract_service.audit.tables import DocumentRow, StatementRow
from contract_service.auth import Caller
from contract_service.context import Context
from contract_service.contracts.rows import insert, locked, parties_of, parties_of_many, summary_of
from contract_service.contracts.signing import take
from contract_service.contracts.state import contract_state, missing
from contract_service.contracts.statements import check_subject, statement_bytes, verified
from contract_service.contracts.tables import ContractPartyRow, ContractRow
from contract_service.problems import ConflictError, ForbiddenError, MissingError, RefusedError
from contract_service.rules.agreed import attach_rules, policy_of
from policies.errors import DocumentError, Problem
from policies.facts.draft import as_if_signed
from policies.wire.contract import Contract, contract_urn
from policies.wire.decision import Denied
from policies.wire.run import Revocation


class Contracts:
    """What may be done with contracts, and by whom."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def propose(self, caller: Caller, body: bytes) -> ContractRegistered:
        """Take in a contract from its consumer.

        Raises:
            DocumentError: naming every field that is wrong, and rules that are not here.
            ForbiddenError: if the caller is not the contract's consumer.
            Denied: if the policy would deny it though all parties signed; nothing is kept.
        """
        contract, now = Contract.parse(body), self._context.now
        if contract.tdc.id != caller.did:
            raise ForbiddenError(
                "not-the-consumer",
                f"/tdc/id: expected {caller.did}, who asks; got {contract.tdc.id}",
                hint="a contract is proposed by its consumer",
            )
        self._check_terms(contract, now=now)
        digest = contract.digest()
        with self._context.database.write() as session:
            if session.get(ContractRow, digest) is None:
                self._check_room(session, contract)
            if insert(session, contract, now=now):
                attach_rules(session, contract)
                self._check_holds(session, contract, now=now)
                self._context.record.state(
                    session, contract, subject=contract.urn, contract=digest, now=now
                )
        return self._outcome(digest, leaf=self._leaf(digest, kind="contract"))

    def sign(
        self, body: bytes, *, digest: str | None = None, caller: Caller | None = None
    ) -> ContractRegistered:
        """Take in a party's signature; the last one makes the contract executed.

        The signature speaks for itself, so it does not matter which party brings it.

        Args:
            body: The party's statement.
            digest: The contract that it must be about; the one it names if there is none.
            caller: Must be able to see the contract, if there is one.

        Raises:
            LedgerError: if the statement does not verify.
            BadRequestError: if it is another kind of statement, or about something else.
            ForbiddenError: if its issuer is no party of the contract.
            ConflictError: if the contract is expired or revoked.
            RefusedError: if it is the last one and the policy denies; the decision is kept.
        """
        now = self._context.now
        statement = verified(body, kind="signature", now=now)
        digest = digest or statement.payload_digest
        check_subject(statement, payload=digest, contract=digest)
        with self._context.database.write() as session:
            if caller is not None:
                self.visible(session, caller, digest)
            taken = take(self._context, session, statement, digest=digest)
        if taken.denied is not None:
            self._context.record.settle()
            raise RefusedError(taken.denied.decision, decision_id=taken.denied.decision_id)
        return self._outcome(digest, leaf=taken.leaf)

    def revoke(self, caller: Caller, digest: str, body: bytes) -> ContractRegistered:
        """Take in a party's revocation: no run is approved and no key released after it.

        Raises:
            LedgerError: if the statement does not verify.
            DocumentError: naming what is wrong with the revocation.
            ForbiddenError: if its issuer is no party of the contract.
        """
        now = self._context.now
        request = RevocationRequest.parse(body)
        statement = verified(statement_bytes(request.statement), kind="revocation", now=now)
        check_subject(statement, payload=request.document.digest(), contract=digest)
        if request.document.contract != digest:
            raise DocumentError(
                Revocation.kind, [Problem("/document/contract", f"is not {digest}")]
            )
        with self._context.database.write() as session:
            self.visible(session, caller, digest)
            row = locked(session, digest)
            if statement.issuer not in {party.did for party in parties_of(session, digest)}:
                raise ForbiddenError("not-a-party", "the statement's issuer is no party of it")
            leaf = self._context.record.owe(session, statement)
            self._context.record.attach(
                session, request.document.canonical(), kind=Revocation.kind, contract=digest
            )
            row.revoked_by = row.revoked_by or statement.issuer
            session.add(row)
        return self._outcome(digest, leaf=leaf)

    def status(self, caller: Caller, digest: str) -> ContractStatus:
        """Return how far a contract is and who is missing."""
        with self._context.database.read() as session:
            row = self.visible(session, caller, digest)
            parties = parties_of(session, digest)
            statements = session.exec(
                select(StatementRow)
                .where(StatementRow.subject == contract_urn(digest))
                .where(col(StatementRow.entry_id).is_not(None))
                .order_by(col(StatementRow.position))
            ).all()
        entries = {item.leaf_hash: item.entry_id for item in statements}
        summary = summary_of(row, parties, now=self._context.now)
        return ContractStatus(
            **summary.model_dump(),
            parties=tuple(
                PartyStatus(
                    role=party.role,  # type: ignore[arg-type]  # written from the same literals
                    id=party.did,
                    name=party.name,
                    signed=party.signature_leaf is not None,
                    entry_id=entries.get(party.signature_leaf or ""),
                )
                for party in parties
            ),
            missing=missing(parties),
            statements=tuple(map(info_of, statements)),
        )

    def search(
        self, caller: Caller, *, party: str | None = None, state: str | None = None
    ) -> ContractList:
        """Return the contracts that the caller is a party of, newest first."""
        now = self._context.now
        with self._context.database.read() as session:
            digests = self.visible_to(session, caller)
            if party is not None:
                digests &= self._of_party(session, party)
            wanted = col(ContractRow.digest).in_(digests)
            query = select(ContractRow).where(wanted).order_by(col(ContractRow.proposed_at).desc())
            rows, parties = session.exec(query).all(), parties_of_many(session, digests)
        found = [summary_of(row, parties[row.digest], now=now) for row in rows]
        return ContractList(contracts=tuple(c for c in found if state in {None, c.state}))

    def visible_to(self, session: Session, caller: Caller) -> set[str]:
        """Return the digests of the contracts that the caller may see; of an auditor, all."""
        if caller.did in self._context.settings.auditors:
            return set(session.exec(select(ContractRow.digest)).all())
        return self._of_party(session, caller.did)

    def document(self, caller: Caller, digest: str) -> bytes:
        """Return the canonical bytes of a contract."""
        with self._context.database.read() as session:
            self.visible(session, caller, digest)
            return session.get_one(DocumentRow, digest).content

    def visible(self, session: Session, caller: Caller, digest: str) -> ContractRow:
        """Return a contract that the caller is a party or an auditor of.

        Raises:
            MissingError: for anybody else, as if there were none.
        """
        row = session.get(ContractRow, digest)
        known = {party.did for party in parties_of(session, digest)}
        if row is None or caller.did not in known | set(self._context.settings.auditors):
            raise MissingError("contract", digest)
        return row

    @staticmethod
    def _of_party(session: Session, did: str) -> set[str]:
        query = select(ContractPartyRow.contract).where(ContractPartyRow.did == did)
        return set(session.exec(query).all())

    def _check_terms(self, contract: Contract, *, now: int) -> None:
        problems = []
        if contract.expiry_time.timestamp() <= now:
            problems.append(Problem("/expiryTime", "is in the past", "choose a later expiry"))
        known = self._context.policies.bundles
        if contract.policy.digest not in known:
            problems.append(
                Problem(
                    "/policy/digest",
                    f"names no policy of this service, which are {list(known)}",
                    "depa policy show prints the digest",
                )
            )
        if problems:
            raise DocumentError(Contract.kind, problems)

    def _check_holds(self, session: Session, contract: Contract, *, now: int) -> None:
        """Raise unless the contract could be executed if all parties signed it now.

        This permits nothing, so it is no decision for the ledger; the last signature asks for one.
        """
        starts_at = int(contract.start_time.timestamp())
        facts = as_if_signed(contract, now=max(now, starts_at))
        decision = policy_of(self._context, session, contract).contract(facts)
        if not decision.allow:
            raise Denied(decision)

    def _check_room(self, session: Session, contract: Contract) -> None:
        same = session.exec(select(ContractRow).where(ContractRow.id == contract.id)).all()
        if any(row.executed_leaf or row.tdc != contract.tdc.id for row in same):
            raise ConflictError(
                "contract-id-taken",
                f"/id: {contract.id} is the id of another contract",
                hint="draft the contract with a new id",
            )
        waiting = session.exec(
            select(func.count())
            .select_from(ContractRow)
            .where(ContractRow.tdc == contract.tdc.id, col(ContractRow.executed_leaf).is_(None))
        ).one()
        if waiting >= self._context.settings.contract_limit:
            raise ConflictError("too-many-contracts", f"{waiting} contracts wait for signatures")

    def _leaf(self, digest: str, *, kind: str) -> str:
        with self._context.database.read() as session:
            return session.exec(
                select(StatementRow.leaf_hash)
                .where(StatementRow.subject == contract_urn(digest), StatementRow.kind == kind)
                .order_by(col(StatementRow.position))
            ).one()

    def _outcome(self, digest: str, *, leaf: str) -> ContractRegistered:
        # What is read before settling is registered after it, whoever else signs in between.
        with self._context.database.read() as session:
            row, parties = session.get_one(ContractRow, digest), parties_of(session, digest)
        self._context.record.settle()
        leaves = [leaf, *([row.executed_leaf] if row.executed_leaf else [])]
        registered = self._context.record.registered(leaves)
        return ContractRegistered(
            state=contract_state(row, parties, now=self._context.now),
            missing=missing(parties),
            registered=registered[0],
            executed=registered[1] if len(registered) > 1 else None,
            decision_id=row.decision_id,
        )
