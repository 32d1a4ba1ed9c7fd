"""A policy server that speaks OPA's REST API, as recorded from OPA 1.9, over our own engine.

It is what the adapter is tested against where no `opa` is installed, and the only one that can be
told to break. It knows the paths that the adapter asks, and answers all others as OPA does.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from regorus import Engine

from policies.bundle import Bundle

VERSION: Final = "1.20.2"
Evaluate = Callable[[Bundle, str, Any], Any]
"""Value of a dotted path under `data` over an input; KeyError where it is undefined."""


def with_regorus(bundle: Bundle, path: str, value: Any) -> Any:
    """Evaluate with the embedded engine."""
    engine = Engine()
    for name, text in bundle.rules.items():
        engine.add_policy(name, text)
    engine.set_input_json(json.dumps(value))
    try:
        found = engine.eval_rule_as_json(f"data.{path}")
    except Exception as error:
        if "not a valid rule path" in str(error):
            raise KeyError(path) from None
        raise
    if found == '"<undefined>"':
        raise KeyError(path)
    return json.loads(found)


@dataclass
class OpaServer:
    """A server and what a test may bend about it."""

    bundle: Bundle
    evaluate: Evaluate = with_regorus
    texts: Mapping[str, str] | None = None
    """Policies that it lists instead of the bundle's."""
    revision: str | None = None
    """Revision that it shows instead of the bundle's digest."""
    bundles: Mapping[str, Any] | None = None
    """All bundles that it shows instead of one."""
    token: str | None = None
    malfunction: str | None = None
    """How it breaks when it is asked for a decision, see `MALFUNCTIONS`."""
    result: Any = None
    """What it says that it decided, with the malfunction `result`."""
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        """Return status and document of an answer."""
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if (method, parts.path) == ("GET", "/v1/policies"):
            return 200, {"result": self._policies()}
        if method == "POST" and parts.path.startswith("/v1/data/"):
            return self._data(parts.path.removeprefix("/v1/data/"), query, body)
        if (method, parts.path) == ("GET", "/health"):
            return 200, {}
        return 404, {"code": "resource_not_found", "message": f"storage_not_found_error: {target}"}

    def _policies(self) -> list[dict[str, Any]]:
        texts = self.bundle.rules if self.texts is None else self.texts
        return [{"id": f"bundle/{p}", "raw": text, "ast": {}} for p, text in texts.items()]

    def _data(self, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        asked, answer = json.loads(body), dict[str, Any]()
        if query.get("provenance", "").lower() == "true":
            answer["provenance"] = {"version": VERSION, "bundles": self._shown()}
        if "input" not in asked:
            answer["warning"] = {"code": "api_usage_warning", "message": "'input' key missing"}
        try:
            answer["result"] = self.evaluate(
                self.bundle, path.replace("/", "."), asked.get("input", {})
            )
        except KeyError:
            return 200, answer
        except Exception:  # noqa: BLE001  (whatever it is, OPA says 500)
            if query.get("strict-builtin-errors", "").lower() != "true":
                return 200, answer
            return 500, EVALUATION_ERROR
        return 200, answer

    def _shown(self) -> Mapping[str, Any]:
        if self.bundles is not None:
            return self.bundles
        return {"bundle.tar.gz": {"revision": self.revision or self.bundle.digest}}


EVALUATION_ERROR: Final = {
    "code": "internal_error",
    "message": "error(s) occurred while evaluating query",
    "errors": [
        {
            "code": "eval_builtin_error",
            "message": "div: divide by zero: s3cret of the input",
            "location": {"file": "depa/contract/data.rego", "row": 3, "col": 2},
        }
    ],
}
_UNAUTHORIZED: Final = b'{"code":"unauthorized","message":"request rejected by policy"}'


_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWERS: Final[Mapping[str, tuple[int, bytes, Mapping[str, str]]]] = {
    "empty": (200, b"{}", {}),
    "evaluation error": (500, json.dumps(EVALUATION_ERROR).encode(), {}),
    "bad request": (400, b'{"code":"invalid_parameter"}', {}),
    "unauthorized": (401, _UNAUTHORIZED, {}),
    "forbidden": (403, _UNAUTHORIZED, {}),
    "starting": (503, b'{"code":"unavailable"}', {}),
    "not JSON": (200, b"<html>", {}),
    "not UTF-8": (200, b'{"result":"\xff"}', {}),
    "not an object": (200, b"[true]", {}),
    "too deep": (200, b"[" * 200_000, {}),
    "not a number": (200, b'{"result":NaN}', {}),
    "cut off": (200, b"{}", {"Content-Length": "2000", "Connection": "close"}),
    "compressed": (200, b"{}", {"Content-Encoding": "gzip"}),
    "huge": (200, b" " * (17 * 1024 * 1024), {}),
    "redirect": (307, b"", {"Location": "/elsewhere"}),
    "moved": (301, b"", {"Location": "/health"}),
}
"""Malfunctions that are one answer."""
MALFUNCTIONS: Final = (*ANSWERS, "undefined", "result", "hang", "slow head", "slow body")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        opa = self.server.opa
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        opa.asked.append((self.command, self.path))
        if opa.token is not None and self.headers.get("Authorization") != f"Bearer {opa.token}":
            self._send(401, _UNAUTHORIZED, {})
        elif self.command == "POST" and opa.malfunction is not None:
            self._break(opa, body)
        else:
            self._answer(*opa.answer(self.command, self.path, body))

    def _break(self, opa: OpaServer, body: bytes) -> None:
        if opa.malfunction in ANSWERS:
            self._send(*ANSWERS[opa.malfunction])
        elif opa.malfunction == "hang":
            self._drip(b"")
        elif opa.malfunction == "slow head":
            self._drip(_HEAD + b"X-Slow: ")
        elif opa.malfunction == "slow body":
            self._drip(_HEAD + b"Content-Length: 100000\r\n\r\n")
        else:
            status, document = opa.answer(self.command, self.path, body)
            document.pop("result")
            decided = {"result": opa.result} if opa.malfunction == "result" else {}
            self._answer(status, document | decided)

    def _answer(self, status: int, document: Any) -> None:
        self._send(status, json.dumps(document).encode(), {})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        if headers.get("Connection") == "close":
            self.close_connection = True
        self.send_response(status)
        fixed = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, begin: bytes) -> None:
        self.close_connection = True
        self.wfile.write(begin)
        while not self.server.opa.stopped.wait(0.05):
            if begin:
                self.wfile.write(b" ")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, opa: OpaServer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.opa = opa
        scheme = "http" if tls is None else "https"
        opa.url = f"{scheme}://127.0.0.1:{self.server_port}"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients that go away early are what is tested."""


@contextmanager
def serving(opa: OpaServer, *, tls: ssl.SSLContext | None = None) -> Iterator[OpaServer]:
    """Serve until the block ends."""
    with _Server(opa, tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield opa
        finally:
            opa.stopped.set()
            server.shutdown()
            thread.join()
