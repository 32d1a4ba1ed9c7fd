"""A vault gets tokens for vaults, and must store what it was sent."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError

from clients.api.errors import NetworkError, UntrustedAnswerError
from clients.api.transport import TOKEN_SECONDS
from clients.api.vault import VaultCredential, _refusal
from tests.simulator import NOW, party


def credential() -> VaultCredential:
    return VaultCredential(party("Hospital A"), clock=NOW.timestamp)


@pytest.mark.parametrize("audience", ["https://vault.azure.net", "https://managedhsm.azure.net"])
def test_each_call_gets_a_token_of_its_own(audience: str) -> None:
    options: dict[str, Any] = {"tenant_id": "depa", "enable_cae": True}
    first, second = (credential().get_token(f"{audience}/.default", **options) for _ in range(2))
    claims = jwt.decode(first.token, options={"verify_signature": False})
    assert claims["aud"] == audience
    assert first.expires_on == claims["exp"] == int(NOW.timestamp()) + TOKEN_SECONDS
    assert first.token != second.token


@pytest.mark.parametrize(
    "scopes",
    [
        ("https://127.0.0.1:8443/.default",),
        ("https://vault.azure.net.evil.example/.default",),
        ("https://vault.azure.net/.default", "https://127.0.0.1:8443/.default"),
        (),
    ],
)
def test_a_vault_cannot_ask_for_a_token_of_another_service(scopes: tuple[str, ...]) -> None:
    with pytest.raises(UntrustedAnswerError, match="challenge"):
        credential().get_token(*scopes)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServiceRequestError("no route"), NetworkError),
        (HttpResponseError("no status"), UntrustedAnswerError),
        (AzureError("odd"), UntrustedAnswerError),
    ],
)
def test_the_librarys_errors_become_ours(error: AzureError, kind: type[Exception]) -> None:
    assert isinstance(_refusal("https://vault", error), kind)
