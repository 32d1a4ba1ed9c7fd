"""Asking the providers' vaults for keys; the service only ever sees them wrapped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from azure.core.credentials import TokenCredential
from cryptography import x509

from clients.api.transport import PartyCredential
from clients.api.vault import VaultClient, VaultCredential
from ledger.identity import Identity


class Vaults(Protocol):
    """Whoever holds the providers' keys."""

    def release(self, *, vault: str, name: str, token: str, nonce: str) -> str:
        """Return the vault's signed answer: the key, wrapped to the clean room's attested key.

        Args:
            vault: Origin of the vault.
            name: Name of the key.
            token: Attestation token.
            nonce: Comes back in the answer.

        Raises:
            ClientError: If the vault refuses or cannot be reached.
        """
        ...


class KeyVaults:
    """Vaults that speak the protocol of Azure Key Vault."""

    def __init__(self, *, credential: TokenCredential, ca_file: Path | None) -> None:
        self._credential = credential
        self._ca_file = ca_file

    def release(self, *, vault: str, name: str, token: str, nonce: str) -> str:
        """Return the vault's signed answer; see `Vaults`."""
        client = VaultClient(vault, credential=self._credential, ca_file=self._ca_file)
        return client.release_key(name, target_token=token, nonce=nonce)


def own_credential(
    identity: Identity, *, clock: Callable[[], float] = time.time
) -> VaultCredential:
    """Return the credential of a service that asks vaults in its own name.

    Raises:
        TypeError: If the service's key is not P-256.
    """
    key = identity.private_key
    chain = tuple(map(x509.load_der_x509_certificate, identity.chain))
    return VaultCredential(PartyCredential(identity.did, key, chain), clock=clock)  # type: ignore[arg-type]  # statement keys are P-256, see ledger.trust


def azure_credential() -> TokenCredential:
    """Return the credential of the machine that the service runs on in Azure."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415  (an extra)

    return DefaultAzureCredential()
