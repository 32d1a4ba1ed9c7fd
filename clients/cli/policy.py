"""`depa policy`: ask the policy that all parties are judged by, look into it, build and test it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused, UsageError
from clients.cli.files import read_bytes
from clients.cli.output import Answer
from clients.cli.tasks.asking import ask_service
from clients.cli.tasks.building import Signing, build_archive
from clients.cli.tasks.bundles import find_bundle, known_bundles, rules_of
from clients.cli.tasks.comparing import show_difference
from clients.cli.tasks.engines import EngineName
from clients.cli.tasks.explaining import (
    explain_code,
    explain_own,
    show_bundle,
    show_code,
    show_file,
)
from clients.cli.tasks.verifying import Expected, verify_file
from policies.bundle import load_bundle
from policies.lint import lint as find
from policies.lint import run_tests
from policies.lint.__main__ import MIN_COVERAGE
from policies.lint.party import lint_module

app = new_app("Ask the policy, look into it, build and test it.")


def _codes(incomplete: str) -> list[tuple[str, str]]:
    codes = load_bundle().codes
    return [(code, found.title) for code, found in codes.items() if code.startswith(incomplete)]


def _versions(incomplete: str) -> list[tuple[str, str]]:
    found = [(bundle.version, bundle.digest) for bundle in known_bundles()]
    return [(version, digest) for version, digest in found if version.startswith(incomplete)]


def _shown(incomplete: str) -> list[tuple[str, str]]:
    files = [(path, "") for path in load_bundle().files if path.startswith(incomplete)]
    return [*_versions(incomplete), *_codes(incomplete), *files]


_Folder = Annotated[
    Path | None, typer.Argument(help="Folder of rules; without it, those of this release.")
]
_WHICH = "Version, digest, archive or folder of a bundle."
_ROOT = "Root fingerprint, if not set."


@command(
    app,
    "check",
    examples="depa policy check --contract contract.json --pipeline config/; "
    "depa policy check --contract sha256:... --pipeline config/ --remote; "
    "DEPA_OPA_URL=https://opa.example depa policy check --contract contract.json --engine server",
)
def check(
    session: Session,
    *,
    contract: Annotated[str, typer.Option(help="File or digest.")],
    pipeline: Annotated[Path | None, typer.Option(help="Pipeline, or folder of parts.")] = None,
    remote: Annotated[
        bool, typer.Option("--remote", help="Ask the service, which knows what is spent.")
    ] = False,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            help="What evaluates the policy; opa_url names the server.", show_default="embedded"
        ),
    ] = None,
) -> Answer:
    """Judge a contract, or a pipeline under it, as if nothing were spent; writes nothing."""
    if remote and engine is not None:
        raise UsageError(
            "--engine: the service has its own", hint="leave out one of --engine and --remote"
        )
    if remote:
        return ask_service(session, contract, pipeline)
    # The accountant takes seconds to load; no other command of this noun needs it.
    from clients.cli.tasks.judging import dry_run  # noqa: PLC0415

    return dry_run(session, contract, pipeline, engine=engine or EngineName.EMBEDDED)


@command(
    app,
    "explain",
    examples="depa policy explain EPSILON_EXCEEDED; "
    "depa policy explain PARTY_TOO_FEW_PATIENTS --rules own.rego",
)
def explain(
    session: Session,
    code: Annotated[str, typer.Argument(help="Reason code.", autocompletion=_codes)],
    *,
    bundle: Annotated[str | None, typer.Option(help=_WHICH, autocompletion=_versions)] = None,
    rules: Annotated[Path | None, typer.Option(help="File with a provider's own rules.")] = None,
) -> Answer:
    """Say what a reason code means, who can fix it and how, and which rule gives it."""
    del session
    if rules is not None:
        return explain_own(rules, code)
    return explain_code(find_bundle(bundle), code)


@command(
    app,
    "show",
    examples="depa policy show; depa policy show EPSILON_EXCEEDED; "
    "depa policy show depa/pipeline/privacy.rego",
)
def show(
    session: Session,
    what: Annotated[
        str | None,
        typer.Argument(
            help="Reason code, file of the bundle, version, digest, archive or folder.",
            autocompletion=_shown,
        ),
    ] = None,
    *,
    bundle: Annotated[
        str | None,
        typer.Option(help="Where to look for a code or file: " + _WHICH, autocompletion=_versions),
    ] = None,
) -> Answer:
    """Print a rule, the rules behind a reason code, or what a bundle holds."""
    del session
    chosen = find_bundle(bundle)
    if what is None:
        return show_bundle(chosen, known_bundles())
    if what in chosen.files:
        return show_file(chosen, what)
    if what in chosen.codes or what.replace("_", "").isupper():
        return show_code(chosen, what)
    return show_bundle(find_bundle(what), known_bundles())


@command(
    app,
    "diff",
    examples="depa policy diff 1.0.0 rules/; depa policy diff 1.0.0 new.tar.gz --replay case.json",
)
def diff(
    session: Session,
    old: Annotated[str, typer.Argument(help=_WHICH, autocompletion=_versions)],
    new: Annotated[str, typer.Argument(help=_WHICH, autocompletion=_versions)],
    *,
    replay: Annotated[
        str | None,
        typer.Option(help="Make the decisions of this exported file, or contract's digest, again."),
    ] = None,
    root: Annotated[str | None, typer.Option(help=_ROOT)] = None,
) -> Answer | None:
    """Print what two bundles differ in; with --replay, what that would have changed.

    Ends with 4 if the new bundle allows what the old one denied.
    """
    before, after = find_bundle(old), find_bundle(new)
    if replay is None:
        return show_difference(before, after)
    # The ledger's readers take long to load; no other command of this noun needs them.
    from clients.cli.tasks.replaying import show_impact  # noqa: PLC0415

    show_impact(session, replay, old=before, new=after, root=root)
    return None


@command(
    app,
    "replay",
    examples="depa policy replay 0b1f... --bundle case.json; depa policy replay 0b1f...",
)
def replay(
    session: Session,
    decision: Annotated[str, typer.Argument(help="Id of the decision.")],
    *,
    bundle: Annotated[
        Path | None, typer.Option(help="Exported file; without it, the service is asked.")
    ] = None,
    root: Annotated[str | None, typer.Option(help=_ROOT)] = None,
) -> Answer:
    """Make a decision again from what it was made from; end with 4 if it comes out otherwise."""
    from clients.cli.tasks.replaying import replay_decision  # noqa: PLC0415

    return replay_decision(session, decision, bundle=bundle, root=root)


@command(
    app,
    "build",
    examples="depa policy build rules/ --out policy.tar.gz; "
    "depa policy build rules/ --out policy.tar.gz --sign",
)
def build(
    session: Session,
    folder: _Folder = None,
    *,
    out: Annotated[Path, typer.Option(help="Archive to write.")],
    sign: Annotated[bool, typer.Option("--sign", help="With this party's own key.")] = False,
    key: Annotated[Path | None, typer.Option(help="Sign with this PEM file.")] = None,
    key_id: Annotated[str, typer.Option(help="Name of the key in the PEM file.")] = "",
    scope: Annotated[str, typer.Option(help="Scope that an OPA server asks for.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> Answer:
    """Build the archive of a folder: the same bytes for the same rules, as OPA loads it."""
    signing = Signing(own=sign, pem=key, key_id=key_id, scope=scope)
    return build_archive(session, folder, signing, out=out, overwrite=overwrite)


@command(
    app,
    "verify",
    examples="depa policy verify policy.tar.gz --digest sha256:...; "
    "depa policy verify policy.tar.gz --key party.json",
)
def verify(
    session: Session,
    file: Annotated[Path, typer.Argument(help="Archive.")],
    *,
    digest: Annotated[str | None, typer.Option(help="Digest that a contract names.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="Signer: PEM key, certificate, or a party's card.")
    ] = None,
    key_id: Annotated[str, typer.Option(help="Name that the signature gives the key.")] = "",
    root: Annotated[
        str | None, typer.Option(help="SHA-256 of the root that certifies the signer.")
    ] = None,
    scope: Annotated[str, typer.Option(help="Scope of the signature.")] = "",
) -> Answer:
    """Check an archive: its form, its digest, its version, and who has signed it."""
    del session
    return verify_file(file, Expected(digest, key, key_id, root, scope))


@command(app, "lint", examples="depa policy lint rules/; depa policy lint own.rego")
def lint(
    session: Session,
    rules: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of rules, or the file with a provider's own; without it, those of this "
            "release."
        ),
    ] = None,
) -> Answer:
    """Look for rules that could fail open, differ between engines, or lack a code or a test."""
    del session
    if rules is not None and rules.suffix == ".rego":
        findings = lint_module(read_bytes(rules, what="rules"))
    else:
        findings = find(rules_of(rules))
    if findings:
        raise Refused(
            "\n".join(map(str, findings)),
            hint="each kind of finding is described in docs/reference/policy.md",
            found=[
                {"file": one.path, "line": one.line, "check": one.check, "message": one.message}
                for one in findings
            ],
        )
    return Answer({"findings": []}, "nothing found")


@command(app, "test", examples="depa policy test rules/ -v; depa policy test --coverage")
def run_own_tests(
    session: Session,
    folder: _Folder = None,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name each test.")] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Name the lines that no test reaches.")
    ] = False,
) -> Answer:
    """Run the tests that are written in Rego; end with 0 only if all hold."""
    del session
    report = run_tests(rules_of(folder))
    missed = [f"{path}: no test reaches line {n}" for path, ls in report.missed.items() for n in ls]
    failed = [str(finding) for finding in report.failed]
    if coverage and report.coverage < MIN_COVERAGE:
        failed += [
            *missed,
            f"{report.coverage:.1%} of lines are covered, {MIN_COVERAGE:.0%} wanted",
        ]
    if failed or not report.passed:
        raise Refused(
            "\n".join(failed) or "there are no tests",
            found=[{"file": f.path, "line": f.line, "message": f.message} for f in report.failed],
        )
    said = f"{len(report.passed)} tests passed, {report.coverage:.1%} of lines covered"
    lines = [*(f"passed: {name}" for name in report.passed if verbose), said]
    return Answer(
        {
            "passed": list(report.passed),
            "failed": [],
            "coverage": report.coverage,
            "missed": {path: list(numbers) for path, numbers in report.missed.items()},
        },
        "\n".join([*lines, *(missed if coverage else [])]),
    )
