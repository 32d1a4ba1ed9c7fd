"""The connection to an OPA server: one host, no detours, a deadline for the whole exchange.

`OpaClient` limits the time between two bytes, follows redirects with the body that it was given,
and takes proxies, passwords and certificate authorities from the environment. Facts about contracts
go to the server that was configured, or nowhere.
"""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import requests
from opa_client.opa import OpaClient
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_CHUNK: Final = 64 * 1024


class Allowance:
    """What is left of time and bytes for one exchange."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        self._bytes = 0

    def begin(self, seconds: float) -> None:
        """Begin an exchange of at most this many seconds."""
        self._until = self._clock() + seconds
        self._bytes = MAX_ANSWER_BYTES

    def seconds(self) -> float:
        """Return how long the next read may take.

        Raises:
            TimeoutError: if the exchange has taken too long.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        return left

    def take(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            OSError: if the answer is too large.
        """
        self._bytes -= size
        if self._bytes < 0:
            raise OSError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")


class _Reader(io.RawIOBase):
    """Reads a socket within an allowance."""

    def __init__(self, sock: socket.socket, allowance: Allowance) -> None:
        super().__init__()
        self._sock, self._allowance = sock, allowance
        self._stream = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._allowance.seconds())
        size = self._stream.readinto(buffer) or 0
        self._allowance.take(size)
        return size

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Socket:
    """A connected socket whose reader keeps to an allowance."""

    def __init__(self, sock: socket.socket, allowance: Allowance) -> None:
        self._sock, self._allowance = sock, allowance

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError(f"mode: expected rb, got {mode}")
        return io.BufferedReader(_Reader(self._sock, self._allowance), _CHUNK)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _pools(allowance: Allowance) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _Socket(self.sock, allowance)

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = _Socket(self.sock, allowance)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


class _Adapter(HTTPAdapter):
    """Sends one request at a time, each within an allowance, and never again."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._allowance = seconds, Allowance(clock)
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._allowance)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self._allowance.begin(self._seconds)
        answer = super().send(*args, **kwargs)
        # Nobody asked for it, and it may unpack to any size.
        if "Content-Encoding" in answer.headers:
            answer.close()
            raise requests.ConnectionError("the answer is compressed")
        return answer


class StrictOpaClient(OpaClient):
    """An `OpaClient` for one thread.

    Args:
        host: Name or address, an IPv6 address in brackets.
        port: TCP port.
        verify: PEM of the authority of the server's certificate, True for the system's roots, None
            for plain HTTP.
        token: Sent as a bearer token; None sends nothing.
        seconds: How long one exchange may take.
    """

    def __init__(
        self, host: str, port: int, *, verify: str | bool | None, token: str | None, seconds: float
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]  # a client without annotations
            host, port, ssl=verify is not None, token=token, timeout=seconds, retries=0
        )
        self._http.verify = True if verify is None else verify

    def _init_session(self) -> requests.Session:
        session = self._http = requests.Session()
        session.trust_env = False
        session.max_redirects = 0
        session.headers.update({"Accept-Encoding": "identity", **(self.headers or {})})
        adapter = _Adapter(self.timeout, time.monotonic)
        session.adapters.clear()
        session.mount(self.schema, adapter)
        return session

    def policies(self) -> Any:
        """Return all policies of the server, with their texts, as parsed JSON."""
        # `get_policies_list` drops the texts, and asks for a path that redirects.
        answer = self._http.get(f"{self.root_url}/policies", timeout=self.timeout)
        answer.raise_for_status()
        return answer.json()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
