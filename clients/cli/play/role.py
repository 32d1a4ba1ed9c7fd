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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.cli.errors import Refused
from clients.cli.settings import write_settings
from policies.errors import DepaError

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
REFUSED = 4
TIMEOUT_SECONDS = 1200


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

    def refused(self, *arguments: str | Path) -> dict[str, Any]:
        """Run one command that has to be refused; return its problem.

        Raises:
            Refused: when it was not.
        """
        code, _, said = self._run(arguments)
        if code != REFUSED:
            raise Refused(f"{self._shown(arguments)} was not refused, it ended with {code}: {said}")
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

    def _run(self, arguments: tuple[str | Path, ...]) -> tuple[int, dict[str, Any], str]:
        command = [sys.executable, "-m", "clients.cli.main", *map(str, arguments), "--json"]
        return self._execute(command)

    def _execute(self, command: list[str]) -> tuple[int, dict[str, Any], str]:
        own = {
            "DEPA_HOME": str(self.home),
            "DEPA_PASSPHRASE": self.passphrase,
            "HOME": str(self.home),
        }
        done = subprocess.run(  # noqa: S603 -- this interpreter, and arguments of the play
            command,
            env={**base_environment(), **own},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        with self.transcript.open("a", encoding="utf-8") as log:
            log.write(
                f"$ {' '.join(command[2:])}\n{done.stderr}{done.stdout}exit {done.returncode}\n"
            )
        lines = done.stdout.strip().splitlines()
        try:
            result = json.loads(lines[-1]) if lines else {}
        except ValueError:
            result = {}
        return done.returncode, result if isinstance(result, dict) else {}, done.stderr.strip()

    def _shown(self, arguments: tuple[str | Path, ...]) -> str:
        return f"{self.name}: depa {' '.join(map(str, arguments[:2]))}"
