"""`depa log`: begin a transparency log with its service's keys."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.keystore import ask_passphrase
from clients.cli.output import Answer
from contract_service.init import init_home

app = new_app("The transparency log.")


@command(app, "init", examples="depa log init service/ --origin contracts.example/log")
def init(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to create; the home if none.")
    ] = None,
    *,
    origin: Annotated[str, typer.Option(help="Name of the log, without spaces.")],
    organization: Annotated[str, typer.Option(help="Its operator.")],
) -> Answer:
    """Make the root, the service's keys and the trust document; print the root's fingerprint."""
    home = folder or session.home
    passphrase = ask_passphrase(environment=os.environ, confirm=True)
    fingerprint = init_home(
        home,
        passphrase=passphrase,
        origin=origin,
        organization=organization,
        now=int(time.time()),
    )
    return Answer(
        {"home": str(home), "origin": origin, "root": fingerprint},
        f"log {origin} in {home}\nroot fingerprint: {fingerprint}\n"
        "take root.key.pem off this machine, and tell the fingerprint to everybody",
    )
