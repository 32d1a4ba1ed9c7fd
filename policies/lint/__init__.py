"""Check the policies: dangerous Rego, reason codes, Rego tests and their coverage."""

from policies.lint.checks import lint
from policies.lint.source import Finding, read_folder
from policies.lint.suite import Report, run_tests

__all__ = ["Finding", "Report", "lint", "read_folder", "run_tests"]
