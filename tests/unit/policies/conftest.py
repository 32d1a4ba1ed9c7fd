from __future__ import annotations

import pytest

from policies.decide import Policy


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy.embedded()
