"""Check the policies: dangerous Rego, reason codes, Rego tests and their coverage."""

from policies.lint.checks import lint, parse_modules
from policies.lint.codes import places
from policies.lint.source import Finding, read_folder
from policies.lint.suite import Report, run_tests

__all__ = ["Finding", "Report", "lint", "parse_modules", "places", "read_folder", "run_tests"]
