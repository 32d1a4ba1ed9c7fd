"""Evaluates policies with OPA itself; runs in the environment of `requirements.txt` alone.

Reads JSON lines on standard input and answers each with one on standard output: first a bundle
archive by its path, then questions of an entrypoint and an input.
"""

from __future__ import annotations

import json
import sys
import tarfile

from opa_bindings import OpaEngine, OpaError


def load(path: str) -> OpaEngine:
    """Return an engine with the policies of an archive."""
    engine = OpaEngine()
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".rego"):
                content = archive.extractfile(member)
                assert content is not None
                engine.add_policy(member.name, content.read().decode())
    return engine


def main() -> None:
    """Answer until standard input ends."""
    engine = OpaEngine()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "archive" in asked:
                engine = load(asked["archive"])
                answer = {"value": engine.eval_document("", {}) is not None}
            else:
                answer = {"value": engine.eval_document(asked["path"], asked["input"])}
        except OpaError as error:
            answer = {"error": error.code, "message": error.message[:500]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
