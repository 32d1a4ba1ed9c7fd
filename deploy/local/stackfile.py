"""`stack.json`: what runs where in a local stack; nothing in it is secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.local.processes import Recorded, is_running
from policies.errors import DepaError

STACK_FILE = "stack.json"
_VERSION = 1


class StackError(DepaError):
    """The local stack does not start, or is not there."""

    code = "stack"
    exit_code = 5


class StackMissingError(StackError):
    """There is no local stack in this folder."""

    code = "no-stack"
    exit_code = 3
    http_status = 404


@dataclass(frozen=True)
class Member:
    """A process of the stack and where it answers."""

    process: Recorded
    url: str
    log: str


@dataclass(frozen=True)
class Stack:
    """What runs where; nothing in it is secret."""

    folder: Path
    root: str
    """Fingerprint of the service's root certificate."""
    members: Mapping[str, Member]
    vaults: Mapping[str, str]
    """URL of each vault by its owner's DID."""

    @property
    def service(self) -> str:
        """URL of the contract service."""
        return self.members["service"].url

    @property
    def attestation(self) -> str:
        """URL of the attestation service."""
        return self.members["attestation"].url

    @property
    def ca_file(self) -> Path:
        """PEM of the authority of all servers' certificates."""
        return self.folder / "tls" / "ca.pem"

    @property
    def blobs(self) -> str:
        """URL of the blob folder."""
        return (self.folder / "blobs").as_uri()

    @property
    def launch_policy(self) -> Path:
        """The launch policy's file."""
        return self.folder / "launch-policy.rego"

    @property
    def machine(self) -> Path:
        """Home of the simulated machine."""
        return self.folder / "machine"

    @property
    def running(self) -> bool:
        """Whether every process of the stack runs."""
        return all(is_running(member.process) for member in self.members.values())


def encode_stack(stack: Stack) -> bytes:
    """Return the file's content."""
    value = {
        "version": _VERSION,
        "root": stack.root,
        "members": {name: asdict(member) for name, member in stack.members.items()},
        "vaults": dict(stack.vaults),
    }
    return json.dumps(value, indent=2).encode()


def read_stack(folder: Path) -> Stack:
    """Return the stack of a folder, running or not.

    Raises:
        StackMissingError: when there is none.
        StackError: when its file is damaged.
    """
    try:
        value: dict[str, Any] = json.loads((folder / STACK_FILE).read_bytes())
        if value["version"] != _VERSION:
            raise ValueError(value["version"])
        members = {
            name: Member(Recorded(**item["process"]), item["url"], item["log"])
            for name, item in value["members"].items()
        }
        return Stack(folder, value["root"], members, dict(value["vaults"]))
    except FileNotFoundError:
        raise StackMissingError(f"no stack in {folder}", hint="depa up starts one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"{folder / STACK_FILE} is damaged: {error}") from None
