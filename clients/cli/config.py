"""`depa config`: the settings of a role, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.identity import CARD, own_card
from clients.cli.output import Answer
from clients.cli.settings import KNOWN, write_settings
from clients.cli.tasks.stack import role_settings
from deploy.local.stackfile import read_stack

app = new_app("Settings and where they come from.")


@command(app, "show", examples="depa config show --origin")
def show(
    session: Session,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each comes from.")] = False,
) -> Answer:
    """Print all settings."""
    values = session.settings.values
    return Answer(
        {
            "home": str(session.home),
            "settings": {
                name: {"value": item.value, "origin": item.origin} for name, item in values.items()
            },
        },
        columns=("setting", "value", "origin") if origin else ("setting", "value"),
        rows=[
            (name, item.value or "-", item.origin)[: 3 if origin else 2]
            for name, item in values.items()
        ],
    )


@command(app, "set", examples="depa config set service https://contracts.example:8443")
def set_(
    session: Session,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(KNOWN)}.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
) -> Answer:
    """Write one setting to the role's depa.toml."""
    path = write_settings(session.home, {name: value})
    return Answer({"file": str(path), name: value}, f"{name} is set in {path}")


@command(app, "join", examples="depa config join stack/")
def join(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="Folder of a local stack.")],
) -> Answer:
    """Set everything that this role needs to use a local stack."""
    did = own_card(session.home).id if (session.home / CARD).exists() else None
    values = role_settings(read_stack(folder.absolute()), did)
    path = write_settings(session.home, values)
    return Answer({"file": str(path), **values}, f"{path} names the stack in {folder}")
