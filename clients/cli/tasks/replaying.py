"""Make recorded decisions again: one by its id, or all of a contract under another policy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clients.cli.command import Session
from clients.cli.errors import NotFoundError, Refused
from clients.cli.files import read_bytes
from clients.cli.output import Answer
from clients.cli.tasks.comparing import show_difference
from clients.cli.tasks.service import connect
from ledger.bundle import MAX_BUNDLE_BYTES
from ledger.bundle import Bundle as Export
from ledger.verify import verify_bundle
from policies.audit import SALT_BYTES
from policies.bundle import Bundle
from policies.decide import Policy
from policies.dossier import RecordRefused, contracts_of, read_dossier
from policies.impact import Reconsidered, Replayable, reconsider
from policies.record import replay
from policies.releases import released

_DIGEST = "sha256:"


@dataclass(frozen=True)
class Recorded:
    """Decisions that a verified log proves, and the documents beside them."""

    decisions: tuple[Replayable, ...]
    documents: Mapping[str, bytes]


def replay_decision(
    session: Session, decision_id: str, *, bundle: Path | None, root: str | None
) -> Answer:
    """Make one decision again from the facts that it was made from.

    Args:
        session: The command's.
        decision_id: Id of the decision.
        bundle: Exported file; None to ask the service.
        root: Fingerprint of the root; None for the one of the settings.

    Raises:
        NotFoundError: when there is no such decision.
        PolicyError: when it comes out otherwise, or was made from something else.
    """
    data = _exported(session, decision_id, bundle)
    recorded = read_recorded(data, root or session.settings.need("root"))
    found = [item for item in recorded.decisions if item.entry.decision_id == decision_id]
    if not found:
        known = len(recorded.decisions)
        raise NotFoundError(f"decision: {decision_id} is none of the {known} of this record")
    (item,) = found
    entry = item.entry
    policy = released().get(entry.policy)
    if policy is None:
        raise NotFoundError(f"policy: {entry.policy} is none that this release carries")
    again = replay(entry, item.facts, salt=item.salt, bundle=policy, rules=recorded.documents)
    outcome = "allow" if entry.allow else "deny"
    said = (
        f"{decision_id} ({entry.entrypoint}): {outcome}, and so it comes out again"
        if again is not None
        else f"{decision_id} ({entry.entrypoint}): denied because the engine had failed, which "
        "cannot be made again"
    )
    reasons = [] if again is None else [str(reason) for reason in again.reasons]
    warned = [] if again is None else [f"warning: {reason}" for reason in again.warnings]
    return Answer(
        {
            "decision": decision_id,
            "entrypoint": entry.entrypoint,
            "allow": entry.allow,
            "codes": list(entry.codes),
            "policy": entry.policy,
            "matches": again is not None,
            "reasons": [] if again is None else [one.to_json() for one in again.reasons],
        },
        "\n".join([said, f"policy {policy.version} {policy.digest}", *reasons, *warned]),
    )


def _exported(session: Session, decision_id: str, bundle: Path | None) -> bytes:
    if bundle is not None:
        return read_bytes(bundle, what="bundle", limit=MAX_BUNDLE_BYTES)
    client = connect(session)
    return client.contract_bundle(client.decision(decision_id).record.contract)


def read_recorded(data: bytes, root: str) -> Recorded:
    """Return the decisions of an exported file, after the log has been verified up to the root.

    Raises:
        LedgerError: when the log's record does not verify.
        RecordRefused: when the record contradicts itself, or lacks what a decision was made from.
    """
    log = verify_bundle(Export.parse(data), root_fingerprint=root, at=int(time.time()))
    decisions: list[Replayable] = []
    documents: dict[str, bytes] = {}
    for digest in contracts_of(log):
        dossier = read_dossier(log, contract_digest=digest)
        documents |= dossier.documents
        for item in dossier.decisions:
            made_from = dossier.inputs.get(item.document.input_digest)
            if made_from is None:
                raise RecordRefused(f"the record lacks what {item.document.decision_id} rests on")
            salt, facts = made_from[:SALT_BYTES], made_from[SALT_BYTES:]
            decisions.append(Replayable(item.document, salt, facts))
    return Recorded(tuple(decisions), documents)


def show_impact(
    session: Session, source: str, *, old: Bundle, new: Bundle, root: str | None
) -> None:
    """Make all decisions of a record again under a new policy, and print what changes.

    Args:
        session: The command's.
        source: Exported file, or digest of a contract to ask the service for.
        old: Policy to compare with.
        new: Policy that is considered.
        root: Fingerprint of the root; None for the one of the settings.

    Raises:
        NotFoundError: when there is no such file, or it holds no decision.
        PolicyError: when a decision of the old policy comes out otherwise than recorded.
        Refused: after everything is printed, when something becomes allowed.
    """
    if source.startswith(_DIGEST):
        data = connect(session).contract_bundle(source)
    else:
        data = read_bytes(Path(source), what="bundle", limit=MAX_BUNDLE_BYTES)
    recorded = read_recorded(data, root or session.settings.need("root"))
    if not recorded.decisions:
        raise NotFoundError(f"{source} holds no decision")
    found = reconsider(
        recorded.decisions,
        old=Policy.embedded(old).with_rules(recorded.documents),
        new=Policy.embedded(new).with_rules(recorded.documents),
    )
    changed, answer = show_difference(old, new), _answer(found)
    value = {**changed.value, "replay": answer.value}
    session.out.answer(replace(answer, value=value, text=f"{changed.text}\n{answer.text}"))
    allowed = [one for one in found if one.newly_allowed]
    if allowed:
        raise Refused(
            "\n".join(
                f"{one.decision_id} ({one.entrypoint}) becomes allowed, without {_list(one.lost)}"
                for one in allowed
            ),
            hint="the new policy lets happen what the old one did not: look at each of them",
        )


def _answer(found: Sequence[Reconsidered]) -> Answer:
    denied = [one for one in found if one.flipped and not one.newly_allowed]
    allowed = [one for one in found if one.newly_allowed]
    other = [one for one in found if not one.flipped and (one.lost or one.gained)]
    same = len(found) - len(denied) - len(allowed) - len(other)
    lines = [
        f"{len(found)} decisions made again: {len(allowed)} become allowed, {len(denied)} become "
        f"denied, {len(other)} are denied for other reasons, {same} stay as they are",
        *(
            f"{one.decision_id} ({one.entrypoint}) becomes denied by {_list(one.gained)}"
            for one in denied
        ),
    ]
    flips = _flips(found)
    rows = [(code, *map(str, counts)) for code, counts in flips.items()]
    return Answer(
        {
            "decisions": [_json(one) for one in found],
            "flips": {code: list(counts) for code, counts in flips.items()},
            "newlyAllowed": len(allowed),
            "newlyDenied": len(denied),
        },
        "\n".join(lines),
        columns=("code", "now allowed without it", "now denied by it", "gone", "new")
        if rows
        else (),
        rows=rows,
    )


def _flips(found: Sequence[Reconsidered]) -> dict[str, tuple[int, int, int, int]]:
    """Return for each code that comes or goes: allowed without it, denied by it, gone, new."""
    counts = [
        Counter(code for one in found if one.newly_allowed for code in one.lost),
        Counter(c for one in found if one.flipped and one.after == "deny" for c in one.gained),
        Counter(code for one in found if not one.flipped for code in one.lost),
        Counter(code for one in found if not one.flipped for code in one.gained),
    ]
    codes = sorted({code for count in counts for code in count})
    return {c: (counts[0][c], counts[1][c], counts[2][c], counts[3][c]) for c in codes}


def _json(one: Reconsidered) -> dict[str, Any]:
    return {
        "decision": one.decision_id,
        "entrypoint": one.entrypoint,
        "before": one.before,
        "after": one.after,
        "lost": list(one.lost),
        "gained": list(one.gained),
    }


def _list(codes: Sequence[str]) -> str:
    return ", ".join(codes) or "any reason"
