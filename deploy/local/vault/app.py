"""A key vault with the protocol of Azure Key Vault, for keys that are released to clean rooms.

The owner manages keys. Releasers may only ask for a release, which the key's policy decides. Both
prove who they are with a short token that their own key signs.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from clients.api.errors import NetworkError
from contract_service.auth import verify_token
from contract_service.problems import UnauthenticatedError
from deploy.local.vault import keys as wire
from deploy.local.vault.errors import VaultError, bad_request, forbidden, not_found
from deploy.local.vault.keys import KeyVersion
from deploy.local.vault.release import ReleaseSigner, TokenVerifier, release, verify_request
from deploy.local.vault.store import KeyStore
from policies.errors import DocumentError
from policies.wire.base import load_json

AUDIENCE: Final = "https://vault.azure.net"
CHALLENGE: Final = f'Bearer authorization="https://login.localhost/depa", resource="{AUDIENCE}"'
MAX_BODY_BYTES: Final = 256 * 1024
_audit = logging.getLogger("depa.vault.audit")


@dataclass(frozen=True)
class VaultSettings:
    """Whose vault it is."""

    url: str
    """Origin under which clients know it."""
    owner: str
    """DID that may do everything."""
    releasers: Collection[str] = ()
    """DIDs that may ask for a release and nothing else."""


def create_app(
    settings: VaultSettings,
    *,
    store: KeyStore,
    verifier: TokenVerifier,
    signer: ReleaseSigner,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Return the vault.

    Args:
        settings: Whose it is.
        store: The unsealed keys.
        verifier: Which attestation authorities it believes.
        signer: What signs releases.
        clock: Unix seconds.
    """
    vault = Vault(settings, store=store, verifier=verifier, signer=signer)
    app = FastAPI(title="Key vault", openapi_url=None)

    # One route for all: the client asks for `/keys/{name}/` and `/keys/{name}//release`.
    @app.api_route("/{path:path}", methods=["GET", "PUT", "POST", "PATCH", "DELETE"])
    async def serve(path: str, request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return JSONResponse(bad_request("the request is too large").body(), 413)
        call = Call(
            method=request.method,
            path=tuple(part for part in path.split("/") if part),
            authorization=request.headers.get("authorization"),
            body=body,
            now=datetime.fromtimestamp(clock(), UTC),
        )
        return await run_in_threadpool(_respond, vault, call)

    return app


@dataclass(frozen=True)
class Call:
    """One request as the vault sees it."""

    method: str
    path: tuple[str, ...]
    authorization: str | None
    body: bytes
    now: datetime

    @property
    def time(self) -> int:
        """Unix seconds."""
        return int(self.now.timestamp())

    def json(self) -> dict[str, Any]:
        """Return the body as an object.

        Raises:
            VaultError: if it is not one.
        """
        try:
            value = load_json(self.body, kind="request", limit=MAX_BODY_BYTES)
        except DocumentError as error:
            raise bad_request(str(error)) from None
        if not isinstance(value, dict):
            raise bad_request("the request is not a JSON object")
        return value


def _respond(vault: Vault, call: Call) -> Response:
    try:
        body = vault.answer(call)
    except UnauthenticatedError as error:
        body = VaultError(401, "Unauthorized", str(error)).body()
        return JSONResponse(body, 401, headers={"WWW-Authenticate": CHALLENGE})
    except VaultError as error:
        return JSONResponse(error.body(), error.status)
    except NetworkError as error:
        # An attestation authority does not answer: no key, and it may be asked again.
        return JSONResponse(VaultError(503, "ServiceUnavailable", str(error)).body(), 503)
    return Response(status_code=204) if body is None else JSONResponse(body)


class Vault:
    """What each call does, once it is known who asks."""

    def __init__(
        self,
        settings: VaultSettings,
        *,
        store: KeyStore,
        verifier: TokenVerifier,
        signer: ReleaseSigner,
    ) -> None:
        self._settings = settings
        self._store = store
        self._verifier = verifier
        self._signer = signer

    def answer(self, call: Call) -> dict[str, Any] | None:
        """Return the JSON that answers a call; None for no content.

        Raises:
            UnauthenticatedError: if nobody known asks.
            VaultError: if it is refused.
        """
        caller = self._authenticate(call)
        match call.method, call.path:
            case "POST", ("keys", name, "release"):
                return self._release(caller, call, name=_name(name), version=None)
            case "POST", ("keys", name, version, "release"):
                return self._release(caller, call, name=_name(name), version=_version(version))
        if caller != self._settings.owner:
            raise forbidden("only the owner manages keys", reason="ForbiddenByPolicy")
        if call.path[:1] == ("deletedkeys",):
            return self._deleted(caller, call.method, call.path[1:])
        return self._read(call) if call.method == "GET" else self._change(caller, call)

    def _read(self, call: Call) -> dict[str, Any]:
        match call.path:
            case ("keys",):
                return self._list(self._store.newest(), versioned=False)
            case ("keys", name):
                return self._store.get(_name(name)).bundle(self._settings.url)
            case ("keys", name, "versions"):
                return self._list(self._store.versions(_name(name)), versioned=True)
            case ("keys", name, version):
                return self._store.get(_name(name), _version(version)).bundle(self._settings.url)
        raise _no_resource()

    def _change(self, caller: str, call: Call) -> dict[str, Any]:
        match call.method, call.path:
            case "PUT", ("keys", name):
                return self._add(caller, call, name=_name(name), material=wire.import_material)
            case "POST", ("keys", name, "create"):
                return self._add(caller, call, name=_name(name), material=wire.make_material)
            case "PATCH", ("keys", name):
                return self._update(caller, call, key=self._store.get(_name(name)))
            case "PATCH", ("keys", name, version):
                key = self._store.get(_name(name), _version(version))
                return self._update(caller, call, key=key)
            case "DELETE", ("keys", name):
                return self._delete(caller, call, name=_name(name))
        raise _no_resource()

    def _authenticate(self, call: Call) -> str:
        scheme, _, token = (call.authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError("token-missing", "a bearer token is needed")
        proven = verify_token(token, audience=AUDIENCE, now=call.time)
        did = proven.caller.did
        if did != self._settings.owner and did not in self._settings.releasers:
            raise forbidden("the caller is not known to this vault", reason="ForbiddenByPolicy")
        if not self._store.use_token(proven.token_id, expires=proven.expires_at, now=call.time):
            raise UnauthenticatedError("token-replayed", "this token was used before")
        return did

    def _add(
        self,
        caller: str,
        call: Call,
        *,
        name: str,
        material: Callable[[Mapping[str, Any]], tuple[str, bytes]],
    ) -> dict[str, Any]:
        body = call.json()
        kty, secret = material(body)
        key = KeyVersion(
            name=name,
            version=secrets.token_hex(16),
            kty=kty,
            created=call.time,
            updated=call.time,
            public=wire.public_part(kty, secret),
            **wire.settings_of(body),
        )
        wire.check_exportable(key)
        self._store.add(key, material=secret)
        _record("added", caller, key=key)
        return key.bundle(self._settings.url)

    def _update(self, caller: str, call: Call, *, key: KeyVersion) -> dict[str, Any]:
        changes = wire.settings_of(call.json())
        if changes.get("exportable", key.exportable) != key.exportable:
            raise bad_request("attributes.exportable: cannot be changed")
        if key.policy_immutable and changes.get("policy", key.policy) != key.policy:
            raise forbidden("the release policy is immutable", reason="ReleasePolicyImmutable")
        if key.policy_immutable:
            changes.pop("policy_immutable", None)
        changed = replace(key, updated=call.time, **changes)
        wire.check_exportable(changed)
        self._store.replace(changed)
        _record("updated", caller, key=changed)
        return changed.bundle(self._settings.url)

    def _delete(self, caller: str, call: Call, *, name: str) -> dict[str, Any]:
        key = self._store.get(name)
        self._store.delete(name, at=call.time)
        _record("deleted", caller, key=key)
        return self._deleted_bundle(key, at=call.time)

    def _deleted(self, caller: str, method: str, path: tuple[str, ...]) -> dict[str, Any] | None:
        gone = {key.name: key for key in self._store.newest(deleted=True)}
        match method, path:
            case "GET", ():
                return self._list(list(gone.values()), versioned=False)
            case (("GET" | "DELETE"), (name,)):
                pass
            case "POST", (name, "recover"):
                pass
            case _:
                raise _no_resource()
        if name not in gone:
            raise not_found(name)
        if method == "GET":
            return self._deleted_bundle(gone[name], at=self._store.deleted_at(name))
        if method == "DELETE":
            self._store.purge(name)
            _record("purged", caller, key=gone[name])
            return None
        self._store.recover(name)
        _record("recovered", caller, key=gone[name])
        return gone[name].bundle(self._settings.url)

    def _release(
        self, caller: str, call: Call, *, name: str, version: str | None
    ) -> dict[str, Any]:
        key = self._store.get(name, version)
        body = call.json()
        try:
            evidence = verify_request(key, body, verifier=self._verifier, now=call.now)
        except VaultError as error:
            _record("refused", caller, key=key, reason=error.reason or error.slug)
            raise
        # The answer leaves only after the record of it is written.
        value = release(
            key,
            self._store.material(key),
            evidence=evidence,
            body=body,
            signer=self._signer,
            url=self._settings.url,
        )
        _record("released", caller, key=key, token=evidence.token_digest, host=evidence.host_data)
        return {"value": value}

    def _list(self, found: list[KeyVersion], *, versioned: bool) -> dict[str, Any]:
        items = [key.item(self._settings.url, versioned=versioned) for key in found]
        return {"value": items, "nextLink": None}

    def _deleted_bundle(self, key: KeyVersion, *, at: int) -> dict[str, Any]:
        return {
            **key.bundle(self._settings.url),
            "recoveryId": f"{self._settings.url}/deletedkeys/{key.name}",
            "deletedDate": at,
            "scheduledPurgeDate": at + wire.RECOVERABLE_DAYS * 86400,
        }


def _record(event: str, caller: str, *, key: KeyVersion, **details: str) -> None:
    # Names and digests only: neither tokens nor keys.
    line = {"event": event, "caller": caller, "key": key.name, "version": key.version, **details}
    _audit.info("%s", json.dumps(line, sort_keys=True))


def _no_resource() -> VaultError:
    return VaultError(404, "NotFound", "there is no such resource")


def _name(value: str) -> str:
    if not wire.NAME.fullmatch(value):
        raise bad_request("a key's name has 1 to 127 letters, digits and hyphens")
    return value


def _version(value: str) -> str:
    if not wire.VERSION.fullmatch(value):
        raise not_found(value[:40])
    return value
