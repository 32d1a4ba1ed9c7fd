"""One run of the clean room: verify, attest, obtain keys, unseal, train, seal, report.

Started as `python -m trainer.run`, once for each run. Standard output carries one JSON line a step,
public values only; standard error carries one line if something is refused. The exit code is 0 only
if the model was sealed and the report is on the log.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from clients.api.answers import Released
from clients.api.errors import ClientError, NetworkError
from clients.api.release import verify_release
from clients.api.room import RoomClient
from clients.api.transport import RunToken
from ledger.errors import LedgerError
from policies.agreement import Agreement
from policies.dossier import RecordRefused
from policies.engine.workers import shared_workers
from policies.errors import DepaError
from policies.releases import shipped_policies
from policies.wire.run import Progress
from trainer import gate
from trainer.faults import HINTS, INTERNAL, reason_of
from trainer.gate import Attested
from trainer.keys import UnwrapError, unwrap_key
from trainer.report import Reporter, sign_report
from trainer.room import Room
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import OctKek, OpeningKek, RsaPrivateKek
from trainer.tee.detect import open_tee
from trainer.work import Work

PUBLIC = (SealedError, RecordRefused, UnwrapError, ClientError, LedgerError)
"""Failures before any plaintext is read; their messages may leave the room."""
_PUBLISH_SECONDS = 1.0
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stopped(DepaError):
    """The host asked the clean room to end."""

    code = "stopped"
    exit_code = 130


class RunFailed(DepaError):
    """The run ended after private data was opened; only the kind of failure leaves the room."""

    code = "run-failed"
    exit_code = 4

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the run failed: {reason}",
            hint=HINTS.get(reason, "the run's report says what was charged"),
        )
        self.reason = reason


def run(room: Room, environ: Mapping[str, str]) -> None:
    """Execute one run.

    Raises:
        DepaError: whatever was refused; keys that went out are accounted for by a failure report.
        LedgerError: when the service's record does not verify.
    """
    started, started_at = time.monotonic(), int(time.time())
    service = RoomClient(
        room.service_url, credential=RunToken(room.run_token), ca_file=room.ca_file
    )
    reporter = Reporter(
        say=_Publisher(service, run=room.run), seconds=lambda: time.monotonic() - started
    )
    reporter.phase("verifying")
    agreement = gate.verify(
        service.bundle(room.run), room=room, policies=shipped_policies(), now=int(time.time())
    )
    # Providers' rules are not asked again, and nothing of theirs runs beside keys.
    shared_workers().close()
    reporter.phase("attesting")
    attested = gate.attest(
        agreement, room=room, tee=open_tee(environ), nonce=service.nonce(room.run).nonce
    )
    released = service.release(room.run, token=attested.token)
    work = Work(agreement, scratch=room.scratch, reporter=reporter)
    outcome, reason = None, INTERNAL
    try:
        gate.confirm(
            service.bundle(room.run),
            room=room,
            agreement=agreement,
            attested=attested,
            now=int(time.time()),
        )
        outcome = work.do(_keks(released, room=room, agreement=agreement, attested=attested))
    except Exception as error:
        reason = reason_of(error)
        if _is_public(error):
            raise
        raise RunFailed(reason) from None
    finally:
        _heed_no_more()
        work.reporter.phase("reporting")
        document, statement = sign_report(
            outcome or work.outcome(reason),
            agreement=agreement,
            attested=attested,
            started_at=started_at,
            finished_at=int(time.time()),
        )
        service.report(room.run, document, statement)


class _Publisher:
    """Prints progress, and posts it now and then; training does not wait for a lost connection."""

    def __init__(self, service: RoomClient, *, run: str) -> None:
        self._service, self._run = service, run
        self._phase, self._posted_at = "", 0.0

    def __call__(self, progress: Progress) -> None:
        sys.stdout.write(json.dumps(progress.to_json()) + "\n")
        sys.stdout.flush()
        now = time.monotonic()
        if progress.phase == self._phase and now - self._posted_at < _PUBLISH_SECONDS:
            return
        self._phase, self._posted_at = progress.phase, now
        with suppress(NetworkError):
            self._service.progress(self._run, progress)


def _keks(
    released: Released, *, room: Room, agreement: Agreement, attested: Attested
) -> dict[str, OpeningKek]:
    answers = {(key.vault, key.name): key.value for key in released.keys}
    keks: dict[str, OpeningKek] = {}
    for item in agreement.files:
        answer = answers.get((item.key.vault, item.key.name))
        if answer is None:
            raise RecordRefused(f"no key was released for {item.id}")
        wrapped = verify_release(
            answer,
            vault_url=item.key.vault,
            name=item.key.name,
            nonce=attested.nonce,
            now=datetime.now(UTC),
            ca_file=room.ca_file,
        )
        secret = unwrap_key(wrapped, key=attested.keys.release)
        keks[item.id] = (
            OctKek(item.key.name, secret)
            if isinstance(secret, bytes)
            else RsaPrivateKek(item.key.name, secret)
        )
    return keks


def _is_public(error: Exception) -> bool:
    # Names of files inside a sealed archive are the provider's.
    named = isinstance(error, SealedError) and error.reason is SealReason.ARCHIVE
    return isinstance(error, PUBLIC) and not named


def _heed_no_more() -> None:
    # Told once is enough: the report must still reach the log.
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    del frame
    _heed_no_more()
    raise Stopped(f"ended by signal {signum}")


def main() -> int:
    """Run what the environment says and return the exit code."""
    for number in _STOPPING:
        signal.signal(number, _stop)
    scratch: Path | None = None
    try:
        room = Room.from_environment(os.environ)
        scratch = room.scratch
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        run(room, os.environ)
    except (DepaError, LedgerError) as error:
        told = {"error": error.code, "message": str(error), "hint": error.hint}
        sys.stderr.write(json.dumps(told) + "\n")
        return error.exit_code
    else:
        return 0
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
