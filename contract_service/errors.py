"""What keeps the service from starting."""

from __future__ import annotations

from policies.errors import DepaError


class EngineError(DepaError):
    """The settings name a policy engine that cannot be asked."""

    code = "policy-engine"
    exit_code = 2


class HomeError(DepaError):
    """The service's home is missing, damaged or does not open."""

    code = "home"
    exit_code = 2
