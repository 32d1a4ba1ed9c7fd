"""`depa down`: stop the local stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.output import Answer
from clients.cli.tasks.stack import stack_folder
from deploy.local.stack import stop_stack

app = new_app("Stop the local stack.", alone=True)


@command(app, "down", examples="depa down stack/")
def down(
    session: Session,
    folder: Annotated[Path | None, typer.Argument(help="The stack's folder.")] = None,
) -> Answer:
    """End the processes that `depa up` started, and no other."""
    ended = stop_stack(stack_folder(session, folder))
    return Answer({"ended": ended}, f"ended {', '.join(ended) or 'nothing: it was not running'}")
