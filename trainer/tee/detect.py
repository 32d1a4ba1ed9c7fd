"""Which hardware this process runs on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trainer.tee.aci import CONTEXT_VARIABLE, AciTee
from trainer.tee.protocol import Tee, TeeError
from trainer.tee.simulated import VARIABLE, UnsafeSimulatedTee


def open_tee(environ: Mapping[str, str]) -> Tee:
    """Return the hardware that the environment names.

    Choosing the simulated one gains nothing: its reports end in a root that no real attestation
    service believes.

    Raises:
        TeeError: if there is none.
    """
    if VARIABLE in environ:
        return UnsafeSimulatedTee(environ[VARIABLE])
    if CONTEXT_VARIABLE in environ:
        return AciTee(Path(environ[CONTEXT_VARIABLE]))
    raise TeeError(
        "this process runs on no confidential hardware",
        hint=f"{CONTEXT_VARIABLE} is set in confidential container groups",
    )
