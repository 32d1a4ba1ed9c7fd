"""`depa policy`: ask the policy that all parties are judged by, and see what is in it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

import policies
from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused
from clients.cli.output import Answer
from clients.cli.tasks.agreement import agreement_facts, load_contract
from clients.cli.tasks.pipelines import read_pipeline
from policies.bundle import load_bundle
from policies.decide import Policy
from policies.lint import lint as find
from policies.lint import read_folder, run_tests
from policies.wire.decision import Denied

app = new_app("Ask the policy, and test it.")
_SHIPPED = Path(policies.__file__).parent / "rego"


@command(app, "check", examples="depa policy check --contract contract.json --pipeline p.json")
def check(
    session: Session,
    *,
    contract: Annotated[str, typer.Option(help="File or digest.")],
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline, or folder of parts.")] = None,
) -> Answer:
    """Judge a contract, or a pipeline under it, with no budget spent so far."""
    # The accountant takes seconds to load; no other command of this noun needs it.
    from clients.cli.tasks.judging import judge  # noqa: PLC0415

    found, now = load_contract(session, contract), int(time.time())
    if pipeline is None:
        decision = Policy.embedded().contract(agreement_facts(found, now=now))
    else:
        read = read_pipeline(pipeline, contract=found.digest(), name=pipeline.stem)
        decision = judge(read, found, budgets=(), now=now).decision
    if not decision.allow:
        raise Denied(decision)
    return Answer(decision.to_json(), f"{decision.entrypoint} allows it, policy {decision.policy}")


@command(app, "explain", examples="depa policy explain EPSILON_EXCEEDED")
def explain(session: Session, code: Annotated[str, typer.Argument(help="Reason code.")]) -> Answer:
    """Say what a reason code means, who can fix it, and how."""
    del session
    found = Policy.embedded().explain(code)
    return Answer(
        {
            "code": found.code,
            "title": found.title,
            "severity": found.severity,
            "fixedBy": list(found.fixed_by),
            "remedy": found.remedy,
        },
        f"{found.code} ({found.severity}): {found.title}\n{', '.join(found.fixed_by)}: "
        f"{found.remedy}",
    )


@command(app, "show", examples="depa policy show")
def show(session: Session) -> Answer:
    """Print version, digest and files of the policy bundle that this release carries."""
    del session
    bundle = load_bundle()
    return Answer(
        {
            "version": bundle.version,
            "digest": bundle.digest,
            "files": sorted(bundle.files),
            "codes": sorted(bundle.codes),
        },
        f"depa {bundle.version}\n{bundle.digest}\n{len(bundle.codes)} reason codes",
        columns=("file", "bytes"),
        rows=[(path, str(len(data))) for path, data in bundle.files.items()],
    )


@command(app, "lint", examples="depa policy lint")
def lint(
    session: Session, folder: Annotated[Path | None, typer.Argument(help="Policy folder.")] = None
) -> Answer:
    """Look for rules that could fail open, or lack a code or a test."""
    findings = [str(finding) for finding in find(read_folder(folder or _SHIPPED))]
    if findings:
        raise Refused("\n".join(findings))
    del session
    return Answer({"findings": []}, "nothing found")


@command(app, "test", examples="depa policy test")
def run_own_tests(
    session: Session, folder: Annotated[Path | None, typer.Argument(help="Policy folder.")] = None
) -> Answer:
    """Run the policies' own tests."""
    report = run_tests(read_folder(folder or _SHIPPED))
    if report.failed or not report.passed:
        raise Refused("\n".join(map(str, report.failed)) or "there are no tests")
    del session
    return Answer(
        {"passed": len(report.passed), "coverage": report.coverage},
        f"{len(report.passed)} tests passed, {report.coverage:.1%} of lines covered",
    )
