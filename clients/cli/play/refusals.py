"""Three things that must not work, tried for real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from clients.cli.play.cast import Cast
from clients.cli.play.narrator import Step, in_parallel
from clients.cli.play.role import StepFailed
from deploy.local.launch_policy import parse_launch_policy

_MEMORY = Path("/dev/shm")  # noqa: S108 -- where clean rooms have their scratch folders
_CODE = re.compile(r"\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b")


@dataclass(frozen=True)
class Refusal:
    """What was tried, and what answered."""

    attempt: str
    code: str
    message: str
    path: str = ""


def try_all(cast: Cast, step: Step) -> list[Refusal]:
    """Try all three at once: they are different runs."""
    attempts = (over_epsilon, flipped_byte, other_launch_policy)
    refused = in_parallel(lambda attempt: attempt(cast, step), attempts, workers=len(attempts))
    step.done = f"{len(refused)} attempts: {', '.join(one.code for one in refused)}"
    step.proven = "each is refused with a reason, and each refusal is on the log"
    return refused


def over_epsilon(cast: Cast, step: Step) -> Refusal:
    """Submit a pipeline that asks for more than its contract grants a run."""
    role = cast.consumer
    value = json.loads((role.home / "pipeline_config.json").read_bytes())
    params = value["pipeline"][-1]["config"]["privacyParams"]
    params["epsilon"] += 0.5
    greedy = role.home / "greedy.json"
    greedy.write_text(json.dumps(value), encoding="utf-8")
    problem = role.refused("run", "submit", greedy)
    reasons = problem["reasons"]
    reason = next(r for r in reasons if r["path"].endswith("/privacyParams/epsilon"))
    found = Refusal(
        f"a pipeline that asks for epsilon {params['epsilon']:g}",
        reason["code"],
        reason["msg"],
        reason["path"],
    )
    step.progress(f"{found.attempt}: {found.code} at {found.path}: {found.message}")
    return found


def flipped_byte(cast: Cast, step: Step) -> Refusal:
    """Change one byte of a sealed data set in the blob store and start a run."""
    role, run = cast.consumer, _approved(cast, "second run")
    sealed = cast.blobs / f"{cast.scenario.providers[0].dataset}.sealed"
    before = sorted(cast.blobs.iterdir())
    with _one_byte_flipped(sealed):
        problem = role.refused("run", "deploy", run, "--local")
    _check_gone(run)
    if sorted(cast.blobs.iterdir()) != before:
        raise StepFailed("a refused run has left something in the blob store")
    status = next(item for item in role.depa("run", "list")["runs"] if item["run"] == run)
    if status["state"] != "failed" or status.get("spent") or status.get("model"):
        raise StepFailed(f"expected a failed run without steps, got {status}")
    code = "sealed-file-refused"
    if code not in problem["detail"]:
        raise StepFailed(f"expected {code}, got {problem['detail']}")
    found = Refusal("one flipped byte in a sealed data set", code, problem["detail"])
    step.progress(f"{found.attempt}: {found.message}")
    step.progress("nothing was trained, spent or left behind")
    return found


def other_launch_policy(cast: Cast, step: Step) -> Refusal:
    """Start a clean room under a launch policy that the parties did not agree to."""
    role, run = cast.consumer, _approved(cast, "third run")
    changed = role.home / "changed-policy.rego"
    text = (cast.stack / "launch-policy.rego").read_text(encoding="utf-8")
    policy = parse_launch_policy(text)
    # One more variable that the host may set: how logging of keys would be switched on.
    looser = replace(policy, patterns={**policy.patterns, "DEPA_DEBUG": "[0-9]"})
    changed.write_text(looser.render(), encoding="utf-8")
    return _refused_release(cast, step, run=run, policy=changed)


def _refused_release(cast: Cast, step: Step, *, run: str, policy: Path) -> Refusal:
    role = cast.consumer
    problem = role.refused("run", "deploy", run, "--local", "--launch-policy", policy)
    _check_gone(run)
    codes = _CODE.findall(problem["detail"])
    if not codes:
        raise StepFailed(f"expected a reason code, got {problem['detail']}")
    found = Refusal("a clean room under another launch policy", codes[0], problem["detail"])
    step.progress(f"{found.attempt}: {found.message}")
    role.depa("run", "abandon", run)
    return found


def _approved(cast: Cast, name: str) -> str:
    role = cast.consumer
    value = json.loads((role.home / "pipeline_config.json").read_bytes())
    pipeline = role.home / f"{name.replace(' ', '-')}.json"
    pipeline.write_text(json.dumps({**value, "name": name}), encoding="utf-8")
    return str(role.depa("run", "submit", pipeline)["run"])


@contextmanager
def _one_byte_flipped(path: Path) -> Iterator[None]:
    original = path.read_bytes()
    middle = len(original) // 2
    changed = bytes([original[middle] ^ 1])
    path.write_bytes(original[:middle] + changed + original[middle + 1 :])
    try:
        yield
    finally:
        path.write_bytes(original)


def _check_gone(run: str) -> None:
    left = sorted(_MEMORY.glob(f"depa-{run}-*")) if _MEMORY.is_dir() else []
    if left:
        raise StepFailed(f"a refused run has left {left[0]} behind")
