"""`depa party`: make and show who this role is."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.errors import UsageError
from clients.cli.files import write_new
from clients.cli.identity import CARD, Card, create_identity, own_card, read_card
from clients.cli.keystore import ask_passphrase, create_keystore
from clients.cli.output import Answer

app = new_app("This party's identity and keys.")


class RoleName(StrEnum):
    """The three roles of a contract."""

    TDP = "tdp"
    TDC = "tdc"
    CCRP = "ccrp"


@command(app, "init", examples='depa party init --name "Hospital A" --role tdp')
def init(
    session: Session,
    *,
    name: Annotated[str, typer.Option("--name", help="The organisation's name.")],
    role: Annotated[RoleName, typer.Option("--role", help="Its part in contracts.")],
    card: Annotated[Path | None, typer.Option(help="Also write the public card here.")] = None,
) -> Answer:
    """Make this role's keys, encrypted under a passphrase, and its public card."""
    if (session.home / CARD).exists():
        raise UsageError(f"{session.home} holds a party already", hint="depa party show")
    session.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    session.home.chmod(0o700)
    passphrase = ask_passphrase(environment=os.environ, confirm=True)
    keystore = create_keystore(session.keys, passphrase=passphrase)
    identity = create_identity(
        session.home, keystore, name=name, role=role.value, now=datetime.now(UTC)
    )
    if card is not None:
        write_new(card, identity.card.canonical())
    return _answer(identity.card, session.home / CARD)


@command(app, "show", examples="depa party show --out card.json")
def show(
    session: Session,
    card: Annotated[Path | None, typer.Argument(help="Another party's card.")] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the card here.")] = None,
) -> Answer:
    """Print a party's card, after checking that its certificates belong to its DID."""
    found = own_card(session.home) if card is None else read_card(card)
    if out is not None:
        write_new(out, found.canonical())
    return _answer(found, card or session.home / CARD)


def _answer(card: Card, path: Path) -> Answer:
    return Answer(
        card.to_json(),
        f"{card.name} ({card.role})\n{card.id}\ncard: {path}\nvalid until "
        f"{card.chain[0].not_valid_after_utc:%Y-%m-%d}",
    )
