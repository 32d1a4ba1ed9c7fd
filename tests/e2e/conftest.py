from __future__ import annotations

import pytest

from tests.e2e.played import Played, play


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The demo, played once for all tests that read what it leaves."""
    return play(tmp_path_factory.mktemp("demo") / "kept")
