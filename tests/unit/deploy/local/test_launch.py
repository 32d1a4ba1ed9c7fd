"""A clean room starts under its launch policy or not at all."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.launch import launch
from deploy.local.launch_policy import LaunchPolicy, measure_packages, trainer_policy
from policies.attestation.der import pem_certificates
from policies.attestation.snp import verify_guest, verify_report
from tests.simulator import NOW, machine, refusal

ROOT = "ab" * 32
PROBE = (
    "import base64, json, os, sys\n"
    "from trainer.tee.detect import open_tee\n"
    "tee = open_tee(os.environ)\n"
    "report = tee.report(b'd' * 64)\n"
    "import trainer\n"
    "print(json.dumps({'report': base64.b64encode(report).decode(),\n"
    "    'pem': tee.certificates.decode(), 'env': dict(os.environ), 'cwd': os.getcwd(),\n"
    "    'trainer': trainer.__file__}))\n"
)


@pytest.fixture(scope="module")
def policy() -> LaunchPolicy:
    """Return a policy that starts a probe instead of the trainer."""
    return replace(trainer_policy(ROOT), command=("python", "-c", PROBE))


Refused = Callable[..., str]


@pytest.fixture
def refused(policy: LaunchPolicy, tmp_path: Path) -> Refused:
    """Return a function that says why a launch is refused."""

    def reason(**changes: object) -> str:
        values = {
            "text": policy.render(),
            "command": policy.command,
            "env": {"DEPA_ROOT_FINGERPRINT": ROOT},
            **changes,
        }
        text = str(values.pop("text"))
        return refusal(
            lambda: launch(text, machine=machine(), scratch=tmp_path / "room", **values)  # type: ignore[arg-type]
        )

    return reason


def test_what_runs_is_what_the_policy_says(
    policy: LaunchPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPA_PASSPHRASE", "of somebody else")
    process = launch(
        policy.render(),
        machine=machine(),
        command=policy.command,
        env={"DEPA_ROOT_FINGERPRINT": ROOT},
        scratch=tmp_path / "room",
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    told = json.loads(output)

    verified = verify_report(
        base64.b64decode(told["report"]),
        chain=pem_certificates(told["pem"].encode()),
        now=NOW,
        roots=machine().roots,
    )
    host_data = bytes.fromhex(policy.host_data())
    assert verify_guest(verified, host_data=host_data, report_data=b"d" * 64)
    # Nothing of the caller's environment, its folder or its code.
    assert "DEPA_PASSPHRASE" not in told["env"]
    assert told["env"]["DEPA_ROOT_FINGERPRINT"] == ROOT
    assert Path(told["cwd"]) == tmp_path / "room" / "work"
    assert Path(told["trainer"]).is_relative_to(tmp_path / "room" / "image")
    assert (tmp_path / "room").stat().st_mode & 0o077 == 0
    assert b"protects nothing" in errors


def test_another_command_is_not_started(refused: Refused) -> None:
    assert refused(command=("python", "-c", "print(1)")) == "launch.command"


def test_another_environment_is_not_started(refused: Refused) -> None:
    assert refused(env={}) == "launch.env.DEPA_ROOT_FINGERPRINT"
    environ = {"DEPA_ROOT_FINGERPRINT": ROOT, "PYTHONSTARTUP": "x"}
    assert refused(env=environ) == "launch.env.PYTHONSTARTUP"


def test_other_code_than_was_measured_is_not_started(
    refused: Refused, policy: LaunchPolicy
) -> None:
    other = replace(policy, layers=("00" * 32,))
    assert refused(text=other.render()) == "launch.layers"


def test_a_policy_that_is_not_understood_starts_nothing(refused: Refused) -> None:
    assert refused(text="package policy\nallow_all := true\n") == "launch.policy"


def test_a_folder_is_not_used_twice(policy: LaunchPolicy, tmp_path: Path) -> None:
    (tmp_path / "room" / "image").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        launch(
            policy.render(),
            machine=machine(),
            command=policy.command,
            env={"DEPA_ROOT_FINGERPRINT": ROOT},
            scratch=tmp_path / "room",
        )


def test_output_goes_nowhere_unless_the_policy_grants_it(
    policy: LaunchPolicy, tmp_path: Path
) -> None:
    silent = replace(policy, stdio=False, command=("python", "-c", "print('private')"))
    process = launch(
        silent.render(),
        machine=machine(),
        command=silent.command,
        env={"DEPA_ROOT_FINGERPRINT": ROOT},
        scratch=tmp_path / "room",
    )
    assert process.wait(timeout=60) == 0
    assert (process.stdout, process.stderr) == (None, None)


def test_a_command_that_is_not_there_leaves_no_socket_open(
    policy: LaunchPolicy, tmp_path: Path
) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    absent = replace(policy, command=("/nonexistent/program",))
    with pytest.raises(FileNotFoundError):
        launch(
            absent.render(),
            machine=machine(),
            command=absent.command,
            env={"DEPA_ROOT_FINGERPRINT": ROOT},
            scratch=tmp_path / "room",
        )
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_the_image_is_measured_as_it_is_unpacked(policy: LaunchPolicy) -> None:
    assert policy.layers == (measure_packages(),)
