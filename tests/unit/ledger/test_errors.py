from __future__ import annotations

import inspect

import pytest

from ledger import errors
from ledger.errors import FormatError, IdentityError, LedgerError, VerificationError

_FAMILY = [
    each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, LedgerError)
]


@pytest.mark.parametrize("family_member", _FAMILY)
def test_every_error_has_a_code_a_status_and_an_exit_code(family_member: type[LedgerError]) -> None:
    assert family_member.code.replace("-", "").isalpha()
    assert family_member.http_status in {400, 404, 422, 500, 503}
    assert family_member.exit_code in {1, 2, 3, 4, 5}


def test_every_error_is_in_the_tree_above_it() -> None:
    for each in _FAMILY:
        assert f"{each.__name__} " in str(errors.__doc__)


def test_codes_are_told_apart() -> None:
    assert len({each.code for each in _FAMILY}) == len(_FAMILY)


def test_verification_error_says_claim_expected_and_got() -> None:
    error = VerificationError("size", expected=3, got=4, hint="count again")
    assert (error.claim, error.expected, error.got, error.hint) == ("size", 3, 4, "count again")
    assert str(error) == "size: expected 3, got 4"
    assert isinstance(IdentityError("did", expected="a", got="b"), VerificationError)


def test_hint_may_be_empty() -> None:
    assert FormatError("what").hint == ""
