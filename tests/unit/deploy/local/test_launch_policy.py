"""The launch policy: deterministic text, exact command, pinned trust, measured code."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.launch_policy import (
    TRAINER_VARIABLES,
    LaunchPolicy,
    host_data_of,
    measure_packages,
    measured_files,
    packages_root,
    parse_launch_policy,
    trainer_policy,
)
from policies.errors import EvidenceError
from tests.simulator import RUN, refusal

ROOT = "ab" * 32
POLICY = LaunchPolicy(
    layers=("11" * 32,),
    pinned={"DEPA_ROOT_FINGERPRINT": ROOT},
    patterns={"DEPA_RUN": "run-[a-z2-7]{26}"},
)
ENVIRON = {"DEPA_ROOT_FINGERPRINT": ROOT, "DEPA_RUN": RUN}


def test_the_text_is_read_back_and_is_the_same_every_time() -> None:
    text = POLICY.render()
    assert parse_launch_policy(text) == POLICY
    two = {"A": "1", "B": "2"}
    shuffled = {"B": "2", "A": "1"}
    assert replace(POLICY, patterns=two).render() == replace(POLICY, patterns=shuffled).render()
    assert POLICY.host_data() == hashlib.sha256(text.encode()).hexdigest() == host_data_of(text)


def test_the_text_has_the_shape_of_a_container_policy() -> None:
    text = POLICY.render()
    assert text.startswith("package policy\n")
    assert "allow_environment_variable_dropping := false" in text
    [container] = json.loads(text.partition("containers := ")[2].partition("\n\nallow_")[0])
    pinned, open_rule = container["env_rules"]
    assert pinned == {
        "pattern": f"DEPA_ROOT_FINGERPRINT={ROOT}",
        "required": True,
        "strategy": "string",
    }
    assert (open_rule["strategy"], open_rule["required"]) == ("re2", False)
    assert open_rule["pattern"].startswith("^")
    assert open_rule["pattern"].endswith("$")
    assert container["exec_processes"] == []
    assert not container["allow_elevated"]


def test_the_allowed_launch_is_allowed() -> None:
    POLICY.verify(command=POLICY.command, environ=ENVIRON)
    POLICY.verify(command=POLICY.command, environ={"DEPA_ROOT_FINGERPRINT": ROOT})


@pytest.mark.parametrize(
    "command", [(), ("python",), ("python", "-m", "trainer.run", "-v"), ("sh", "-c", "python")]
)
def test_another_command_is_refused(command: tuple[str, ...]) -> None:
    claim = refusal(lambda: POLICY.verify(command=command, environ=ENVIRON))
    assert claim == "launch.command"


@pytest.mark.parametrize(
    ("environ", "claim"),
    [
        ({"DEPA_RUN": RUN}, "launch.env.DEPA_ROOT_FINGERPRINT"),
        ({**ENVIRON, "DEPA_ROOT_FINGERPRINT": "cd" * 32}, "launch.env.DEPA_ROOT_FINGERPRINT"),
        ({**ENVIRON, "DEPA_ROOT_FINGERPRINT": ROOT + "\n"}, "launch.env.DEPA_ROOT_FINGERPRINT"),
        ({**ENVIRON, "DEPA_RUN": f"x{RUN}"}, "launch.env.DEPA_RUN"),
        ({**ENVIRON, "DEPA_RUN": f"{RUN}\n"}, "launch.env.DEPA_RUN"),
        ({**ENVIRON, "LD_PRELOAD": "/tmp/evil.so"}, "launch.env.LD_PRELOAD"),  # noqa: S108
        ({**ENVIRON, "PYTHONPATH": "/home"}, "launch.env.PYTHONPATH"),
        ({**ENVIRON, "DEPA_UNSAFE_TEE": "unix:/tmp/x"}, "launch.env.DEPA_UNSAFE_TEE"),
    ],
)
def test_another_environment_is_refused(environ: dict[str, str], claim: str) -> None:
    assert refusal(lambda: POLICY.verify(command=POLICY.command, environ=environ)) == claim


def test_a_refused_value_is_not_repeated() -> None:
    environ = {**ENVIRON, "DEPA_RUN": "secret-token"}
    with pytest.raises(EvidenceError) as caught:
        POLICY.verify(command=POLICY.command, environ=environ)
    assert "secret-token" not in str(caught.value)


def test_a_variable_cannot_be_pinned_and_left_open() -> None:
    with pytest.raises(ValueError, match="pinned and left open"):
        replace(POLICY, patterns={"DEPA_ROOT_FINGERPRINT": ".*"})


@pytest.mark.parametrize("name", ["", "A=B", "DEPA_.*", "A\nB"])
def test_a_name_that_could_match_others_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="variable's name"):
        replace(POLICY, patterns={name: "x"})


def test_no_open_rule_of_the_trainer_matches_what_is_pinned() -> None:
    policy = trainer_policy(ROOT)
    assert parse_launch_policy(policy.render()) == policy
    for name, expression in TRAINER_VARIABLES.items():
        assert not re.fullmatch(f"{name}=({expression})", f"DEPA_ROOT_FINGERPRINT={ROOT}")
    assert set(policy.pinned) == {"DEPA_ROOT_FINGERPRINT"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "# a comment\n"),
        ('"allow_elevated": false', '"allow_elevated": true'),
        ("allow_dump_stacks := false", "allow_dump_stacks := true"),
        ('"exec_processes": []', '"exec_processes": [{"command": ["/bin/sh"]}]'),
        ('"required": true', '"required": false'),
        ('"command": [', '"command":  ['),
        ("containers := [", "containers := [7, "),
        ("containers := [\n  {", "containers := [\n  {{"),
    ],
)
def test_a_policy_with_anything_else_in_it_is_refused(old: str, new: str) -> None:
    text = POLICY.render().replace(old, new, 1)
    assert text != POLICY.render()
    assert refusal(lambda: parse_launch_policy(text)) == "launch.policy"


def test_every_measured_byte_and_name_counts(tmp_path: Path) -> None:
    for name in ("clients/api", "ledger", "policies/rego", "trainer"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "clients" / "__init__.py").touch()
    (tmp_path / "trainer" / "run.py").write_text("pass")
    first = measure_packages(tmp_path)
    assert measure_packages(tmp_path) == first

    (tmp_path / "trainer" / "__pycache__").mkdir()
    (tmp_path / "trainer" / "__pycache__" / "run.pyc").write_bytes(b"x")
    (tmp_path / "clients" / "cli").mkdir()
    (tmp_path / "clients" / "cli" / "main.py").touch()
    assert measure_packages(tmp_path) == first

    seen = {first}
    (tmp_path / "policies" / "rego" / "a.rego").touch()
    seen.add(measure_packages(tmp_path))
    (tmp_path / "trainer" / "run.py").write_text("pass\n")
    seen.add(measure_packages(tmp_path))
    (tmp_path / "trainer" / "run.py").rename(tmp_path / "trainer" / "ran.py")
    seen.add(measure_packages(tmp_path))
    assert len(seen) == 4


def test_the_trainer_is_measured_with_its_policies() -> None:
    names = {
        path.relative_to(packages_root()).as_posix() for path in measured_files(packages_root())
    }
    assert {"trainer/keys.py", "policies/errors.py", "clients/api/release.py"} <= names
    assert any(name.endswith(".rego") for name in names)
    assert not any(
        name.startswith(("contract_service/", "deploy/", "clients/cli/")) for name in names
    )
