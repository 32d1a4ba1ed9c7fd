"""The server engine: an OPA that holds exactly the bundle that judges.

The texts of its policies are read back and hashed before the first decision, every few minutes, and
whenever the server has shown another revision; every answer must carry the bundle's digest as the
revision. There is no other engine to fall back to: whatever is wrong denies.
"""

from __future__ import annotations

import json
import re
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr, ValidationError

from clients.api.opa_http import StrictOpaClient
from policies.bundle import Bundle
from policies.engine import Verdict
from policies.errors import (
    DocumentError,
    PolicyError,
    PolicyMismatchError,
    PolicyUnavailableError,
    Problem,
)
from policies.wire.base import sha256
from policies.wire.decision import Entrypoint

READ_AGAIN_SECONDS: Final = 300.0
_PARAMS: Final = {"strict-builtin-errors": True, "provenance": True}
_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_VERSION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OURS: Final = re.compile(r"^\s*package\s+depa\b", re.MULTILINE)
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class OpaEngine:
    """Evaluates one bundle on an OPA server that has loaded it; safe to share between threads.

    Args:
        url: `https://host[:port]`, or `http://` of this machine itself.
        ca_file: PEM of the authority of the server's certificate; the system's roots without one.
        token: Bearer token that the server asks for.
        seconds: How long one exchange may take.
        clock: Monotonic seconds.

    Raises:
        DocumentError: if the URL, the authority or the token is not of this kind.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: Path | None = None,
        token: SecretStr | None = None,
        seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheme, self._host, self._port = _address(url)
        self._verify = _authority(ca_file) if self._scheme == "https" else None
        self._token, self._seconds, self._clock = _checked(token), seconds, clock
        self._local, self._lock = threading.local(), threading.Lock()
        self._clients: weakref.WeakSet[StrictOpaClient] = weakref.WeakSet()
        self._version = ""
        self._held: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        """Name and version, as decisions record it."""
        return f"opa-{self._version}" if self._version else "opa"

    def require(self, bundle: Bundle) -> None:
        """Check that the server holds this bundle, and denies what is empty.

        Raises:
            PolicyError: if it does not; see `evaluate`.
        """
        if self.evaluate(bundle, entrypoint="contract", document=b"{}").allow:
            raise PolicyError("the policy server allows a contract about which it was told nothing")

    def evaluate(
        self, bundle: Bundle, *, entrypoint: Entrypoint, document: bytes, terms: bytes = b""
    ) -> Verdict:
        """Return the value of `data.depa.<entrypoint>.decision`; see `PolicyEngine`."""
        del terms
        self._hold(bundle)
        answer = self._ask(
            lambda client: client.query_rule(
                json.loads(document), f"depa/{entrypoint}", "decision", _PARAMS
            )
        )
        if "result" not in answer:
            raise PolicyError(f"policy {entrypoint}: expected a decision, got no result")
        self._identify(answer, bundle)
        try:
            return Verdict.model_validate_json(json.dumps(answer["result"]))
        except (ValidationError, ValueError):
            raise PolicyError(
                f"policy {entrypoint}: expected a decision, got another shape"
            ) from None

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for client in self._clients:
                client.close()
            self._clients.clear()
            self._local = threading.local()

    def _hold(self, bundle: Bundle) -> None:
        now, held = self._clock(), self._held
        if held is not None and held[0] == bundle.digest and now - held[1] < READ_AGAIN_SECONDS:
            return
        try:
            check_policies(self._ask(lambda client: client.policies()), bundle)
        except PolicyError:
            if held is not None and held[0] == bundle.digest:
                self._held = None
            raise
        self._held = (bundle.digest, now)

    def _identify(self, answer: dict[str, Any], bundle: Bundle) -> None:
        provenance = answer.get("provenance")
        bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
        found = list(bundles.values()) if isinstance(bundles, dict) else []
        revisions = [item.get("revision") if isinstance(item, dict) else None for item in found]
        if revisions != [bundle.digest]:
            # Whatever it says next, its texts are read again before it is believed.
            self._held = None
            got = ", ".join(str(item)[:100] for item in revisions) or "none"
            raise PolicyMismatchError(
                f"policy server: expected a bundle of revision {bundle.digest}, got {got}",
                hint="start it with the bundle that the contract names: depa policy build",
            )
        version = provenance.get("version") if isinstance(provenance, dict) else None
        if isinstance(version, str) and _VERSION.fullmatch(version):
            self._version = version

    def _ask(self, question: Callable[[StrictOpaClient], Any]) -> dict[str, Any]:
        try:
            answer = question(self._client())
        except requests.JSONDecodeError:
            raise PolicyError("policy server: expected JSON, got something else") from None
        except requests.HTTPError as error:
            raise _refusal(0 if error.response is None else error.response.status_code) from None
        except requests.TooManyRedirects:
            raise PolicyUnavailableError(
                "policy server: expected an answer, got a redirect", hint="name its own address"
            ) from None
        except (requests.RequestException, OSError) as error:
            raise PolicyUnavailableError(
                f"policy server {self._host}:{self._port} does not answer: {type(error).__name__}",
                hint="check its address, its certificate's authority and that it runs",
            ) from None
        # A JSON text of another encoding or of great depth, for one.
        except (ValueError, RecursionError):
            raise PolicyError("policy server: expected JSON, got something else") from None
        if not isinstance(answer, dict):
            raise PolicyError(f"policy server: expected an object, got {type(answer).__name__}")
        return answer

    def _client(self) -> StrictOpaClient:
        client: StrictOpaClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = StrictOpaClient(
                self._host,
                self._port,
                verify=self._verify,
                token=None if self._token is None else self._token.get_secret_value(),
                seconds=self._seconds,
            )
            with self._lock:
                self._clients.add(client)
        return client


def check_policies(answer: dict[str, Any], bundle: Bundle) -> None:
    """Check the policies of a server against a bundle: the same texts, and no others of ours.

    Raises:
        PolicyError: if the answer is no list of policies.
        PolicyMismatchError: if it is another list.
    """
    listed = answer.get("result")
    if not isinstance(listed, list):
        raise PolicyError("policy server: expected a list of policies, got another shape")
    texts = [item["raw"] for item in listed if isinstance(item, dict) and _has_text(item)]
    if len(texts) != len(listed):
        raise PolicyError("policy server: expected the text of each policy, got another shape")
    expected = Counter(sha256(text.encode()) for text in bundle.rules.values())
    got = Counter(sha256(text.encode()) for text in texts if _OURS.search(text))
    missing, strange = (expected - got).total(), (got - expected).total()
    if missing or strange:
        raise PolicyMismatchError(
            f"policy server: expected the {expected.total()} texts of {bundle.digest}, "
            f"got them without {missing} and with {strange} others",
            hint="start it with the bundle that the contract names: depa policy build",
        )


def _has_text(item: dict[str, Any]) -> bool:
    return isinstance(item.get("raw"), str)


def _refusal(status: int) -> PolicyError:
    if status in _REFUSED:
        return PolicyUnavailableError(
            f"policy server: refuses to be asked, HTTP {status}", hint="check its token"
        )
    if status == HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.INTERNAL_SERVER_ERROR:
        # Its text may hold values of the input.
        return PolicyError(f"policy server: could not evaluate the policy, HTTP {status}")
    return PolicyUnavailableError(f"policy server: cannot be asked now, HTTP {status}")


def _address(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _setting("is not a URL") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host:
        raise _setting("expected https://host:port, or http:// of this machine")
    if parts.username or parts.password or parts.path not in {"", "/"} or parts.query:
        raise _setting("expected scheme, host and port alone")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _setting(f"expected https, since {host} is not this machine")
    return parts.scheme, f"[{host}]" if ":" in host else host, port or _PORTS[parts.scheme]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authority(ca_file: Path | None) -> str | bool:
    if ca_file is None:
        return True
    if not ca_file.is_file():
        raise DocumentError("policy server", [Problem("/ca", f"{ca_file} is not a file")])
    return str(ca_file)


def _checked(token: SecretStr | None) -> SecretStr | None:
    if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
        message = "expected visible ASCII characters without a blank"
        raise DocumentError("policy server", [Problem("/token", message)])
    return token


def _setting(message: str) -> DocumentError:
    return DocumentError("policy server", [Problem("/url", message)])
