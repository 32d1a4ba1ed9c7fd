"""Which changes of allowed facts may be allowed too: everything that is stated here, and no more.

A change is a kind and the pointer of a node, with `*` for an index. The rules of one entrypoint do
not judge what those of another do; and what is changed here stands, in a real contract or pipeline,
under a digest that is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

LARGEST: Final = 2**53 - 1

_LIMIT = "/contract/privacy/*/"
_RUN = {f"{_LIMIT}run/deltaTrillionths", f"{_LIMIT}run/microEpsilon"}
_TOTAL = {f"{_LIMIT}total/deltaTrillionths", f"{_LIMIT}total/microEpsilon"}
_OVERALL = {f"{_LIMIT}overall/deltaTrillionths", f"{_LIMIT}overall/microEpsilon"}
# Limits that the example does not reach.
_SLACK = {
    "/contract/maxParameters",
    *(f"{_LIMIT}max{name}" for name in ("Epochs", "GradNormMicro", "SamplesPerUnit", "Steps")),
    f"{_LIMIT}maxSamplingBillionths",
}
_NOISE = {f"{_LIMIT}minNoiseMicro"}
_UNITS = {"/contract/datasets/*/units"}
# A microsecond more or less, in the middle of all that has a time.
_TIMES = {
    "/now",
    "/contract/startsAt",
    "/contract/expiresAt",
    "/signatures/*/signedAt",
    "/signatures/*/keyValidFrom",
    "/signatures/*/keyValidUntil",
}
# Of the clean room, which the rules about evidence judge.
_ROOM = {"/contract/attestation/maxTokenAge", "/contract/attestation/minimumGuestSvn"}
_PARTS = ("bootloader", "microcode", "snp", "tee")
_FLOORS = {f"/contract/attestation/minimumTcb/{part}" for part in _PARTS}
_FIRMWARE = {f"/claims/tcb/{part}" for part in _PARTS}
# The example asks for no more than the least of these, which is none of them but of `tee`.
_SPARE = _FIRMWARE - {"/claims/tcb/tee"}
_ROOMS = {f"/contract/attestation/{name}" for name in ("authorities", "compliance", "hostData")}
_GRANTS = {f"/contract/{name}" for name in ("losses", "metrics", "models", "outputs")}
_READ = {"/run/reads/baseModels", "/run/reads/datasets"}
_ANY_KEY = {"/contract/baseModels/*/key/name", "/contract/datasets/*/key/name"}
_NAMES = {f"{at}/*" for at in _ROOMS | _GRANTS} | {"/contract/baseModels/*/id"}
# No order is meant by these.
_UNORDERED = {
    "/contract/dataUse",
    "/contract/datasets",
    "/contract/privacy",
    "/contract/tdps",
    "/signatures",
}
# Texts that may be exchanged for another of their kind: digests and places of other files.
_PINNED = {
    "/contract/baseModels/*/digest",
    "/contract/baseModels/*/key/vault",
    "/contract/datasets/*/digest",
    "/contract/datasets/*/key/vault",
}
_TRAIN = "/pipeline/stages/*/"
_BUDGETS = {"/budgets/*/overallAfter", "/budgets/*/tdcAfter"}
# Charged is less than asked, and the rate is that of a division in binary.
_CHARGED = {"/charges/*/microEpsilon", "/charges/*/noiseMicro", "/charges/*/samplingBillionths"}
_ASKED = {f"{_TRAIN}parameters", f"{_TRAIN}samplesPerUnit"}
_CLIP = {f"{_TRAIN}privacy/maxGradNormMicro"}
_OPTIONAL = {f"{_TRAIN}baseWeights", f"{_TRAIN}metrics"}

SAFE: Final[dict[str, dict[str, set[str]]]] = {
    "contract": {
        "gone": {"/contract/baseModels/*"},
        "empty": {"/contract/baseModels"},
        "twice": _ROOMS | _GRANTS | {"/signatures"},
        "reversed": _UNORDERED,
        "flipped": {"/executed", "/contract/dataUse/*/join", "/contract/dataUse/*/privateOnly"},
        "other": _NAMES | _ANY_KEY,
        "zero": _ROOM
        | {"/contract/maxParameters", "/contract/startsAt", "/signatures/*/keyValidFrom"},
        "less": _TIMES | _ROOM | _SLACK | _UNITS | _RUN | _TOTAL | _OVERALL,
        "more": _FLOORS | _TIMES | _ROOM | _SLACK | _UNITS | _RUN | _TOTAL | _OVERALL | _NOISE,
        "most": _FLOORS
        | _ROOM
        | _SLACK
        | _OVERALL
        | _NOISE
        | {"/contract/expiresAt", "/signatures/*/keyValidUntil"},
    },
    "training": {
        # Less is asked for.
        "gone": {f"{at}/*" for at in _OPTIONAL},
        "empty": _OPTIONAL,
        "twice": _ROOMS | _GRANTS | _OPTIONAL | {"/signatures", "/budgets", f"{_TRAIN}losses"},
        "reversed": _UNORDERED | {"/budgets", "/charges"},
        "flipped": {"/contract/dataUse/*/privateOnly"},
        "other": {f"{at}/*" for at in _ROOMS} | _ANY_KEY | {f"{_TRAIN}path"},
        "zero": _ROOM
        | _BUDGETS
        | _ASKED
        | {"/charges/*/microEpsilon", "/contract/startsAt", "/signatures/*/keyValidFrom"},
        "less": _TIMES | _ROOM | _SLACK | _TOTAL | _OVERALL | _BUDGETS | _CHARGED | _ASKED | _CLIP,
        "more": _FLOORS
        | _TIMES
        | _ROOM
        | _SLACK
        | _RUN
        | _TOTAL
        | _OVERALL
        | _NOISE
        | _BUDGETS
        | _ASKED
        | _CLIP
        | (_CHARGED - {"/charges/*/microEpsilon"}),
        "most": _FLOORS
        | _ROOM
        | _SLACK
        | _OVERALL
        | {"/charges/*/noiseMicro", "/contract/expiresAt", "/signatures/*/keyValidUntil"},
    },
    "attestation": {
        "gone": set(),
        "empty": set(),
        "twice": _ROOMS | {"/claims/keys"},
        "reversed": {"/claims/keys"},
        "flipped": set(),
        "other": {"/claims/measurement"},
        "zero": _SPARE | {"/contract/attestation/minimumGuestSvn"},
        "less": _SPARE | _ROOM | {"/now", "/claims/expiresAt", "/claims/issuedAt"},
        "more": _FIRMWARE
        | (_FLOORS - {"/contract/attestation/minimumTcb/tee"})
        | {
            "/now",
            "/claims/expiresAt",
            "/claims/issuedAt",
            "/claims/guestSvn",
            "/contract/attestation/maxTokenAge",
        },
        "most": _FIRMWARE
        | {
            "/claims/expiresAt",
            "/claims/guestSvn",
            "/contract/attestation/maxTokenAge",
        },
    },
    "release": {
        "gone": set(),
        "empty": set(),
        "twice": _ROOMS
        | _GRANTS
        | {"/signatures", "/approvals/*/charged", "/run/reserved"}
        | _READ,
        "reversed": _UNORDERED
        | {
            "/approvals/*/charged",
            "/request/keys",
            "/run/reads/datasets",
            "/run/reserved",
        },
        "flipped": {"/contract/dataUse/*/join", "/contract/dataUse/*/privateOnly"},
        "other": _NAMES - {"/contract/baseModels/*/id"},
        "zero": _ROOM
        | {
            "/approvals/*/approvedAt",
            "/contract/maxParameters",
            "/contract/startsAt",
            "/signatures/*/keyValidFrom",
        },
        "less": _TIMES
        | _ROOM
        | _SLACK
        | _UNITS
        | _RUN
        | _TOTAL
        | _OVERALL
        | {"/approvals/*/approvedAt", "/approvals/*/expiresAt"},
        "more": _FLOORS
        | _TIMES
        | _ROOM
        | _SLACK
        | _UNITS
        | _RUN
        | _TOTAL
        | _OVERALL
        | _NOISE
        | {"/approvals/*/approvedAt", "/approvals/*/expiresAt"},
        "most": _FLOORS
        | _ROOM
        | _SLACK
        | _OVERALL
        | _NOISE
        | {"/approvals/*/expiresAt", "/contract/expiresAt", "/signatures/*/keyValidUntil"},
    },
}

EXCHANGEABLE: Final[dict[str, set[str]]] = {
    "contract": SAFE["contract"]["other"] | _PINNED | {"/contract/digest"},
    "training": SAFE["training"]["other"]
    | (_PINNED - {"/contract/datasets/*/digest"})
    | {"/pipeline/digest"},
    "attestation": SAFE["attestation"]["other"],
    "release": SAFE["release"]["other"] | {"/request/nonce", "/request/token"},
}
"""Texts that may be exchanged for one that stands elsewhere in the same facts."""


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values of the same type, each with the kind of change that it is."""
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int):
        others = {"zero": 0, "less": max(0, value - 1), "more": value + 1, "most": LARGEST}
        yield from ((kind, other) for kind, other in others.items() if other != value)
    elif isinstance(value, str):
        yield from (("other", text) for text in ("other", "sha256:latest", "True", ""))
    elif isinstance(value, list) and value:
        yield "empty", []
        yield "twice", [*value, value[-1]]
        if len(value) > 1:
            yield "reversed", value[::-1]


def place(pointer: str) -> str:
    """Return a pointer with its indices left open."""
    return re.sub(r"/\d+(?=/|$)", "/*", pointer)
