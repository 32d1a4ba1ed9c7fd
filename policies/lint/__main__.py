"""`python -m policies.lint [FOLDER]`: exit 0 if the policies are sound and tested."""

from __future__ import annotations

import sys
from pathlib import Path

from policies.lint import lint, read_folder, run_tests

MIN_COVERAGE = 0.95


def main(arguments: list[str]) -> int:
    """Print what is wrong with a policy folder; return 1 if anything is."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parents[1] / "rego"
    files = read_folder(folder)
    findings = lint(files)
    report = run_tests(files)
    for finding in (*findings, *report.failed):
        sys.stdout.write(f"{finding}\n")
    for path, lines in report.missed.items():
        sys.stdout.write(f"{path}: no test reaches lines {', '.join(map(str, lines))}\n")
    sys.stdout.write(
        f"{len(findings)} findings, {len(report.passed)} tests passed, "
        f"{len(report.failed)} failed, {report.coverage:.1%} of lines covered\n"
    )
    sound = not findings and not report.failed and report.passed
    return 0 if sound and report.coverage >= MIN_COVERAGE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
