"""One role of a played scenario: its own home, its own passphrase, its own processes.

A role acts only through the command line, in a process that sees nothing of the others' homes or
passphrases in its environment.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any

from clients.cli.errors import Refused
from clients.cli.settings import write_settings
from policies.errors import DepaError

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
REFUSED = 4


class StepFailed(DepaError):
    """A step of the scenario did not end as it has to."""

    code = "step-failed"
    exit_code = 1


def packages_root() -> Path:
    """Return the folder that holds the packages, and in a checkout the scenarios."""
    return Path(__file__).resolve().parents[3]


def base_environment() -> dict[str, str]:
    """Return what every started process may see of this one's environment."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONPATH": str(packages_root()), "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Role:
    """A party, or the operator of the service."""

    name: str
    home: Path
    passphrase: str = field(repr=False)
    transcript: Path

    @classmethod
    def new(cls, name: str, folder: Path) -> Role:
        """Return a role with a fresh passphrase and a home of its own under `folder`."""
        home = folder / "homes" / name
        home.mkdir(parents=True, mode=0o700)
        log = folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True, mode=0o700)
        return cls(name, home, secrets.token_urlsafe(24), log)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write settings to the role's depa.toml."""
        write_settings(self.home, settings)

    def depa(self, *arguments: str | Path) -> dict[str, Any]:
        """Run one command that has to succeed; return its JSON result.

        Raises:
            StepFailed: with what the command said.
        """
        code, result, said = self._run(arguments)
        if code != 0:
            raise StepFailed(f"{self._shown(arguments)} ended with {code}: {said}")
        return result

    def refused(self, *arguments: str | Path, code: int = REFUSED) -> dict[str, Any]:
        """Run one command that has to end with an error; return its problem.

        Raises:
            Refused: when it was not.
        """
        got, _, said = self._run(arguments)
        if got != code:
            raise Refused(f"{self._shown(arguments)} was not refused, it ended with {got}: {said}")
        problem: dict[str, Any] = json.loads(said.splitlines()[-1])
        return problem

    def script(self, path: Path, *arguments: str | Path) -> dict[str, Any]:
        """Run a script of the scenario as this role; return the JSON of its last line.

        Raises:
            StepFailed: when it fails.
        """
        command = [sys.executable, str(path), *map(str, arguments)]
        code, result, said = self._execute(command)
        if code != 0:
            raise StepFailed(f"{path.name} ended with {code}: {said}")
        return result

    def watched(self, show: Callable[[str], None], *arguments: str | Path) -> dict[str, Any]:
        """Run one command that has to succeed, showing what it says while it runs.

        Raises:
            StepFailed: with what the command said.
        """
        code, result, said = self._run(arguments, show=show)
        if code != 0:
            raise StepFailed(f"{self._shown(arguments)} ended with {code}: {said}")
        return result

    def _run(
        self, arguments: tuple[str | Path, ...], *, show: Callable[[str], None] | None = None
    ) -> tuple[int, dict[str, Any], str]:
        command = [sys.executable, "-m", "clients.cli.main", *map(str, arguments), "--json"]
        return self._execute(command, show=show)

    def _execute(
        self, command: list[str], *, show: Callable[[str], None] | None = None
    ) -> tuple[int, dict[str, Any], str]:
        own = {"DEPA_HOME": str(self.home), "DEPA_PASSPHRASE": self.passphrase}
        with subprocess.Popen(  # noqa: S603 -- this interpreter, and arguments of the play
            command,
            env={**base_environment(), **own, "HOME": str(self.home)},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            said: list[str] = []
            reader = Thread(target=_read, args=(process.stderr, said, show))
            reader.start()
            output = process.stdout.read() if process.stdout else ""
            reader.join()
        errors = "".join(said)
        with self.transcript.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command[2:])}\n{errors}{output}exit {process.returncode}\n")
        lines = output.strip().splitlines()
        try:
            result = json.loads(lines[-1]) if lines else {}
        except ValueError:
            result = {}
        return process.returncode, result if isinstance(result, dict) else {}, errors.strip()

    def _shown(self, arguments: tuple[str | Path, ...]) -> str:
        return f"{self.name}: depa {' '.join(map(str, arguments[:2]))}"


def _read(stream: IO[str] | None, said: list[str], show: Callable[[str], None] | None) -> None:
    for line in stream or ():
        said.append(line)
        if show is not None and not line.startswith("{"):
            show(line.rstrip())
