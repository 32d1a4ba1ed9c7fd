"""The launch policy of a clean room: which command, variables and code may run in it.

The text has the shape of the confidential computing enforcement policies of Azure Container
Instances. Its SHA-256 is the HOST_DATA of every report, so the text is deterministic and the same
for every contract. Variables that decide whom the clean room trusts are pinned by value: a rule
that is not required may be left out by the host, and a pattern lets it choose.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from policies.errors import EvidenceError

MAX_POLICY_BYTES: Final = 64 * 1024
MEASURED_PACKAGES: Final = ("clients/__init__.py", "clients/api", "ledger", "policies", "trainer")
"""What the clean room's image holds, relative to the folder of the packages."""
TRAINER_COMMAND: Final = ("python", "-m", "trainer.run")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

TRAINER_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DEPA_ATTESTATION_URL": "https://[!-~]{1,1000}",
        "DEPA_CA_FILE": "/[ -~]{1,1000}",
        "DEPA_RUN": "run-[a-z2-7]{26}",
        "DEPA_RUN_TOKEN": "[!-~]{1,1000}",
        "DEPA_SCRATCH": "/[ -~]{1,1000}",
        "DEPA_SERVICE_URL": "https://[!-~]{1,1000}",
        "OMP_NUM_THREADS": "[0-9]{1,3}",
    }
)
"""What the deployer may choose: where things are, never whom to trust."""
ROOT_VARIABLE: Final = "DEPA_ROOT_FINGERPRINT"

_HEAD: Final = """\
package policy

import future.keywords.every
import future.keywords.in

api_version := "0.10.0"
framework_version := "0.2.3"

fragments := []

containers := """
_TAIL: Final = """

allow_properties_access := true
allow_dump_stacks := false
allow_runtime_logging := false
allow_environment_variable_dropping := false
allow_unencrypted_scratch := false
allow_capability_dropping := true

mount_device := data.framework.mount_device
unmount_device := data.framework.unmount_device
mount_overlay := data.framework.mount_overlay
unmount_overlay := data.framework.unmount_overlay
create_container := data.framework.create_container
exec_in_container := data.framework.exec_in_container
exec_external := data.framework.exec_external
shutdown_container := data.framework.shutdown_container
signal_container_process := data.framework.signal_container_process
plan9_mount := data.framework.plan9_mount
plan9_unmount := data.framework.plan9_unmount
get_properties := data.framework.get_properties
dump_stacks := data.framework.dump_stacks
runtime_logging := data.framework.runtime_logging
load_fragment := data.framework.load_fragment
scratch_mount := data.framework.scratch_mount
scratch_unmount := data.framework.scratch_unmount

reason := {"errors": data.framework.errors}
"""


