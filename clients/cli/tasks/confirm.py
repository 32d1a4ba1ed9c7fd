"""Ask a person to confirm by typing what only someone who looked can type."""

from __future__ import annotations

import sys

from clients.cli.errors import Refused, UsageError

_TAIL = 4


def confirm_digest(digest: str, *, action: str = "sign") -> None:
    """Ask for the last characters of a digest.

    Raises:
        UsageError: when nobody is at the terminal.
        Refused: when something else was typed.
    """
    if not sys.stdin.isatty():
        raise UsageError(f"nobody is there to ask before this is done: {action}", hint="give --yes")
    sys.stderr.write(f"To {action}, type the last {_TAIL} characters of the digest: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != digest[-_TAIL:]:
        raise Refused(f"that is not the end of {digest}; nothing was done")
