"""`depa`: one noun a module, loaded when it is used; the exit codes; and how errors look."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from clients.cli.command import current_output, set_output
from clients.cli.errors import UsageError
from clients.cli.output import Output
from ledger.errors import LedgerError
from policies.errors import DepaError

NOUNS: Final[dict[str, str]] = {
    "party": "This party's identity and keys",
    "data": "Preprocess, seal and upload a data set",
    "contract": "Draft, check, sign and follow a contract",
    "key": "Put keys into the party's own vault, bound to a contract",
    "run": "Check, submit, deploy and fetch a training run",
    "model": "Use a fetched model on own scans",
    "risk": "What an attacker could do to one person, in probabilities",
    "policy": "Ask the policy, look into it, build and test it",
    "attest": "Verify evidence of a clean room",
    "audit": "Verify offline what happened",
    "log": "The transparency log",
    "config": "Settings and where they come from",
    "serve": "Run the contract service",
    "up": "Start the local stack",
    "down": "Stop the local stack",
    "demo": "Play a whole scenario on this machine",
}
ALONE: Final = frozenset({"risk", "serve", "up", "down", "demo"})
"""Nouns without verbs."""
_EPILOG = (
    "Exit codes: 0 ok, 1 bug, 2 usage, 3 not found, 4 refused, 5 network, 6 sign-in, 130 Ctrl-C."
)


class LazyGroup(TyperGroup):
    """Lists all nouns, but imports a noun's module only when one of its commands is meant."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, summary in NOUNS.items():
            self.add_command(TyperCommand(name, help=summary, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that `args` start with, its module loaded."""
        name, stub, rest = super().resolve_command(ctx, args)
        if stub is None or name is None:
            return name, stub, rest
        module = importlib.import_module(f"clients.cli.{name}")
        return name, typer.main.get_command(module.app), rest


app = typer.Typer(
    name="depa",
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=_EPILOG,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            found = version("depa")
        except PackageNotFoundError:
            found = "not installed"
        sys.stdout.write(f"depa {found}\n")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Train on data that may not leave, under a contract that all parties have signed."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    words = _words(arguments)
    name = " ".join(["depa", *words])
    if arguments == words and (not words or (words == [words[0]] and words[0] not in ALONE)):
        arguments = [*arguments, "--help"]
    set_output(Output(as_json="--json" in arguments))
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="depa", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        current_output().note("interrupted")
        return 130
    except TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path if context else 'depa'} --help"
        message = error.format_message().replace("Value error, ", "")
        return _fail(UsageError(message, hint=hint), name)
    except (DepaError, LedgerError) as error:
        return _fail(error, name)
    except BrokenPipeError:
        # Whoever read standard output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  # the outermost edge: say that it is a bug
        return _fail(_bug(error), name)
    return code if isinstance(code, int) else 0


def _words(arguments: list[str]) -> list[str]:
    words: list[str] = []
    for item in arguments[:2]:
        if item.startswith("-") or (words and not item.isalpha()):
            break
        words.append(item)
    return words[:1] if words and words[0] in ALONE else words


def _fail(error: DepaError | LedgerError, name: str) -> int:
    current_output().failure(error, command=name)
    return error.exit_code


def _bug(error: Exception) -> DepaError:
    """Describe an unexpected error by its kind and place; its text might hold a secret."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    return DepaError(
        f"unexpected {type(error).__name__} at {place}",
        hint="this is a bug in depa: please report the two lines above",
    )


if __name__ == "__main__":
    main()
