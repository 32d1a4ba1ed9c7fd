"""The whole way of the data with a tiny cohort, and what it leaves, read by independent code."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from cryptography import x509

from tests.e2e.independent import Entry, jwt_claims, safetensors_names, sealed_header
from tests.e2e.played import Played

HOSPITALS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


def test_the_demo_tells_its_figures(played: Played) -> None:
    assert played.figures["refusals"] == 3
    assert played.figures["events"] == len(played.log.entries)
    assert 0 < played.figures["epsilon"] <= 8.0
    assert 0 < played.figures["dice"] <= 1
    assert played.figures["seconds"] > 0


def test_every_party_signed_the_same_contract_under_its_own_root(played: Played) -> None:
    contract = played.contract
    parties = [contract["tdc"], *contract["tdps"], contract["ccrp"]]
    signatures = played.log.of("signature")
    assert sorted(e.issuer for e in signatures) == sorted(party["id"] for party in parties)
    assert {entry.payload for entry in signatures} == {played.digest}
    assert len({entry.root_certificate for entry in signatures}) == len(parties) == 6


def test_the_contract_is_executed_only_after_the_last_signature(played: Played) -> None:
    (executed,) = played.log.of("executed")
    signatures = played.log.of("signature")
    by_party = {entry.issuer: "sha256:" + entry.leaf.hex() for entry in signatures}
    contract = played.contract
    order = [contract["tdc"], *contract["tdps"], contract["ccrp"]]
    assert executed.document["signatures"] == [by_party[party["id"]] for party in order]
    assert executed.index > max(entry.index for entry in signatures)


def test_the_pinned_root_is_in_the_launch_policy_that_the_contract_accepts(played: Played) -> None:
    policy = (played.folder / "stack" / "launch-policy.rego").read_bytes()
    assert played.log.root == played.stack["root"]
    assert f'"DEPA_ROOT_FINGERPRINT={played.log.root}"'.encode() in policy
    assert played.contract["attestation"]["hostData"] == [hashlib.sha256(policy).hexdigest()]


def test_keys_went_out_only_after_decision_and_reservation_were_on_the_log(played: Played) -> None:
    granted = [entry for entry in played.log.of("key-release") if entry.document["allowed"]]
    assert len(granted) == 2
    for release in granted:
        run = release.document["run"]
        (approval,) = _of_run(played.log.of("approval"), run)
        reserved = [
            entry
            for entry in _of_run(played.log.of("budget-booking"), run)
            if entry.document["state"] == "reserved"
        ]
        decision = next(
            entry
            for entry in played.log.of("pipeline-decision")
            if entry.document["decisionId"] == release.document["decision"]
        )
        assert decision.document["allow"]
        assert approval.index < reserved[0].index < release.index
        assert decision.index < release.index
        assert len(release.document["keys"]) == 5


def test_the_attested_evidence_names_contract_run_and_pipeline(played: Played) -> None:
    policy = (played.folder / "stack" / "launch-policy.rego").read_bytes()
    pem = (played.folder / "stack" / "attestation" / "token.pem").read_bytes()
    key = x509.load_pem_x509_certificate(pem).public_key()
    for release in played.log.of("key-release"):
        document = release.document
        if not document["allowed"]:
            continue
        claims = jwt_claims(played.log.documents[document["token"]].decode(), key)
        assert claims["x-ms-runtime"]["depa"]["contract"] == played.digest
        assert claims["x-ms-runtime"]["depa"]["run"] == document["run"]
        assert claims["x-ms-runtime"]["depa"]["pipeline"] == document["pipeline"]
        assert claims["x-ms-sevsnpvm-hostdata"] == hashlib.sha256(policy).hexdigest()
        assert claims["x-ms-sevsnpvm-is-debuggable"] is False


def test_the_report_is_signed_by_the_key_that_was_attested(played: Played) -> None:
    releases = {e.document["run"]: e.document for e in played.log.of("key-release")}
    reports = played.log.of("run-report")
    assert {entry.document["state"] for entry in reports} == {"completed", "failed"}
    for report in reports:
        release = releases[report.document["run"]]
        assert report.issuer == release["reportKey"]
        assert report.issuer.startswith("did:jwk:")


def test_the_completed_run_spent_no_more_than_the_contract_grants(played: Played) -> None:
    (report,) = [e for e in played.log.of("run-report") if e.document["state"] == "completed"]
    spent, limits = report.document["spent"], played.contract["constraints"]["privacy"]
    for limit in limits:
        assert spent["microEpsilon"] <= limit["run"]["epsilon"] * 1e6
        assert spent["deltaTrillionths"] <= limit["run"]["delta"] * 1e12
        assert (spent["unit"], spent["adjacency"]) == (limit["unit"], limit["adjacency"])
    assert spent["microEpsilon"] == round(played.figures["epsilon"] * 1e6)


def test_a_pipeline_over_its_epsilon_is_denied_with_code_place_and_numbers(played: Played) -> None:
    (denied,) = [
        entry
        for entry in played.log.of("pipeline-decision")
        if entry.document["entrypoint"] == "training" and not entry.document["allow"]
    ]
    marks = {(mark["code"], mark["path"]) for mark in denied.document["reasons"]}
    assert ("EPSILON_EXCEEDED", "/pipeline/1/config/privacyParams/epsilon") in marks
    assert not _of_run(played.log.of("approval"), denied.document["run"])
    assert "EPSILON_EXCEEDED at /pipeline/1/config/privacyParams/epsilon" in played.told
    assert "epsilon 8.5 asked, at most 8 granted" in played.told


def test_one_flipped_byte_is_refused_before_training_and_costs_nothing(played: Played) -> None:
    (failed,) = [e for e in played.log.of("run-report") if e.document["state"] == "failed"]
    assert failed.document["reason"] == "sealed-file-refused"
    assert not {"spent", "model", "modelUrl"} & set(failed.document)
    bookings = _of_run(played.log.of("budget-booking"), failed.document["run"])
    assert [entry.document["state"] for entry in bookings] == ["reserved", "settled"]
    assert {c["microEpsilon"] for c in bookings[-1].document["charges"]} == {0}
    assert not list((played.folder / "stack" / "blobs").glob(f"{failed.document['run']}*"))


def test_another_launch_policy_gets_no_key_and_the_refusal_is_on_the_log(played: Played) -> None:
    (refused,) = [e for e in played.log.of("key-release") if not e.document["allowed"]]
    assert "EVIDENCE_HOST_DATA" in refused.document["codes"]
    run = refused.document["run"]
    assert not _of_run(played.log.of("run-report"), run)
    assert not _of_run(played.log.of("budget-booking"), run)


def test_sealed_files_are_those_of_the_contract_and_hold_no_plaintext(played: Played) -> None:
    contract = played.contract
    for item in [*contract["datasets"], *contract["baseModels"]]:
        data = (played.folder / "stack" / "blobs" / item["url"].rpartition("/")[2]).read_bytes()
        assert "sha256:" + hashlib.sha256(data).hexdigest() == item["digest"]
        magic, header = sealed_header(data)
        assert magic.startswith(b"depa-")
        assert header["dataset"] == item["id"]
        assert header["keyName"] == item["key"]["name"]
        for plain in (b"safetensors", b"ustar", b"BraTS20", b'"dtype"'):
            assert plain not in data


def test_only_the_consumer_has_the_model(played: Played) -> None:
    (report,) = [e for e in played.log.of("run-report") if e.document["state"] == "completed"]
    sealed = played.folder / "stack" / "blobs" / f"{report.document['run']}.sealed"
    digest = "sha256:" + hashlib.sha256(sealed.read_bytes()).hexdigest()
    assert digest == report.document["model"]
    opened = list(played.folder.rglob("model/model.safetensors"))
    assert opened == [played.folder / "homes" / "developer" / "model" / "model.safetensors"]
    assert len(safetensors_names(opened[0].read_bytes())) > 10


def test_the_figures_lie_beside_the_model(played: Played) -> None:
    folder = played.folder / "homes" / "developer" / "model-metrics"
    told = json.loads((folder / "metrics.json").read_bytes())
    metrics, counts = told["metrics"], told["counts"]
    assert list(metrics) == [
        *("dice_score", "jaccard_index", "precision", "recall", "hausdorff_distance"),
    ]
    assert round(metrics["dice_score"], 4) == played.figures["dice"]
    assert 0 < metrics["jaccard_index"] <= metrics["dice_score"]
    assert metrics["hausdorff_distance"] > 0
    for metric in metrics:
        assert counts[metric]["counted"] > 0


def test_the_test_masks_are_drawn(played: Played) -> None:
    png = (played.folder / "homes" / "developer" / "masks.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n")


def test_the_model_has_looked_at_a_scan_as_it_came(played: Played) -> None:
    home = played.folder / "homes" / "developer"
    origin = json.loads((home / "model-origin.json").read_bytes())
    weights = (home / "model" / "model.safetensors").read_bytes()
    assert origin["file"] == "sha256:" + hashlib.sha256(weights).hexdigest()
    assert origin["contract"] == played.digest
    (scan,) = (home / "scan").iterdir()
    mask = gzip.decompress((home / "found" / f"{scan.name}_mask.nii.gz").read_bytes())
    image = gzip.decompress((scan / f"{scan.name}_flair.nii.gz").read_bytes())
    # Sides, and the rows of the affine, as they stand in the header of NIfTI-1.
    assert mask[40:56] == image[40:56]
    assert mask[280:328] == image[280:328]
    assert set(mask[352:]) == {0, 1}
    assert (home / "found" / f"{scan.name}.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_damaged_volume_is_named_and_no_patient_is_in_two_hospitals(played: Played) -> None:
    assert "BraTS20_Training_cut" in played.told
    patients: list[str] = []
    for hospital in HOSPITALS:
        manifest = played.folder / "homes" / hospital / "prepared" / "dataset.json"
        patients += [entry["patient"] for entry in json.loads(manifest.read_bytes())["patients"]]
    assert "BraTS20_Training_cut" not in patients
    assert (
        len(set(patients)) == len(patients) == sum(d["units"] for d in played.contract["datasets"])
    )


def test_no_role_keeps_a_key_that_others_can_read(played: Played) -> None:
    homes = played.folder / "homes"
    secrets = list(homes.rglob("*.key"))
    assert len(secrets) >= 6 * 2
    for path in secrets:
        assert path.stat().st_mode & 0o077 == 0
        assert set(json.loads(path.read_bytes())) == {"name", "nonce", "sealed"}
    for path in homes.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_no_capability_and_no_token_is_in_any_log(played: Played) -> None:
    logs = [*(played.folder / "logs").iterdir(), *(played.folder / "stack" / "logs").iterdir()]
    assert len(logs) >= 7 + 7
    for path in logs:
        text = path.read_text(encoding="utf-8")
        assert "drt_" not in text
        assert "eyJ" not in text
        assert "Traceback" not in text


def test_nothing_runs_and_nothing_in_clear_is_left_after_the_demo(played: Played) -> None:
    for member in played.stack["members"].values():
        process = member["process"]
        stat = Path(f"/proc/{process['pid']}/stat")
        fields = stat.read_text().rpartition(")")[2].split() if stat.exists() else ["X"]
        # An ended process that nobody has waited for is still listed.
        assert fields[0] in "ZX" or fields[19] != process["started"]
    runs = {entry.document["run"] for entry in played.log.of("approval")}
    shared = Path("/dev/shm")  # noqa: S108 -- where clean rooms have their scratch folders
    if shared.is_dir():
        assert not [path for run in runs for path in shared.glob(f"depa-{run}*")]


def _of_run(entries: list[Entry], run: str) -> list[Entry]:
    return [entry for entry in entries if entry.document["run"] == run]
