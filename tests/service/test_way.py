"""The whole way of a contract over the API, with a clean room on simulated hardware."""

from __future__ import annotations

from ledger.bundle import Bundle
from ledger.verify import verify_bundle
from policies.audit import audit
from policies.bundle import load_bundle
from policies.dossier import read_dossier
from policies.wire.run import Progress
from tests.service.vault import SECRET
from tests.service.world import CCRP, TDC, TDP_A, TDP_B, World, contract, pipeline


def test_a_contract_is_executed_when_its_last_party_has_signed(empty_world: World) -> None:
    world, agreed = empty_world, contract()
    proposed = world.client(TDC).propose(agreed)
    assert proposed.state == "proposed"
    assert len(proposed.missing) == 4
    for name in (CCRP, TDP_B, TDC):
        assert world.sign(agreed, name).state == "partially-signed"
    last = world.sign(agreed, TDP_A)
    assert last.state == "executed"
    assert last.executed is not None
    status = world.client(TDP_B).contract_status(agreed.digest())
    assert [item.kind for item in status.statements] == [
        "contract",
        "signature",
        "signature",
        "signature",
        "signature",
        "pipeline-decision",
        "executed",
    ]
    assert last.decision_id is not None
    decision = world.client(TDP_B).decision(last.decision_id).record
    assert (decision.entrypoint, decision.allow) == ("contract", True)
    assert all(party.signed and party.entry_id for party in status.parties)


def test_a_run_goes_from_submission_to_report_and_the_record_proves_it(world: World) -> None:
    agreed = world.executed()
    status = world.client().submit(pipeline(agreed))
    assert status.state == "approved"
    room = world.room(status.run)
    released = room.release()
    assert {key.name for key in released.keys} == {"mri-a-key", "mri-b-key", "base-key"}
    assert len(released.receipts) == 3
    assert world.client().run(status.run).state == "released"
    progress = Progress(
        phase="training",
        step=1,
        steps=40,
        micro_epsilon=1,
        micro_epsilon_limit=8_000_000,
        seconds=1.0,
    )
    assert room.client.progress(status.run, progress).state == "training"
    accepted = room.client.report(status.run, *room.report())
    assert accepted.state == "completed"
    final = world.client(TDP_A).run(status.run)
    assert final.state == "completed"
    assert final.spent is not None

    bundle = Bundle.parse(world.client(TDP_A).contract_bundle(agreed.digest()))
    log = verify_bundle(bundle, root_fingerprint=world.root, at=int(world.clock()))
    dossier = read_dossier(log, contract_digest=agreed.digest())
    findings = audit(dossier, policies={load_bundle().digest: load_bundle()})
    assert any("reported" in f.title or "report" in f.title for f in findings)
    assert not dossier.set_aside
    assert SECRET not in bundle.encode()
