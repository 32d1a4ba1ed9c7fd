"""`depa serve`: run the contract service in this process."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from clients.cli.command import Session, command, new_app
from clients.cli.errors import UsageError
from contract_service.serve import run_server
from contract_service.settings import Settings

app = new_app("Run the contract service.", alone=True)


@command(app, "serve", examples="DEPA_SERVICE_HOME=service/ depa serve")
def serve(
    session: Session,
    *,
    fd: Annotated[int | None, typer.Option(help="Listening socket to take over.")] = None,
) -> None:
    """Serve contracts, runs and the log over TLS; settings are DEPA_SERVICE_* variables."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise UsageError("\n".join(wrong), hint="set DEPA_SERVICE_HOME and the others") from None
    session.out.note(f"serving {settings.origin}")
    run_server(settings, fd=fd)
