"""What a clean room asks of the hardware that it runs on."""

from __future__ import annotations

from typing import ClassVar, Protocol

from policies.errors import DepaError


class TeeError(DepaError):
    """The hardware gave no evidence, or evidence of another form."""

    code: ClassVar[str] = "tee"
    exit_code: ClassVar[int] = 1


class Tee(Protocol):
    """A trusted execution environment that vouches for the code inside it."""

    def report(self, report_data: bytes) -> bytes:
        """Return a signed report of 1184 bytes over 64 bytes of the caller's choice.

        Raises:
            TeeError: if the hardware refuses.
        """
        ...

    @property
    def certificates(self) -> bytes:
        """PEM chain of the key that signs reports: leaf, intermediate, root."""
        ...

    @property
    def endorsements(self) -> tuple[bytes, ...]:
        """COSE_Sign1 statements about the firmware's launch measurement."""
        ...
