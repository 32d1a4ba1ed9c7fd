"""The contract service as this role reaches it: its address, its root, and who asks."""

from __future__ import annotations

from pathlib import Path

from clients.api.service import ServiceClient
from clients.api.transport import Transport
from clients.cli.command import Session
from clients.cli.identity import Identity, own_card
from clients.cli.settings import Settings


def ca_file(settings: Settings) -> Path | None:
    """Return the file of the services' TLS authority, if one is set."""
    found = settings.get("ca_file")
    return Path(found) if found else None


def open_identity(session: Session) -> Identity:
    """Open this role's identity.

    Raises:
        NotFoundError: when the role has none.
        SignInError: when the keystore stays closed.
    """
    return Identity(own_card(session.home), session.open_keystore())


def connect(session: Session, identity: Identity | None = None) -> ServiceClient:
    """Return a client of the service that asks as this role and believes only the pinned root.

    Raises:
        UsageError: when the service or its root is not set.
    """
    settings = session.settings
    url, root = settings.need("service"), settings.need("root")
    credential = (identity or open_identity(session)).credential
    transport = Transport(url, credential=credential, ca_file=ca_file(settings))
    return ServiceClient(transport, root_fingerprint=root)
