"""OPA itself, in a process of its own: what the embedded engine is compared with."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from policies.bundle import Bundle

ROOT: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = ROOT / ".venv-oracle" / "bin" / "python"
VERSION: Final = "1.20.2"


class OpaFailed(Exception):
    """OPA raised an error, which denies."""


class OpaUndefined(KeyError):
    """There is no such value."""


class Oracle:
    """One OPA with one bundle; asked by one thread at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lock = process, threading.Lock()

    def load(self, archive: Path) -> None:
        """Load a bundle from its archive, instead of what was loaded."""
        self._ask({"archive": str(archive)})

    def evaluate(self, path: str, value: Any) -> Any:
        """Return the value of a dotted path under `data`, over an input.

        Raises:
            OpaUndefined: If it has none.
            OpaFailed: If OPA fails.
        """
        return self._ask({"path": path, "input": value})

    def _ask(self, question: dict[str, Any]) -> Any:
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        with self._lock:
            writer.write(json.dumps(question) + "\n")
            writer.flush()
            answer = json.loads(reader.readline())
        if answer.get("error") == "undefined":
            raise OpaUndefined(question["path"])
        if "error" in answer:
            raise OpaFailed(f"{answer['error']}: {answer['message']}")
        return answer["value"]


@contextmanager
def running_opa(bundle: Bundle, folder: Path) -> Iterator[Oracle]:
    """Run OPA with a bundle, loaded from its archive in `folder`."""
    if not PYTHON.exists():
        raise FileNotFoundError(f"{PYTHON} is not there; `make test-all` makes it")
    archive = folder / "bundle.tar.gz"
    archive.write_bytes(bundle.pack())
    process = subprocess.Popen(
        [str(PYTHON), "-I", str(Path(__file__).with_name("worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={},
    )
    with process:
        oracle = Oracle(process)
        try:
            oracle.load(archive)
            yield oracle
        finally:
            process.terminate()
