"""The embedded engine: regorus, in this process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from importlib.metadata import version
from typing import Final

from pydantic import ValidationError
from regorus import Engine  # type: ignore[attr-defined]  # an extension module without stubs

from policies.bundle import Bundle
from policies.engine.protocol import Verdict
from policies.errors import PolicyError
from policies.wire.decision import Entrypoint

_MAX_PREPARED: Final = 4
_MAX_VERDICTS: Final = 2048
"""Contracts whose terms a thread remembers; an entry that denies nothing has about 500 bytes."""
_MAX_VERDICT_BYTES: Final = 16 * 1024
_TERMS_RULE: Final = "data.depa.agreed.verdict"
_TERMS_FILE: Final = "depa/agreed/verdict.rego"
_JUDGES_TERMS: Final = frozenset({"contract", "training", "release"})
_MAX_MESSAGE: Final = 500
# regorus numbers the frames of its own stack and names its build machine's files.
_BACKTRACE: Final = "Stack backtrace"


class _Prepared(threading.local):
    """What one thread has prepared; regorus panics on any other thread."""

    def __init__(self) -> None:
        self.engines: OrderedDict[str, Engine] = OrderedDict()
        """By bundle digest."""
        self.verdicts: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        """What `depa.agreed` says, as JSON, by bundle digest and SHA-256 of the terms."""


# Of the process: were it of an object, the thread that drops the object would drop the engines of
# all threads, which regorus does not allow either.
_PREPARED: Final = _Prepared()


class RegorusEngine:
    """Evaluates bundles with regorus; safe to share between threads, and works after a fork.

    A bundle is prepared once a thread, some 3 MB. What `depa.agreed` says about a contract depends
    on nothing but its terms, for it is shown nothing else; it is asked once a thread too, and its
    answer handed on as `input.prepared`. Evaluation has no time limit, so only bundles that
    somebody has agreed to belong in here.
    """

    def __init__(self) -> None:
        self.name: Final = f"regorus-{version('gordon-to-regorus')}"

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> Verdict:
        """Return the value of `data.depa.<entrypoint>.decision`; see `PolicyEngine`."""
        try:
            result = _answer(bundle, entrypoint, document, terms)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        # A panic in Rust is a BaseException, and must deny like every other error.
        except BaseException as error:  # noqa: BLE001
            # Its frames hold the engine, which no thread but this one may drop.
            error.__traceback__ = None
            _PREPARED.engines.pop(bundle.digest, None)
            raise PolicyError(
                f"policy {entrypoint} could not be evaluated: {_clean(error)}",
                hint="report this with the digests of policy and input",
            ) from None
        try:
            return Verdict.model_validate_json(result)
        except ValidationError:
            raise PolicyError(
                f"policy {entrypoint}: expected a decision, got no result or another shape"
            ) from None


def _answer(bundle: Bundle, entrypoint: Entrypoint, document: bytes, terms: bytes) -> str:
    engine = _prepare(bundle)
    if terms and entrypoint in _JUDGES_TERMS and _TERMS_FILE in bundle.files:
        verdict = _verdict(engine, bundle, terms)
        document = b'{"prepared":' + verdict + b"," + document[1:]
    engine.set_input_json(document.decode("utf-8"))
    result: str = engine.eval_rule_as_json(f"data.depa.{entrypoint}.decision")
    return result


def _prepare(bundle: Bundle) -> Engine:
    engines = _PREPARED.engines
    if bundle.digest in engines:
        engines.move_to_end(bundle.digest)
        return engines[bundle.digest]
    engine = Engine()
    for path, text in bundle.rules.items():
        engine.add_policy(path, text)
    engines[bundle.digest] = engine
    if len(engines) > _MAX_PREPARED:
        engines.popitem(last=False)
    return engine


def _verdict(engine: Engine, bundle: Bundle, terms: bytes) -> bytes:
    verdicts, key = _PREPARED.verdicts, (bundle.digest, hashlib.sha256(terms).digest())
    if key in verdicts:
        verdicts.move_to_end(key)
        return verdicts[key]
    judging = json.dumps({"digest": bundle.digest, "version": bundle.version})
    engine.set_input_json(f'{{"bundle":{judging},"contract":{terms.decode("utf-8")}}}')
    found: bytes = engine.eval_rule_as_json(_TERMS_RULE).encode("utf-8")
    if len(found) <= _MAX_VERDICT_BYTES:
        verdicts[key] = found
        if len(verdicts) > _MAX_VERDICTS:
            verdicts.popitem(last=False)
    return found


def _clean(error: BaseException) -> str:
    """Return the first part of a message, without frames and source excerpts."""
    text = str(error).partition(_BACKTRACE)[0]
    lines = [line.strip() for line in text.splitlines()]
    reason = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    place = [line.removeprefix("-->").strip() for line in lines if line.startswith("-->")]
    message = "; ".join(reason) or type(error).__name__
    return (message + (f" at {place[-1]}" if place else ""))[:_MAX_MESSAGE]
