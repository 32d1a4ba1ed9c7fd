"""The documentation says what is true of this version."""

from __future__ import annotations

import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGES: dict[str, str] = _GENERATOR["pages"]()
COMMANDS: dict[tuple[str, ...], Any] = dict(_GENERATOR["commands"]())
TEXTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("scenarios/*/*.md")])
_NAMES = [str(path.relative_to(ROOT)) for path in TEXTS]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(depa [^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_IN_SHELL = re.compile(r"(?:^|[\s(])depa ([^|&;#>\n]*?)(?=\s*(?:$|\)|[|&;#>]))", re.MULTILINE)


def _shell_lines(text: str) -> Iterator[str]:
    for language, body in _BLOCK.findall(text):
        if language == "sh":
            yield from (found.strip() for found in _IN_SHELL.findall(body.replace("\\\n", " ")))


def _mentions(text: str) -> Iterator[str]:
    prose = _BLOCK.sub("", text)
    yield from (found.removeprefix("depa ") for found in _INLINE.findall(prose))


def _command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words start with, and its arguments."""
    for length in (2, 1):
        if tuple(words[:length]) in COMMANDS:
            return COMMANDS[tuple(words[:length])], words[length:]
    raise AssertionError(f"there is no command depa {' '.join(words)}")


def _slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    found = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert found == PAGES[name], f"docs/reference/{name} is stale: python docs/generate.py"


def test_every_page_of_the_reference_is_generated() -> None:
    folder = ROOT / "docs" / "reference"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(PAGES)


@pytest.mark.parametrize("path", TEXTS, ids=_NAMES)
def test_every_command_line_of_a_page_parses(path: Path) -> None:
    for line in _shell_lines(path.read_text(encoding="utf-8")):
        command, arguments = _command(shlex.split(line))
        # Raises for a missing argument, an unknown option or a value out of range.
        command.make_context("depa", list(arguments))


@pytest.mark.parametrize("path", TEXTS, ids=_NAMES)
def test_every_command_named_on_a_page_exists(path: Path) -> None:
    for line in _mentions(path.read_text(encoding="utf-8")):
        words = shlex.split(line.replace("…", ""))
        if words[0].startswith("-"):
            assert words == ["--version"]
            continue
        if len(words) == 1 and any(known[0] == words[0] for known in COMMANDS):
            continue
        command, arguments = _command(words)
        options = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
        assert {word for word in arguments if word.startswith("--")} <= options, line


@pytest.mark.parametrize("path", TEXTS, ids=_NAMES)
def test_every_internal_link_resolves(path: Path) -> None:
    text = _BLOCK.sub("", path.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        page = (path.parent / target) if target else path
        assert page.exists(), f"{link} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_slug(heading) for heading in headings}, f"{link} leads nowhere"


def test_the_changelog_begins_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert versions[0] == project["version"]


def test_the_tutorial_is_checked_at_all() -> None:
    found = list(_shell_lines((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")))
    assert len(found) > 30
