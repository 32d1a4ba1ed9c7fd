"""The embedded engine: regorus, in this process."""

from __future__ import annotations

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
_MAX_MESSAGE: Final = 500
# regorus numbers the frames of its own stack and names its build machine's files.
_BACKTRACE: Final = "Stack backtrace"


class _Prepared(threading.local):
    """Engines of one thread, by bundle digest; regorus panics on any other thread."""

    def __init__(self) -> None:
        self.engines: OrderedDict[str, Engine] = OrderedDict()


# Of the process: were it of an object, the thread that drops the object would drop the engines of
# all threads, which regorus does not allow either.
_PREPARED: Final = _Prepared()


class RegorusEngine:
    """Evaluates bundles with regorus; safe to share between threads, and works after a fork.

    What is prepared, some 3 MB, depends on the bundle alone: all that differs between contracts is
    in the input. Evaluation has no time limit, so only bundles that somebody has agreed to belong
    in here.
    """

    def __init__(self) -> None:
        self.name: Final = f"regorus-{version('gordon-to-regorus')}"

    def evaluate(self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes) -> Verdict:
        """Return the value of `data.depa.<entrypoint>.decision`; see `PolicyEngine`."""
        try:
            engine = _prepare(bundle)
            engine.set_input_json(document.decode("utf-8"))
            result: str = engine.eval_rule_as_json(f"data.depa.{entrypoint}.decision")
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        # A panic in Rust is a BaseException, and must deny like every other error.
        except BaseException as error:  # noqa: BLE001
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


def _clean(error: BaseException) -> str:
    """Return the first part of a message, without frames and source excerpts."""
    text = str(error).partition(_BACKTRACE)[0]
    lines = [line.strip() for line in text.splitlines()]
    reason = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    place = [line.removeprefix("-->").strip() for line in lines if line.startswith("-->")]
    message = "; ".join(reason) or type(error).__name__
    return (message + (f" at {place[-1]}" if place else ""))[:_MAX_MESSAGE]
