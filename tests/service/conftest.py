from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.world import World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as started:
        yield started
