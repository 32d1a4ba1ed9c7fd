"""Engines that evaluate a policy bundle, behind one Protocol."""

from policies.engine.embedded import RegorusEngine
from policies.engine.protocol import PolicyEngine, Verdict

__all__ = ["PolicyEngine", "RegorusEngine", "Verdict"]