@dataclass(frozen=True)
class LaunchPolicy:
    """What may be launched."""

    layers: tuple[str, ...]
    """Hex digests of the image's layers; locally one, see `measure_packages`."""
    pinned: Mapping[str, str]
    """Variables that must be there with exactly this value."""
    command: tuple[str, ...] = TRAINER_COMMAND
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Variables that may be there, with the RE2 expression of their whole value."""
    stdio: bool = True
    """Whether the host may read what the process prints."""

    def __post_init__(self) -> None:
        for name in (*self.pinned, *self.patterns):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a variable's name")
        both = set(self.pinned) & set(self.patterns)
        if both:
            raise ValueError(f"{sorted(both)} cannot be pinned and left open")
        for expression in self.patterns.values():
            re.compile(expression)

    def render(self) -> str:
        """Return the text of the policy."""
        return _HEAD + json.dumps([self._container()], indent=2, sort_keys=True) + _TAIL

    def host_data(self) -> str:
        """Return the HOST_DATA of what is launched under this policy, in hex."""
        return host_data_of(self.render())

    def verify(self, *, command: tuple[str, ...], environ: Mapping[str, str]) -> None:
        """Raise unless the policy allows this launch.

        Raises:
            EvidenceError: naming the variable or command. Values are not repeated.
        """
        if command != self.command:
            raise EvidenceError("launch.command", expected=list(self.command), got=list(command))
        for name, value in self.pinned.items():
            if environ.get(name) != value:
                raise EvidenceError(
                    f"launch.env.{name}", expected=value, got="another value or none"
                )
        for name, value in environ.items():
            if name in self.pinned:
                continue
            if name not in self.patterns:
                raise EvidenceError(
                    f"launch.env.{name}", expected="a rule that allows it", got="none"
                )
            if not re.fullmatch(self.patterns[name], value):
                raise EvidenceError(
                    f"launch.env.{name}", expected=self.patterns[name], got="another value"
                )

    def _container(self) -> dict[str, Any]:
        pinned = [
            {"pattern": f"{name}={value}", "required": True, "strategy": "string"}
            for name, value in sorted(self.pinned.items())
        ]
        patterns = [
            {"pattern": f"^{name}=({expression})$", "required": False, "strategy": "re2"}
            for name, expression in sorted(self.patterns.items())
        ]
        return {
            "allow_elevated": False,
            "allow_stdio_access": self.stdio,
            "capabilities": {
                kind: []
                for kind in ("ambient", "bounding", "effective", "inheritable", "permitted")
            },
            "command": list(self.command),
            "env_rules": pinned + patterns,
            "exec_processes": [],
            "id": "depa/trainer",
            "layers": list(self.layers),
            "mounts": [],
            "name": "trainer",
            "no_new_privileges": True,
            "seccomp_profile_sha256": "",
            "signals": [],
            "user": {
                "group_idnames": [{"pattern": "", "strategy": "any"}],
                "umask": "0077",
                "user_idname": {"pattern": "", "strategy": "any"},
            },
            "working_dir": "/",
        }


def trainer_policy(root_fingerprint: str, *, root: Path | None = None) -> LaunchPolicy:
    """Return the launch policy of the installed trainer; the same for every contract.

    Args:
        root_fingerprint: Hex SHA-256 of the certificate under which service and log are certified.
        root: Folder that holds the packages, see `measure_packages`.
    """
    return LaunchPolicy(
        layers=(measure_packages(root),),
        pinned={ROOT_VARIABLE: root_fingerprint},
        patterns=TRAINER_VARIABLES,
    )


def host_data_of(text: str) -> str:
    """Return the SHA-256 of a policy's text in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse_launch_policy(text: str) -> LaunchPolicy:
    """Read a policy that `LaunchPolicy.render` wrote.

    Any other text is refused: the machine enforces what it understands, and must not start
    anything under a policy of which it has skipped a line.

    Raises:
        EvidenceError: if the text is not one of ours, byte by byte.
    """
    if len(text) > MAX_POLICY_BYTES or not text.startswith(_HEAD) or not text.endswith(_TAIL):
        raise EvidenceError("launch.policy", expected="a launch policy", got="another text")
    try:
        [container] = json.loads(text[len(_HEAD) : len(text) - len(_TAIL)])
        rules = [(rule["pattern"], rule["strategy"]) for rule in container["env_rules"]]
        policy = LaunchPolicy(
            layers=tuple(container["layers"]),
            command=tuple(container["command"]),
            stdio=container["allow_stdio_access"],
            pinned=dict(rule.split("=", 1) for rule, kind in rules if kind == "string"),
            patterns=dict(_open_rule(rule) for rule, kind in rules if kind == "re2"),
        )
        again = policy.render()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EvidenceError("launch.policy", expected="one container", got="another form") from None
    if again != text:
        raise EvidenceError("launch.policy", expected="the canonical text", got="another one")
    return policy


def measure_packages(root: Path | None = None) -> str:
    """Return the hex SHA-256 over names and contents of the clean room's source files.

    Args:
        root: Folder that holds the packages; by default the one this module was loaded from.
    """
    root = root or packages_root()
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        for path in measured_files(root)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def packages_root() -> Path:
    """Return the folder that holds the installed packages."""
    return Path(__file__).resolve().parents[2]


def measured_files(root: Path) -> list[Path]:
    """Return the files of the clean room's image, in order; compiled code is not among them."""
    found: list[Path] = []
    for name in MEASURED_PACKAGES:
        path = root / name
        found += [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
    return sorted(
        (path for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"),
        key=lambda path: path.relative_to(root).as_posix(),
    )


def _open_rule(rule: str) -> tuple[str, str]:
    name, expression = rule.removeprefix("^").removesuffix(")$").split("=(", 1)
    return name, expression
