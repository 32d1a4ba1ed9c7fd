"""The command line, as transcripts of sessions.

In a transcript
    # ...          is a comment,
    $ depa ...     is a command; NAME=value before it sets a variable for it,
    ! ...          is a line of standard error,
    ? 4            is the exit code, 0 without it,
    = exists PATH, = absent PATH, = mode 600 PATH   are claims about files,
    $FILES, $SCENARIOS, $RULES, $VECTORS, $BLOBS, $HOME_   are folders,
and every other line is one of standard output. `…` stands for any text within a line.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import pytest

from clients.cli.main import run

HERE = Path(__file__).parent
PLACES = {
    "FILES": str(HERE / "files"),
    "SCENARIOS": str(HERE.parents[1] / "scenarios"),
    "RULES": str(HERE.parents[1] / "policies" / "rego"),
    "VECTORS": str(HERE.parent / "vectors"),
}
TRANSCRIPTS = sorted(HERE.glob("*.txt"))


@dataclass
class Command:
    """A command of a transcript, with what has to come of it."""

    line: str
    number: int
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    code: int = 0
    claims: list[str] = field(default_factory=list)


def parse(text: str) -> list[Command]:
    commands: list[Command] = []
    for number, line in enumerate(text.splitlines(), 1):
        mark, _, rest = line.partition(" ")
        if mark == "#" or (not line and not (commands and commands[-1].stdout)):
            continue
        if mark == "$":
            commands.append(Command(rest, number))
        elif mark == "!":
            commands[-1].stderr.append(rest)
        elif mark == "?":
            commands[-1].code = int(rest)
        elif mark == "=":
            commands[-1].claims.append(rest)
        else:
            commands[-1].stdout.append(line)
    for command in commands:
        # Empty lines before the next comment belong to the transcript, not to the output.
        while command.stdout and not command.stdout[-1]:
            command.stdout.pop()
    return commands


def matches(wanted: list[str], got: str) -> bool:
    pattern = "\n".join("[^\n]*".join(map(re.escape, line.split("…"))) for line in wanted)
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in got.splitlines())) is not None


def check_claim(claim: str) -> None:
    kind, *words = claim.split()
    path = Path(words[-1])
    if kind == "exists":
        assert path.exists(), claim
    elif kind == "absent":
        assert not path.exists(), claim
    elif kind == "mode":
        assert f"{path.stat().st_mode & 0o777:o}" == words[0], claim
    else:
        raise ValueError(claim)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DEPA_SERVICE", "DEPA_STACK", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    places = {**PLACES, "BLOBS": str(tmp_path / "blobs"), "HOME_": str(tmp_path / "home")}
    monkeypatch.setenv("DEPA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DEPA_PASSPHRASE", "correct horse battery")
    for command in parse(path.read_text(encoding="utf-8")):
        words = shlex.split(Template(command.line).safe_substitute(places))
        with monkeypatch.context() as scope:
            while "=" in words[0]:
                name, _, value = words.pop(0).partition("=")
                scope.setenv(name, value)
            assert words.pop(0) == "depa"
            code = run(words)
        said = capsys.readouterr()
        where = f"{path.name}:{command.number}: $ {command.line}\n{said.out}{said.err}exit {code}"
        assert code == command.code, where
        assert matches(command.stdout, said.out), where
        assert matches(command.stderr, said.err), where
        for claim in command.claims:
            check_claim(claim)
