"""The page that leads from an idea to a tested rule: its files are written, its commands run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.cli.main import run
from tests.record import NOW, Record
from tests.transcripts.test_transcripts import matches

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "write-a-rule.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w/]+\.(?:rego|json))`")
_ROOT = "5fb2…"


def blocks() -> Iterator[tuple[str, str, str]]:
    """Yield language, body, and for a file its name: the last one before the block."""
    text, name, at = PAGE.read_text(encoding="utf-8"), "", 0
    for found in _BLOCK.finditer(text):
        name = (_FILE.findall(text[at : found.start()]) or [name])[-1]
        at = found.end()
        yield found[1], found[2], name


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with what the page takes for granted, and the fingerprint that goes with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("clients.cli.tasks.replaying.time.time", lambda: NOW)
    (tmp_path / "policies").mkdir()
    shutil.copytree(ROOT / "policies" / "rego", tmp_path / "policies" / "rego")
    record = Record(tmp_path, left_out={"revoked"})
    (tmp_path / "case.json").write_bytes(record.bundle().encode())
    return record.root


def test_every_step_of_the_page_works(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = list(blocks())
    for number, (language, body, name) in enumerate(steps):
        following = steps[number + 1] if number + 1 < len(steps) else ("", "", "")
        if language == "rego":
            _write(Path(name), body)
        elif language == "json":
            _explain(Path(name), body)
        elif language == "sh":
            expected = following[1].splitlines() if following[0] == "text" else None
            _execute(body, root, expected, capsys)
    written = {str(path) for path in Path().glob("*/**/*.rego")}
    assert "rules/depa/training/units.rego" in written
    assert "own/hospital_a_test.rego" in written
    assert Path("policy.tar.gz").exists()


def _write(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert not path.exists()
    path.write_text(body, encoding="utf-8")


def _explain(path: Path, body: str) -> None:
    """Put an explanation at its place in the alphabet, and raise the version, as the page says."""
    text = path.read_text(encoding="utf-8")
    code = body.split('"')[1]
    later = next(c for c in re.findall(r'^    "([A-Z_]+)": ', text, re.MULTILINE) if c > code)
    text = text.replace(f'    "{later}": ', f'    {body.strip()},\n    "{later}": ', 1)
    text = re.sub(r'"version": "[\d.]+"', '"version": "9.0.0"', text, count=1)
    path.write_text(text, encoding="utf-8")


def _execute(
    body: str, root: str, expected: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    code = 0
    for line in body.splitlines():
        words = shlex.split(line.replace(_ROOT, root))
        program = words.pop(0)
        if program == "cp":
            assert words.pop(0) == "-r"
            shutil.copytree(*words)
        else:
            assert program == "depa", line
            code = max(code, run(words))
    said = capsys.readouterr()
    wanted = expected or []
    codes = [int(item[2:]) for item in wanted if item.startswith("? ")]
    assert code == (codes or [0])[0], said.err
    if expected is not None:
        out = [item for item in wanted if not item.startswith(("! ", "? "))]
        assert matches(out, said.out), said.out
        assert matches([item[2:] for item in wanted if item.startswith("! ")], said.err), said.err
