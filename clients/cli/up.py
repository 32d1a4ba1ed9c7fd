"""`depa up`: start the local stack."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.identity import read_card
from clients.cli.keystore import ask_passphrase
from clients.cli.output import Answer
from clients.cli.tasks.stack import stack_folder
from deploy.local.stack import start_stack
from deploy.local.stackfile import Stack

app = new_app("Start the local stack.", alone=True)


@command(app, "up", examples="depa up stack/ --vault hospital-a.json --vault lab.json")
def up(
    session: Session,
    folder: Annotated[Path | None, typer.Argument(help="The stack's folder.")] = None,
    *,
    vault: Annotated[list[Path] | None, typer.Option(help="Card of a vault's owner.")] = None,
) -> Answer:
    """Start contract service, attestation, a vault for each card, and the blob folder."""
    where = stack_folder(session, folder)
    owners = {path.stem: read_card(path).id for path in vault or ()}
    passphrase = ask_passphrase(environment=os.environ)
    stack = start_stack(where, passphrase=passphrase, owners=owners, now=datetime.now(UTC))
    return _answer(stack)


def _answer(stack: Stack) -> Answer:
    return Answer(
        {
            "folder": str(stack.folder),
            "root": stack.root,
            "service": stack.service,
            "attestation": stack.attestation,
            "blobs": stack.blobs,
            "ca_file": str(stack.ca_file),
            "launch_policy": str(stack.launch_policy),
            "vaults": dict(stack.vaults),
        },
        f"stack in {stack.folder}, root {stack.root}\n"
        f"each role joins it with: depa config join {stack.folder}",
        columns=("part", "url", "pid"),
        rows=[(name, m.url, str(m.process.pid)) for name, m in stack.members.items()],
    )
