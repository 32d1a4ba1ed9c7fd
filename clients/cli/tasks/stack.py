"""Where the local stack is, and what a role takes from it."""

from __future__ import annotations

from pathlib import Path

from clients.cli.command import Session
from deploy.local.stackfile import Stack

DEFAULT_FOLDER = "stack"


def stack_folder(session: Session, given: Path | None = None) -> Path:
    """Return the stack's folder: as given, as set, or the one in the role's home."""
    named = session.settings.get("stack")
    return (given or (Path(named) if named else session.home / DEFAULT_FOLDER)).absolute()


def role_settings(stack: Stack, did: str | None) -> dict[str, str]:
    """Return the settings with which a role uses the stack."""
    shared = {
        "service": stack.service,
        "attestation": stack.attestation,
        "blobs": stack.blobs,
        "ca_file": str(stack.ca_file),
        "root": stack.root,
        "launch_policy": str(stack.launch_policy),
        "stack": str(stack.folder),
    }
    vault = stack.vaults.get(did or "")
    return shared if vault is None else {**shared, "vault": vault}
