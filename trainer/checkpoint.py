"""Checkpoints of a training in progress: sealed, for one run, read by nobody else.

    magic line | length of the header, 4 bytes, big-endian | header, RFC 8785 JSON | Tink ciphertext

The key is made by the clean room for one run, and never leaves its memory; so does the digest of
the newest checkpoint, which is the only one that may be opened. Nothing is written in clear. No
random stream is stored: whoever goes on draws from fresh keys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Final

import tink
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from policies.errors import DepaError
from policies.wire.base import Digest, Document, RunId, sha256
from trainer.messages import Kept
from trainer.sealed.container import HashingWriter
from trainer.sealed.keys import DataKey

_MAGIC: Final = b"depa-checkpoint/1\n"
_LENGTH_BYTES: Final = 4
_VALUES_BYTES: Final = 8
_SUFFIX: Final = ".sealed"


class CheckpointRefused(DepaError):
    """A checkpoint is not the newest one of this run, as it was written."""

    code = "checkpoint-refused"
    exit_code = 4


class _Header(Document):
    """What stands in the clear before a checkpoint, authenticated with it."""

    kind: ClassVar[str] = "header of a checkpoint"

    run: RunId
    pipeline: Digest
    step: int


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, but for random streams."""

    step: int
    tensors: Mapping[str, Tensor] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    """JSON."""


@dataclass(frozen=True)
class Cadence:
    """When a checkpoint is due: after so many steps or seconds, whichever comes first."""

    steps: int = 50
    seconds: float = 30.0
    most: float = 0.05
    """Of the time of training, how much goes into checkpoints at most."""


class Checkpoints:
    """The checkpoints of one run, in a private folder of its clean room."""

    def __init__(
        self,
        folder: Path,
        *,
        run: str,
        pipeline: str,
        key: DataKey,
        on_kept: Callable[[Kept], None],
        cadence: Cadence | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep checkpoints in a folder, which is made if it is missing.

        Args:
            folder: Where they are kept.
            run: Id of the run.
            pipeline: Digest of its pipeline.
            key: The run's own key.
            on_kept: Told which checkpoint is the newest; the one before is removed afterwards.
            cadence: How often.
            clock: Seconds.
        """
        self._folder, self._run, self._pipeline, self._key = folder, run, pipeline, key
        self._on_kept, self._cadence, self._clock = on_kept, cadence or Cadence(), clock
        self._step, self._at, self._cost = 0, clock(), 0.0

    def open(self, kept: Kept) -> State:
        """Return the state that a run goes on from.

        Raises:
            CheckpointRefused: if the file is not exactly that checkpoint of this run.
        """
        if (kept.run, kept.pipeline) != (self._run, self._pipeline):
            raise CheckpointRefused("the checkpoint belongs to another run")
        try:
            data = self._path(kept.step).read_bytes()
        except OSError:
            raise CheckpointRefused(f"there is no checkpoint of step {kept.step}") from None
        if sha256(data) != kept.digest:
            raise CheckpointRefused("the checkpoint is damaged, or an older one")
        state = _read(data, self._header(kept.step), step=kept.step, key=self._key)
        self._step = kept.step
        return state

    def keep_if_due(self, step: int, take: Callable[[], State]) -> None:
        """Seal the state after a step, if it is time; it appears complete or not at all."""
        began, cadence = self._clock(), self._cadence
        waited = began - self._at
        due = step - self._step >= cadence.steps or waited >= cadence.seconds
        if not due or self._cost > cadence.most * waited:
            return
        path = self._path(step)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        digest = _write(path, take(), self._header(step), key=self._key)
        self._on_kept(Kept(run=self._run, pipeline=self._pipeline, step=step, digest=digest))
        for other in self._folder.iterdir():
            if other != path:
                other.unlink()
        self._step, self._at = step, self._clock()
        self._cost = self._at - began

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step}{_SUFFIX}"

    def _header(self, step: int) -> bytes:
        return _Header(run=self._run, pipeline=self._pipeline, step=step).canonical()


def _write(path: Path, state: State, header: bytes, *, key: DataKey) -> str:
    """Seal a state into a file and return the file's digest."""
    values = json.dumps(state.values, allow_nan=False).encode()
    tensors = save({name: _own(value) for name, value in state.tensors.items()})
    scratch = path.with_suffix(".new")
    with scratch.open("wb") as file:
        sink = HashingWriter(file)
        sink.write(_start_of(header))
        with key.primitive().new_encrypting_stream(sink, header) as plain:  # type: ignore[arg-type]  # a RawIOBase is a BinaryIO
            plain.write(len(values).to_bytes(_VALUES_BYTES, "big") + values)
            plain.write(tensors)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)
    return sink.digest()


def _own(value: Tensor) -> Tensor:
    # Tensors that share memory, as tied weights do, are refused by safetensors.
    return value.detach().cpu().contiguous().clone()


def _read(data: bytes, header: bytes, *, step: int, key: DataKey) -> State:
    start = _start_of(header)
    if not data.startswith(start):
        raise CheckpointRefused(f"the checkpoint is not of step {step} of this run")
    try:
        with key.primitive().new_decrypting_stream(BytesIO(data[len(start) :]), header) as stream:
            plain = stream.read()
    except tink.TinkError:
        raise CheckpointRefused("the checkpoint does not open with this run's key") from None
    end = _VALUES_BYTES + int.from_bytes(plain[:_VALUES_BYTES], "big")
    try:
        values = json.loads(plain[_VALUES_BYTES:end])
        tensors = load(plain[end:])
    except (ValueError, SafetensorError):
        raise CheckpointRefused("the checkpoint holds no state") from None
    return State(step, tensors, values)


def _start_of(header: bytes) -> bytes:
    return _MAGIC + len(header).to_bytes(_LENGTH_BYTES, "big") + header
