"""Whoever deploys a clean room chooses addresses, and gains nothing by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.local.launch_policy import TRAINER_COMMAND, trainer_policy
from ledger.errors import VerificationError
from policies.attestation.release_policy import (
    build_release_policy,
    parse_release_policy,
    verify_release,
)
from policies.errors import EvidenceError
from policies.releases import shipped_policies
from tests.holes.test_consent import room
from tests.record import BEFORE_RELEASE, NOW, Record
from tests.simulator import CONTRACT, ISSUER, Evidence
from trainer import gate

AGREED, CHOSEN = "ab" * 32, "cd" * 32


def test_a_contract_url_of_the_deployers_choice_is_useless(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    theirs = Record(tmp_path / "theirs", left_out=set(BEFORE_RELEASE))
    bundle = theirs.bundle().encode()
    honest = room(theirs)
    assert gate.verify(bundle, room=honest, policies=shipped_policies(), now=NOW)
    pinned = replace(honest, root_fingerprint=AGREED)
    with pytest.raises(VerificationError) as refused:
        gate.verify(bundle, room=pinned, policies=shipped_policies(), now=NOW)
    assert AGREED in str(refused.value)


def test_another_root_is_not_started_under_the_agreed_launch_policy() -> None:
    agreed = trainer_policy(AGREED)
    with pytest.raises(EvidenceError) as refused:
        agreed.verify(command=TRAINER_COMMAND, environ={"DEPA_ROOT_FINGERPRINT": CHOSEN})
    assert refused.value.claim == "launch.env.DEPA_ROOT_FINGERPRINT"
    assert AGREED in str(refused.value)


def test_another_root_is_another_launch_policy_to_the_vault() -> None:
    agreed, chosen = trainer_policy(AGREED), trainer_policy(CHOSEN)
    assert agreed.host_data() != chosen.host_data()
    policy = parse_release_policy(
        build_release_policy(CONTRACT, authorities=[ISSUER], host_data=[agreed.host_data()])
    )
    verify_release(policy, claims=claims(agreed.host_data()))
    with pytest.raises(EvidenceError) as refused:
        verify_release(policy, claims=claims(chosen.host_data()))
    assert refused.value.claim == "x-ms-sevsnpvm-hostdata"


def claims(host_data: str) -> dict[str, Any]:
    return {"iss": ISSUER, **Evidence(host_data=host_data).claims()}
