"""DEPA's brats scenario through the command line, from its two documents to an allowed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clients.cli import main
from clients.cli.identity import own_card
from clients.cli.tasks.offer import Offer
from policies.wire.contract import Dataset, SealedFile
from tests.depa import TABLE, TABLE_TERMS, VECTORS, document, given
from tests.samples import dataset_json

Said = pytest.CaptureFixture[str]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> tuple[list[str], Path]:
    """Return the import of the contract with everything that it needs, and the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPA_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("DEPA_BLOBS", "file:///srv/blobs")
    for role, name in (("tdc", "lab"), ("ccrp", "room"), ("tdp", "hospital")):
        assert main.run(["party", "init", "--name", name, "--role", role, "--home", name]) == 0
    capsys.readouterr()
    words = ["contract", "import", str(VECTORS / "brats" / "contract.json")]
    for letter in "ABCD":
        words += ["--offer", offered(f"brats_{letter}", Path("hospital"))]
    words += ["--offer", offered("weights", Path("lab"))]
    options = {
        "ccrp": "room/party.json",
        "unit": "patient",
        "max-grad-norm": "1",
        "max-steps": "1000",
        "model": "graph",
        "max-parameters": "3000000",
        "minimum-guest-svn": "100",
        "authority": "https://sharedneu.neu.attest.azure.net",
        "host-data": "1" * 64,
        "days": "90",
        "home": "lab",
    }
    for name, value in options.items():
        words += [f"--{name}", value]
    return [*words, "--json"], tmp_path


def offered(name: str, home: Path) -> str:
    """Write an offer of a role and return its file's name."""
    card = own_card(home)
    value = {**dataset_json(name, provider=card.id, units=90), "format": "slices"}
    weights = name == "weights"
    if weights:
        del value["units"], value["format"]
    text = json.dumps(value)
    made = Offer(
        party=card.party,
        dataset=None if weights else Dataset.model_validate_json(text),
        base_model=SealedFile.model_validate_json(text) if weights else None,
    )
    path = Path(f"{name}.offer.json")
    path.write_bytes(made.canonical())
    return str(path)


def said(words: list[str], capsys: Said) -> tuple[int, dict[str, Any]]:
    """Run a command and return its exit code and its object, of either stream."""
    code = main.run(words)
    streams = capsys.readouterr()
    found: dict[str, Any] = json.loads(streams.err if code else streams.out)
    return code, found


def pipeline_import(source: Path) -> list[str]:
    words = ["run", "import", str(source), "--contract", "contract.json", "--home", "lab"]
    return [*words, "--shape", "1x64x64", "--classes", "1", "--json"]


def test_depas_brats_documents_come_over_and_are_allowed(
    command: tuple[list[str], Path], capsys: Said
) -> None:
    words, _ = command
    code, contract = said(words, capsys)
    assert code == 0
    assert {change["kind"] for change in contract["changes"]} == {"given"}
    code, pipeline = said(pipeline_import(VECTORS / "brats" / "pipeline_config.json"), capsys)
    assert code == 0
    assert pipeline["contract"] == contract["digest"]
    check = ["run", "check", "pipeline.json", "--contract", "contract.json", "--offline"]
    code, judged = said([*check, "--home", "lab", "--json"], capsys)
    assert code == 0
    assert judged["pipeline"] == pipeline["digest"]
    assert 0 < judged["epsilon"] <= 1.5


def test_a_command_in_the_loss_is_refused_by_depas_pointer(
    command: tuple[list[str], Path], capsys: Said
) -> None:
    words, folder = command
    assert said(words, capsys)[0] == 0
    bent = document("brats", "pipeline_config")
    bent["pipeline"][1]["config"]["loss_config"] = {
        "class": "torch.os.system",
        "params": {"command": "touch owned"},
    }
    (folder / "bent.json").write_text(json.dumps(bent))
    code, problem = said(pipeline_import(folder / "bent.json"), capsys)
    assert code == 2
    assert [one["pointer"] for one in problem["problems"]] == [
        "/pipeline/1/config/loss_config/class"
    ]
    assert not {"owned", "pipeline.json"} & {path.name for path in folder.iterdir()}


