from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.world import World, running


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a service, stopped, whose one contract all parties have signed."""
    folder = tmp_path_factory.mktemp("executed")
    with running(folder) as world:
        world.executed()
    return folder


@pytest.fixture
def world(executed: Path, tmp_path: Path) -> Iterator[World]:
    """Return a running service that already has the contract `world.executed()`."""
    folder = shutil.copytree(executed, tmp_path / "world")
    with running(folder) as started:
        yield started


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[World]:
    """Return a running service without contracts."""
    with running(tmp_path / "world") as started:
        yield started
