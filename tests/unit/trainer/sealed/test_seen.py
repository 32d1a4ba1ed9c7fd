from __future__ import annotations

import os

from trainer.sealed.seen import SeenSegments


def test_a_segment_is_known_again_under_its_number_only() -> None:
    seen = SeenSegments()
    segments = [os.urandom(1000), os.urandom(1000), b""]
    for segment in segments:
        seen.add(segment)
    assert len(seen) == 3
    for number in range(3):
        found = [seen.holds(number, segment) for segment in segments]
        assert found == [other == number for other in range(3)]


def test_a_segment_with_one_bit_changed_or_cut_off_is_another_one() -> None:
    seen = SeenSegments()
    segment = os.urandom(1024**2)
    seen.add(segment)
    for at in (0, 15, 16, 524_288, 1024**2 - 1):
        changed = bytearray(segment)
        changed[at] ^= 0x80
        assert not seen.holds(0, bytes(changed))
    assert not seen.holds(0, segment[:-1])
    assert not seen.holds(0, segment + b"\0")
    assert seen.holds(0, segment)


def test_nothing_of_one_object_says_anything_of_another() -> None:
    first, second = SeenSegments(), SeenSegments()
    for seen in (first, second):
        seen.add(b"the same")
    assert first._tags != second._tags
    assert "\\x" not in repr(first)
