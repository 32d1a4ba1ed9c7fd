"""Arrays in the safetensors format, read where they lie.

    length of the header, 8 bytes, little-endian | header, JSON | arrays, one after the other

The format's own library reads files from a disk, or copies what it reads. What it would refuse is
refused here too.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from policies.errors import DocumentError
from policies.wire.base import load_json
from trainer.data.errors import DataError

_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 1024**2
_METADATA: Final = "__metadata__"
_TYPES: Final = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


class _Entry(BaseModel):
    """Where an array lies, in names of the format."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    dtype: Literal[
        "BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"
    ]
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    data_offsets: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


_HEADER: Final = TypeAdapter(dict[str, _Entry])
_METADATA_TEXTS: Final = TypeAdapter(dict[str, str])


def read_tensors(name: str, data: bytes | memoryview) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file by their names; they are views of `data`.

    Args:
        name: What a refusal calls the file.
        data: All of it.

    Raises:
        DataError: when it is no such file, or holds anything else.
    """
    view = memoryview(data)
    length = int.from_bytes(view[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if len(view) < start or length > _MAX_HEADER_BYTES:
        raise DataError(f"{name}: is no safetensors file, or it is cut off")
    entries = _entries(name, bytes(view[_LENGTH_BYTES:start]))
    body, end = view[start:], 0
    arrays: dict[str, NDArray[Any]] = {}
    for key, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype = np.dtype(_TYPES[entry.dtype])
        begin, stop = entry.data_offsets
        # Without gaps or overlaps, so that every byte is some array's.
        if begin != end or stop - begin != math.prod(entry.shape) * dtype.itemsize:
            raise DataError(f"{name}: {key} lies at {begin} to {stop}, which does not fit")
        if stop > len(body):
            raise DataError(f"{name}: ends before {key} does")
        try:
            array = np.frombuffer(body[begin:stop], dtype).reshape(entry.shape)
        except (ValueError, OverflowError):
            raise DataError(f"{name}: {key} has a shape beyond all sizes") from None
        # One that lies across words is copied.
        arrays[key] = np.require(array, requirements="A")
        end = stop
    if end != len(body):
        raise DataError(f"{name}: {len(body) - end} bytes belong to no array")
    return arrays


def _entries(name: str, header: bytes) -> dict[str, _Entry]:
    try:
        value = load_json(header, kind="header", limit=_MAX_HEADER_BYTES)
        if isinstance(value, dict):
            _METADATA_TEXTS.validate_python(value.pop(_METADATA, {}), strict=True)
        # Lists are tuples in JSON only.
        return _HEADER.validate_json(json.dumps(value))
    except (DocumentError, ValidationError):
        raise DataError(f"{name}: its header is none of the safetensors format") from None
