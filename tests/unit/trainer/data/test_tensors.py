from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainer.data.errors import DataError
from trainer.data.tensors import read_tensors


def encoded(header: Any, body: bytes = b"") -> bytes:
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(data).to_bytes(8, "little") + data + body


def entry(dtype: str, shape: list[int], begin: int, stop: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, stop]}


@given(
    shapes=st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(["f2", "f4", "f8", "u1", "i1", "u2", "i8", "?"]),
            st.lists(st.integers(0, 4), max_size=4),
        ),
        min_size=1,
        max_size=4,
    ),
    metadata=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
def test_arrays_are_read_as_the_formats_own_library_reads_them(
    shapes: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None
) -> None:
    arrays = {
        name: np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)
        for name, (dtype, shape) in shapes.items()
    }
    data = save(arrays, metadata)
    found, expected = read_tensors("x", data), load(data)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_an_array_is_a_view_of_the_bytes_and_one_across_words_is_not() -> None:
    data = bytearray(save({"a": np.zeros(4, np.float32)}))
    odd = {"a": entry("U8", [1], 0, 1), "b": entry("F32", [1], 1, 5)}
    (array,) = read_tensors("x", memoryview(data)).values()
    data[-1] = 0x40
    assert array[3] == 2.0
    apart = read_tensors("x", encoded(odd, b"\0" + np.float32(3).tobytes()))["b"]
    assert apart[0] == 3
    assert apart.flags.aligned


GOOD = entry("U8", [2], 0, 2)
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "no header": b"\0" * 7,
    "a header that is cut off": (9).to_bytes(8, "little") + b"{}",
    "a header beyond all sizes": b"\xff" * 8 + b"{}",
    "no JSON": encoded(b"no"),
    "another JSON": encoded([]),
    "a name twice": encoded(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"1",
    ),
    "metadata that are no texts": encoded({"__metadata__": {"a": 1}, "a": GOOD}, b"12"),
    "metadata that are no object": encoded({"__metadata__": 1, "a": GOOD}, b"12"),
    "an unknown type": encoded({"a": entry("X8", [2], 0, 2)}, b"12"),
    "another field": encoded({"a": {**GOOD, "more": 1}}, b"12"),
    "a negative side": encoded({"a": entry("U8", [-2, -1], 0, 2)}, b"12"),
    "a side that is no whole number": encoded({"a": {**GOOD, "shape": [2.0]}}, b"12"),
    "a negative offset": encoded({"a": entry("U8", [2], -2, 0)}, b"12"),
    "offsets the wrong way round": encoded({"a": entry("U8", [2], 2, 0)}, b"12"),
    "another size than the shape's": encoded({"a": entry("F16", [2], 0, 2)}, b"12"),
    "a gap before": encoded({"a": entry("U8", [1], 1, 2)}, b"12"),
    "an overlap": encoded({"a": GOOD, "b": entry("U8", [2], 1, 3)}, b"123"),
    "an end that is cut off": encoded({"a": GOOD}, b"1"),
    "bytes after the end": encoded({"a": GOOD}, b"123"),
    "an empty shape beyond all sizes": encoded({"a": entry("U8", [0, 2**62, 2**62], 0, 0)}),
    "a shape beyond all sizes": encoded({"a": entry("U8", [2**62, 2**62], 0, 2)}, b"12"),
}
STRICTER = {"another field", "a name twice", "an empty shape beyond all sizes"}
"""The library takes these."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_safetensors_file_is_refused_as_by_its_own_library(name: str) -> None:
    with pytest.raises(DataError, match=r"^p1: "):
        read_tensors("p1", REFUSED[name])
    if name not in STRICTER:
        with pytest.raises(SafetensorError):
            load(REFUSED[name])
