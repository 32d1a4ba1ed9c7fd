"""Rules that a provider could write, good and hostile."""

from __future__ import annotations

import json

GOOD = """\
# METADATA
# title: Rules of Hospital A
package depa.party.hospital_a

# METADATA
# title: Too few patients take part
# custom:
#   code: PARTY_TOO_FEW_PATIENTS
#   remedy: Add data sets until at least 400 patients take part.
deny contains {"code": "PARTY_TOO_FEW_PATIENTS", "path": "/contract/datasets", "msg": msg} if {
	datasets := input.contract.datasets
	patients := sum([dataset.units | some dataset in datasets])
	patients < 400
	msg := sprintf("expected at least 400 patients, got %v", [patients])
}

# METADATA
# title: The run trains long
# custom:
#   code: PARTY_LONG_RUN
#   remedy: Expect the hospital to ask why.
warn contains {"code": "PARTY_LONG_RUN", "path": stage.path, "msg": msg} if {
	input.question == "training"
	some stage in input.pipeline.stages
	stage.steps > 5
	msg := sprintf("%v steps", [stage.steps])
}
"""
"""Denies a contract of fewer than 400 patients, and warns of a run of more than 5 steps."""

_CODE = "PARTY_ANYTHING"


def module(
    body: str = "", *, name: str = "hospital_a", msg: str = '"no"', path: str = '""'
) -> bytes:
    """Return a module with one denial of this body, which is always there if it is empty."""
    return (
        "# METADATA\n# title: Rules\n"
        f"package depa.party.{name}\n\n"
        "# METADATA\n# title: Something is not as it should be\n"
        f"# custom:\n#   code: {_CODE}\n#   remedy: Ask the hospital.\n"
        f'deny contains {{"code": "{_CODE}", "path": {path}, "msg": {msg}}}'
        + (f" if {{\n\t{body}\n}}\n" if body else "\n")
    ).encode()


def text(value: object) -> str:
    """Return a value as Rego writes it."""
    return json.dumps(value)
