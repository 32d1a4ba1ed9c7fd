"""The local stack: service, attestation, vaults and blobs, each a process with its own home.

    stack/
      stack.json              what runs where; written last
      tls/                    authority and certificates of the servers
      service/                the operator's: keys, service and ledger databases
      attestation/ machine/   simulated hardware, and who believes it
      vaults/<name>/          one for each party that holds keys
      blobs/                  sealed files
      launch-policy.rego      what a clean room must be, with the service's root in it
      logs/

Ports are free ones, chosen at the first start and kept, since contracts name them.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clients.api.transport import tls_context
from contract_service.init import init_home, load_home
from deploy.local.keyfile import write_private
from deploy.local.launch_policy import packages_root, trainer_policy
from deploy.local.processes import is_running, start, stop
from deploy.local.server import bind, url_of
from deploy.local.stackfile import STACK_FILE, Member, Stack, StackError, encode_stack, read_stack
from deploy.local.tls import KeyKind, TlsFiles, server_certificate

START_SECONDS = 90.0
_POLL_SECONDS = 0.05
_ORGANIZATION = "Local stack"
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@dataclass
class _Start:
    """A stack that is being started."""

    folder: Path
    passphrase: str = field(repr=False)
    ports: Mapping[str, int]
    now: datetime
    members: dict[str, Member] = field(default_factory=dict)

    def listen(self, name: str) -> socket.socket:
        """Return the listening socket of a member, on the port that it had before."""
        return bind(self.ports.get(name, 0))

    def certificate(self, name: str, *, kind: KeyKind = KeyKind.TLS) -> TlsFiles:
        return server_certificate(self.folder / "tls", name=name, now=self.now, kind=kind)

    def start(
        self, name: str, command: list[str], *, listener: socket.socket, env: Mapping[str, str]
    ) -> None:
        log = self.folder / "logs" / f"{name}.log"
        process = start(
            name,
            [sys.executable, "-m", *command, "--fd", str(listener.fileno())],
            env={**_environment(), **env},
            log=log,
            fd=listener.fileno(),
        )
        self.members[name] = Member(process, url_of(listener), str(log))


def start_stack(
    folder: Path, *, passphrase: str, owners: Mapping[str, str], now: datetime
) -> Stack:
    """Start the stack, or what of it does not run; return when every part answers.

    Args:
        folder: The stack's folder; made with mode 0700.
        passphrase: The operator's; opens the service's keys and the vaults.
        owners: DID of each vault's owner, by the vault's name.
        now: Start of validity of certificates that are made.

    Raises:
        StackError: when a part does not come up; then all are stopped.
    """
    known = read_stack(folder) if (folder / STACK_FILE).exists() else None
    if known is not None:
        stop_stack(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    (folder / "blobs").mkdir(exist_ok=True, mode=0o700)
    ports = (
        {name: int(m.url.rpartition(":")[2]) for name, m in known.members.items()} if known else {}
    )
    starting = _Start(folder, passphrase, ports, now)
    try:
        stack = _start_all(starting, owners=owners)
        _wait_ready(stack)
    except BaseException:
        for member in starting.members.values():
            stop(member.process)
        raise
    return stack


def _start_all(starting: _Start, *, owners: Mapping[str, str]) -> Stack:
    names = ["service", "attestation", *(f"vault-{name}" for name in owners)]
    folder = starting.folder
    with ExitStack() as open_sockets:
        listeners = {name: open_sockets.enter_context(starting.listen(name)) for name in names}
        urls = {name: url_of(listener) for name, listener in listeners.items()}
        root, service = _service_home(starting)
        _start_attestation(starting, listeners["attestation"])
        _start_service(starting, listeners["service"])
        for name, owner in owners.items():
            _start_vault(
                starting,
                listeners[f"vault-{name}"],
                name=name,
                owner=owner,
                releaser=service,
                authority=urls["attestation"],
            )
    vaults = {owner: urls[f"vault-{name}"] for name, owner in owners.items()}
    stack = Stack(folder, root, dict(starting.members), vaults)
    write_private(stack.launch_policy, trainer_policy(root).render().encode())
    write_private(folder / STACK_FILE, encode_stack(stack))
    return stack


def _service_home(starting: _Start) -> tuple[str, str]:
    """Return root fingerprint and DID of the service, its home made on first use."""
    home, now = starting.folder / "service", int(starting.now.timestamp())
    if not home.exists():
        origin = f"localhost/depa/{secrets.token_hex(8)}"
        init_home(
            home,
            passphrase=starting.passphrase,
            origin=origin,
            organization=_ORGANIZATION,
            now=now,
        )
    opened = load_home(home, passphrase=starting.passphrase, now=now)
    return opened.fingerprint, opened.identity.did


def _start_service(starting: _Start, listener: socket.socket) -> None:
    tls = starting.certificate("service")
    starting.start(
        "service",
        ["clients.cli.main", "serve"],
        listener=listener,
        env={
            "DEPA_PASSPHRASE": starting.passphrase,
            "DEPA_SERVICE_HOME": str(starting.folder / "service"),
            "DEPA_SERVICE_ORIGIN": url_of(listener),
            "DEPA_SERVICE_TLS_CERTIFICATE": str(tls.certificate),
            "DEPA_SERVICE_TLS_KEY": str(tls.key),
            "DEPA_SERVICE_VAULT_CA": str(tls.authority),
            "DEPA_SERVICE_ATTESTATION_CA": str(tls.authority),
        },
    )


def _start_attestation(starting: _Start, listener: socket.socket) -> None:
    tls = starting.certificate("attestation")
    command = ["deploy.local.member", "attestation", "--home", str(starting.folder / "attestation")]
    command += ["--machine", str(starting.folder / "machine"), *_tls_arguments(tls)]
    starting.start("attestation", command, listener=listener, env={})


def _start_vault(
    starting: _Start,
    listener: socket.socket,
    *,
    name: str,
    owner: str,
    releaser: str,
    authority: str,
) -> None:
    tls = starting.certificate(f"vault-{name}", kind=KeyKind.RELEASE)
    home = starting.folder / "vaults" / name
    command = ["deploy.local.member", "vault", "--home", str(home), *_tls_arguments(tls)]
    command += ["--owner", owner, "--releaser", releaser, "--authority", authority]
    secret = _derive(starting.passphrase, f"depa stack vault {name}")
    starting.start(f"vault-{name}", command, listener=listener, env={"DEPA_PASSPHRASE": secret})


def _tls_arguments(tls: TlsFiles) -> list[str]:
    files = ("--ca", tls.authority), ("--certificate", tls.certificate), ("--key", tls.key)
    return [text for name, path in files for text in (name, str(path))]


def _derive(passphrase: str, purpose: str) -> str:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode())
    return hkdf.derive(passphrase.encode()).hex()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONPATH": str(packages_root()), "PYTHONUNBUFFERED": "1"}


def stop_stack(folder: Path) -> list[str]:
    """Stop what runs of the stack; return the names of the processes that were ended.

    Raises:
        StackError: when there is no stack.
    """
    stack = read_stack(folder)
    # The service first: it may wait for vaults.
    return [name for name, member in stack.members.items() if stop(member.process)]


def _wait_ready(stack: Stack) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = dict(stack.members)
    with httpx2.Client(verify=tls_context(stack.ca_file), timeout=5.0) as http:
        while waiting:
            for name, member in list(waiting.items()):
                if not is_running(member.process):
                    raise StackError(f"{name} has ended: {_last_line(member)}", hint=member.log)
                if _answers(http, name, member):
                    del waiting[name]
            if waiting and time.monotonic() > deadline:
                raise StackError(f"no answer from {', '.join(waiting)}")
            if waiting:
                time.sleep(_POLL_SECONDS)


def _answers(http: httpx2.Client, name: str, member: Member) -> bool:
    try:
        answer = http.get(f"{member.url}/readyz")
    except httpx2.HTTPError:
        return False
    # Vaults and the attestation service have no such page; any answer says that they are up.
    return answer.is_success or name != "service"


def _last_line(member: Member) -> str:
    lines = Path(member.log).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
