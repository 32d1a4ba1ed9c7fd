"""How a function becomes a command: shared options, its session, its answer."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.cli.keystore import Keystore, ask_passphrase, open_keystore
from clients.cli.output import Answer, Output
from clients.cli.settings import Settings, default_home, read_settings

_HOME = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the role (DEPA_HOME).", show_default="~/.depa"),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_SHARED = (
    inspect.Parameter("home", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_HOME),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_JSON),
)

Function = Callable[..., Answer | None]


@dataclass(frozen=True)
class Session:
    """What a command works with: its role's home and settings, and the two output streams."""

    home: Path
    settings: Settings
    out: Output

    @property
    def keys(self) -> Path:
        """Folder of the role's secrets."""
        return self.home / "keys"

    def open_keystore(self) -> Keystore:
        """Open the role's keystore, asking for the passphrase if the environment has none.

        Raises:
            NotFoundError: when the role has no home yet.
            SignInError: when the passphrase is missing or wrong.
        """
        return open_keystore(self.keys, passphrase=ask_passphrase(environment=os.environ))


def new_app(summary: str, *, alone: bool = False) -> typer.Typer:
    """Return an empty noun; one that is `alone` is a command itself and has no verbs."""
    app = typer.Typer(
        help=summary,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    if not alone:
        # With a callback, a noun with a single verb keeps it.
        app.callback()(_nothing)
    return app


def _nothing() -> None:
    """Do nothing: verbs do."""


def command(app: typer.Typer, name: str, *, examples: str = "") -> Callable[[Function], Function]:
    """Register a function as a command of `app`.

    The function gets a `Session` first, then its own parameters, and returns what it found.
    """

    def register(function: Function) -> Function:
        @functools.wraps(function)
        def run(*, home: Path | None, as_json: bool, **arguments: Any) -> None:
            out = set_output(Output(as_json=as_json))
            folder = (home or default_home()).absolute()
            settings = read_settings(folder, environment=os.environ)
            answer = function(Session(folder, settings, out), **arguments)
            if answer is not None:
                out.answer(answer)

        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        keyword = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by Typer
            parameters=[*keyword, *_SHARED], return_annotation=None
        )
        epilog = f"Examples: {examples}" if examples else None
        app.command(name, epilog=epilog)(run)
        return function

    return register


_current = Output()


def set_output(output: Output) -> Output:
    """Make `output` the one that errors outside of commands are printed with."""
    global _current  # noqa: PLW0603  # the process has one pair of streams
    _current = output
    return output


def current_output() -> Output:
    """Return the output of the command that runs."""
    return _current
