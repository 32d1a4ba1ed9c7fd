"""What the vault answers when it does not do as asked, in the words of Azure Key Vault."""

from __future__ import annotations

from typing import ClassVar

from policies.errors import DepaError


class VaultError(DepaError):
    """A refusal with an HTTP status and a code."""

    code: ClassVar[str] = "vault"
    exit_code: ClassVar[int] = 4

    def __init__(self, status: int, slug: str, message: str, *, reason: str = "") -> None:
        self.status, self.slug, self.reason = status, slug, reason
        super().__init__(message)

    def body(self) -> dict[str, object]:
        """Return the JSON that clients of Azure Key Vault read."""
        error: dict[str, object] = {"code": self.slug, "message": str(self)}
        if self.reason:
            error["innererror"] = {"code": self.reason}
        return {"error": error}


def bad_request(message: str) -> VaultError:
    """Return the refusal of a request that no key could make right."""
    return VaultError(400, "BadParameter", message)


def not_found(name: str) -> VaultError:
    """Return the answer for a key, or a version, that is not here."""
    return VaultError(404, "KeyNotFound", f"a key with name {name} was not found in this vault")


def forbidden(message: str, *, reason: str) -> VaultError:
    """Return the refusal of somebody, or some evidence, that is known and not enough."""
    return VaultError(403, "Forbidden", message, reason=reason)


def conflict(message: str, *, reason: str) -> VaultError:
    """Return the refusal of what the state of a key does not allow."""
    return VaultError(409, "Conflict", message, reason=reason)
