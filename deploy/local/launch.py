"""Start a clean room on the simulated machine: what the launch policy allows, and nothing else.

The machine fixes HOST_DATA from the policy's text before the process exists. The process gets a
socket on which it can ask for reports over data of its choice; it cannot choose anything else.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.hardware import ReportFields, UnsafeSimulatedMachine
from deploy.local.launch_policy import (
    LaunchPolicy,
    measure_packages,
    measured_files,
    packages_root,
    parse_launch_policy,
)
from policies.errors import DepaError, EvidenceError
from trainer.tee.frames import receive_frame, send_frame
from trainer.tee.simulated import VARIABLE

_IMAGE_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


def launch(
    policy_text: str,
    *,
    machine: UnsafeSimulatedMachine,
    command: Sequence[str],
    env: Mapping[str, str],
    scratch: Path,
) -> subprocess.Popen[bytes]:
    """Start a process under a launch policy and return it, its output in pipes.

    The process sees the variables of `env`, a search path, its own home and the socket of the
    machine; none of the caller's. Its code is a copy of the measured files. When the policy grants
    no access to its output, the output goes nowhere.

    Args:
        policy_text: What `LaunchPolicy.render` returned.
        machine: What signs its reports.
        command: Must be the policy's.
        env: Must be allowed by the policy.
        scratch: Empty or missing folder, made with mode 0700; its working directory is inside.

    Raises:
        EvidenceError: if the policy does not allow it, or measures other code.
    """
    policy = parse_launch_policy(policy_text)
    policy.verify(command=tuple(command), environ=env)
    image = _unpack_image(scratch)
    measured = measure_packages(image)
    if policy.layers != (measured,):
        raise EvidenceError("launch.layers", expected=list(policy.layers), got=[measured])
    work = scratch / "work"
    work.mkdir(mode=0o700)
    environ = {**_image_environment(image, work), **env}
    ours, theirs = socket.socketpair()
    try:
        process = _start(policy, environ=environ, work=work, hardware=theirs)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    threading.Thread(
        target=serve_guest,
        args=(ours,),
        kwargs={"machine": machine, "host_data": bytes.fromhex(policy.host_data())},
        name="simulated-machine",
        daemon=True,
    ).start()
    return process


def _start(
    policy: LaunchPolicy, *, environ: Mapping[str, str], work: Path, hardware: socket.socket
) -> subprocess.Popen[bytes]:
    output = subprocess.PIPE if policy.stdio else subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603 -- the command is the launch policy's
        _resolve(policy.command),
        env={**environ, VARIABLE: f"fd:{hardware.fileno()}"},
        cwd=work,
        pass_fds=(hardware.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        umask=0o077,
    )


def serve_guest(
    connection: socket.socket, *, machine: UnsafeSimulatedMachine, host_data: bytes
) -> None:
    """Answer one guest until it closes its end; `host_data` is the launch's, not the guest's."""
    with connection:
        while True:
            try:
                message = receive_frame(connection)
                if message is None:
                    return
                send_frame(connection, _answer(message, machine=machine, host_data=host_data))
            except (OSError, DepaError):
                return


def _answer(
    message: Mapping[str, Any], *, machine: UnsafeSimulatedMachine, host_data: bytes
) -> dict[str, Any]:
    if message.get("op") == "context":
        return {
            "certificates": base64.b64encode(machine.certificates).decode(),
            "endorsement": base64.b64encode(machine.endorsement).decode(),
        }
    if message.get("op") != "report" or set(message) != {"op", "reportData"}:
        return {"error": "a guest may ask for its context, or a report over its data"}
    try:
        report_data = base64.b64decode(str(message["reportData"]), validate=True)
    except binascii.Error:
        report_data = b""
    if len(report_data) != 64:
        return {"error": "report data are 64 bytes"}
    report = machine.sign_report(ReportFields(report_data=report_data, host_data=host_data))
    return {"report": base64.b64encode(report).decode()}


def _unpack_image(scratch: Path) -> Path:
    # The process runs the bytes that are measured here, whatever becomes of the installed ones,
    # and no compiled file that somebody left beside them.
    root, image = packages_root(), scratch / "image"
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    image.mkdir(mode=0o700)
    for path in measured_files(root):
        target = image / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return image


def _image_environment(image: Path, work: Path) -> dict[str, str]:
    return {
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), _IMAGE_PATH)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(image),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(work),
    }


def _resolve(command: Sequence[str]) -> list[str]:
    # The interpreter is the image's.
    return [sys.executable if command[0] == "python" else command[0], *command[1:]]
