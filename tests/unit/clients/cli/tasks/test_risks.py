import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clients.cli.errors import NotFoundError, UsageError
from clients.cli.tasks import mechanisms, risks
from clients.cli.tasks.mechanisms import Mechanism, Numbers, of_file, of_numbers, of_run
from clients.cli.tasks.risk_page import render_page
from clients.cli.tasks.risk_plot import draw
from clients.cli.tasks.risk_words import percent
from clients.cli.tasks.risks import Files, Limits, weigh
from policies import accounting
from policies.accounting import training_event
from policies.dossier import Dossier
from policies.errors import BudgetError, DocumentError
from policies.population import most_units
from policies.risk import RiskReport, assess
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from tests.record import RUN, Record
from tests.samples import contract_json, pipeline_json

EVENT = training_event(noise_multiplier=1.0, sampling_rate=0.05, steps=10)


@pytest.fixture(scope="module")
def report() -> RiskReport:
    return assess([EVENT], adjacency="add-remove", delta=1e-5, units=400)


@pytest.fixture(scope="module")
def dossier(tmp_path_factory: pytest.TempPathFactory) -> Dossier:
    return Record(tmp_path_factory.mktemp("record")).dossier()


def test_a_run_is_weighed_by_its_signed_report(dossier: Dossier) -> None:
    found = of_run(dossier, RUN)
    spent = dossier.reports[0].document.spent
    assert spent is not None
    assert accounting.event_to_json(found.event) == spent.event
    assert (found.adjacency, found.unit) == (spent.adjacency, spent.unit)
    assert found.delta == spent.delta_trillionths / 1e12
    assert found.units


def test_a_run_without_a_report_is_not_found(dossier: Dossier) -> None:
    with pytest.raises(NotFoundError, match="holds no report"):
        of_run(dossier, "run-" + "z" * 26)


def test_a_pipeline_is_weighed_by_its_plan() -> None:
    contract = Contract.parse(json.dumps(contract_json()).encode())
    pipeline = Pipeline.parse(json.dumps(pipeline_json(contract.digest())).encode())
    found = mechanisms.of_pipeline(pipeline, contract)
    units = most_units(pipeline, contract)
    assert found.event == accounting.plan_training(pipeline.train, units=units).event
    assert (found.units, found.unit) == (units, "patient")


def test_what_was_spent_is_read_from_a_report_and_from_an_answer(
    dossier: Dossier, tmp_path: Path
) -> None:
    value = dossier.reports[0].document.to_json()
    for name, one in (("report", value), ("answer", {"spent": value["spent"], "plot": None})):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(one))
        found = of_file(path)
        assert accounting.event_to_json(found.event) == value["spent"]["event"]
        assert found.title == (RUN if name == "report" else "answer.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"class_name": "os.system"}', "nothing"])
def test_a_file_without_a_mechanism_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match="privacy event"):
        of_file(path)


@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        (Numbers(1.0, 0.1, None), UsageError),
        (Numbers(1.0, 1.5, 10), BudgetError),
        (Numbers(0.0, 0.1, 10), BudgetError),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: Numbers, error: type[Exception]) -> None:
    with pytest.raises(error):
        of_numbers(numbers)


def test_what_the_source_says_is_not_said_otherwise() -> None:
    found = Mechanism("run", EVENT, adjacency="replace-one", units=400)
    with pytest.raises(UsageError, match="--adjacency: expected replace-one, got add-remove"):
        found.told(adjacency="add-remove", delta=None, units=None)
    with pytest.raises(UsageError, match="--units: expected 400, got 4000"):
        found.told(adjacency=None, delta=None, units=4000)


def test_the_noise_that_a_limit_takes_is_told_with_whether_it_is_there() -> None:
    found = of_numbers(Numbers(2.0, 0.1, 3)).told(adjacency=None, delta=1e-5, units=None)
    limits = Limits((0.05,), success_at_most=0.2, advantage_at_most=0.01)
    answer = weigh(found, limits, Files())
    reached, missed = answer.value["needed"]
    assert reached["reached"]
    assert reached["baseline"] == 0.05
    assert not missed["reached"]
    assert missed["noiseMultiplier"] > 2.0 > reached["noiseMultiplier"]
    assert missed["epsilon"] < reached["epsilon"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_page_runs_and_fetches_nothing_and_shows_names_as_text(report: RiskReport) -> None:
    found = Mechanism("<script>alert(1)</script>", EVENT, units=400, unit="patient")
    text = render_page(found, report, picture=draw(report, kind="svg"))
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert all(link.startswith("#") for link in page.links)
    assert text.count("<svg") == 1
    assert percent(report.advantage) in text
    assert not re.search(r"\$\w", text)


@pytest.mark.parametrize(("kind", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_of_the_same_report_has_the_same_bytes(
    report: RiskReport, kind: str, begin: bytes
) -> None:
    picture = draw(report, kind=kind)
    assert picture.startswith(begin)
    assert picture == draw(report, kind=kind)


def test_without_the_drawing_library_it_says_what_to_install(
    report: RiskReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="drawing needs matplotlib") as error:
        draw(report, kind="png")
    assert "depa[demo]" in error.value.hint


def test_a_page_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "risk.html"
    page.write_text("mine")
    monkeypatch.setattr(risks.risk, "assess", lambda *_, **__: pytest.fail("worked for nothing"))
    with pytest.raises(UsageError, match="exists already"):
        weigh(Mechanism("run", EVENT), Limits(), Files(page=page))
    assert page.read_text() == "mine"


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0 %"), (0.12301, "12.4 %"), (1.0, "100 %"), (0.00011, "0.011 %"), (0.01, "1 %")],
)
def test_percentages_are_rounded_up(value: float, said: str) -> None:
    assert percent(value) == said