def test_more_epsilon_than_granted_is_denied_after_the_import(
    command: tuple[list[str], Path], capsys: Said
) -> None:
    words, folder = command
    assert said(words, capsys)[0] == 0
    bent = document("brats", "pipeline_config")
    bent["pipeline"][1]["config"]["privacy_params"]["epsilon"] = 2.0
    (folder / "bent.json").write_text(json.dumps(bent))
    assert said(pipeline_import(folder / "bent.json"), capsys)[0] == 0
    check = ["run", "check", "pipeline.json", "--contract", "contract.json", "--offline"]
    code, problem = said([*check, "--home", "lab", "--json"], capsys)
    assert code == 4
    assert "EPSILON_EXCEEDED" in {reason["code"] for reason in problem["reasons"]}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--authority", "http://a.example", "terms of attestation: authorities"),
        ("--host-data", "zz", "terms of attestation: host_data"),
        ("--tdc", "room/party.json", "its card has no key for results"),
        ("--ccrp", "nothing.json", "nothing.json is not there"),
        ("--max-grad-norm", "0", "maxGradNorm"),
        ("--max-grad-norm", "nan", "NaN is not a JSON number"),
        ("--runs", "1000", "/constraints/privacy/0/total/epsilon"),
    ],
)
def test_what_is_given_wrongly_is_named(
    command: tuple[list[str], Path], capsys: Said, option: str, value: str, message: str
) -> None:
    words, folder = command
    if option in ("--authority", "--host-data"):
        # Repeatable, so that the good one has to go.
        place = words.index(option)
        del words[place : place + 2]
    code, problem = said([*words, option, value], capsys)
    assert code in (2, 3)
    assert message in problem["detail"]
    assert not (folder / "contract.json").exists()


def test_tables_come_over_with_what_is_lent_and_what_is_taken(
    command: tuple[list[str], Path], capsys: Said
) -> None:
    words, folder = command
    first = words.index("--offer")
    words[2] = "tables.json"
    words[first : first + 8] = []
    for item in given("tables").datasets:
        card = own_card(Path("hospital"))
        offer = Offer(party=card.party, dataset=item.model_copy(update={"provider": card.id}))
        (folder / f"{item.id}.offer.json").write_bytes(offer.canonical())
        words += ["--offer", f"{item.id}.offer.json"]
    terms = {name: one.to_json() for name, one in TABLE_TERMS.items()}
    for name, value in (
        ("tables", document("tables", "contract")),
        ("source", document("tables", "pipeline_config")),
        ("terms", terms),
        ("takes", TABLE.to_json()),
    ):
        (folder / f"{name}.json").write_text(json.dumps(value))
    assert said(words, capsys)[0] == 2
    words += ["--table-terms", "terms.json", "--model", "onnx"]
    assert said(words, capsys)[0] == 0
    source = ["run", "import", "source.json", "--contract", "contract.json", "--home", "lab"]
    code, problem = said([*source, "--json"], capsys)
    assert (code, problem["hint"]) == (2, "give --table with features and target")
    assert said([*source, "--table", "takes.json", "--json"], capsys)[0] == 0
    check = ["run", "check", "pipeline.json", "--contract", "contract.json", "--offline"]
    assert said([*check, "--home", "lab", "--json"], capsys)[0] == 0


def test_an_import_replaces_no_contract_unasked(
    command: tuple[list[str], Path], capsys: Said
) -> None:
    words, _ = command
    assert said(words, capsys)[0] == 0
    code, problem = said(words, capsys)
    assert code == 2
    assert "exists already" in problem["detail"]
    assert said([*words, "--overwrite"], capsys)[0] == 0
