from __future__ import annotations

import pytest

from deploy.local.room import _last_error

LINE = b'{"error":"run-failed","message":"the run failed: not-finite","hint":"use a smaller rate"}'


def test_a_deployer_hears_what_was_refused_and_what_to_do() -> None:
    assert _last_error([b"a warning of some library\n", LINE + b"\n"]) == {
        "code": "run-failed",
        "message": "the run failed: not-finite",
        "hint": "use a smaller rate",
    }


@pytest.mark.parametrize(
    ("said", "message"),
    [([], "it said nothing"), ([b"Killed\n"], "Killed"), ([b"\xff\n"], "\ufffd")],
)
def test_a_room_that_ends_without_an_error_line_is_told_by_what_it_said_last(
    said: list[bytes], message: str
) -> None:
    assert _last_error(said) == {"code": "ended", "message": message}
