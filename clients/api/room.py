"""The contract service's client of a clean room."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx2

from clients.api.answers import (
    NonceAnswer,
    Released,
    ReleaseRequest,
    ReportAccepted,
    ReportRequest,
    RunStatus,
)
from clients.api.reading import read_answer
from clients.api.transport import RunToken, Transport
from policies.wire.run import Progress, RunReport


class RoomClient:
    """What a clean room can do for its own run.

    What it is given is proven by the clean room's gate, not here.

    Args:
        url: The service.
        credential: The capability of the run.
        ca_file: PEM of the authority of the service's TLS certificate.
        http: A configured client, such as an ASGI test client.
    """

    def __init__(
        self,
        url: str,
        *,
        credential: RunToken,
        ca_file: Path | None = None,
        http: httpx2.Client | None = None,
    ) -> None:
        self._transport = Transport(url, credential=credential, ca_file=ca_file, http=http)

    def bundle(self, run: str) -> bytes:
        """Return the offline bundle of the run's contract; the caller MUST verify it."""
        return self._transport.get(f"/runs/{run}/bundle")

    def status(self, run: str) -> RunStatus:
        """Return how far the run is."""
        return read_answer(self._transport.get(f"/runs/{run}"), RunStatus)

    def nonce(self, run: str) -> NonceAnswer:
        """Return a challenge for the attested runtime data."""
        return read_answer(self._transport.post(f"/runs/{run}/nonce"), NonceAnswer)

    def release(self, run: str, *, token: str) -> Released:
        """Ask for the keys of the run.

        Raises:
            RefusedError: if evidence or policy say no.
        """
        body = ReleaseRequest(token=token).canonical()
        return read_answer(self._transport.post(f"/runs/{run}/release", body), Released)

    def progress(self, run: str, progress: Progress) -> RunStatus:
        """Tell how far training is."""
        answer = self._transport.post(f"/runs/{run}/progress", progress.canonical())
        return read_answer(answer, RunStatus)

    def report(self, run: str, document: RunReport, statement: bytes) -> ReportAccepted:
        """Report what was done."""
        request = ReportRequest(document=document, statement=base64.b64encode(statement).decode())
        answer = self._transport.post(f"/runs/{run}/report", request.canonical())
        return read_answer(answer, ReportAccepted)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
