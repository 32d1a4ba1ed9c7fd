"""A version of a key: what it is, who may have it, and how it is written on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from deploy.local.vault.errors import bad_request
from policies.attestation.release_policy import parse_release_policy
from policies.attestation.runtime import decode_base64url, encode_base64url, encode_integer
from policies.errors import DocumentError, EvidenceError

NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")
VERSION: Final = re.compile(r"[0-9a-f]{32}")
POLICY_CONTENT_TYPE: Final = "application/json; charset=utf-8"
RECOVERABLE_DAYS: Final = 7
_OCT_BITS: Final = (128, 192, 256)
_RSA_BITS: Final = (2048, 3072, 4096)
_RSA_FIELDS: Final = ("n", "e", "d", "p", "q", "dp", "dq", "qi")
_MAX_TAGS: Final = 15
_OPERATIONS: Final = {
    "encrypt",
    "decrypt",
    "sign",
    "verify",
    "wrapKey",
    "unwrapKey",
    "import",
    "export",
}


@dataclass(frozen=True)
class KeyVersion:
    """A key as the vault keeps it."""

    name: str
    version: str
    """32 hexadecimal digits."""
    kty: str
    """`RSA-HSM` or `oct-HSM`."""
    created: int
    """Unix seconds, like all times here."""
    updated: int
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    exportable: bool = False
    key_ops: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    """Text of the release policy."""
    policy_immutable: bool = False
    public: Mapping[str, str] = field(default_factory=dict)
    """`n` and `e` of an RSA key."""

    def kid(self, url: str) -> str:
        """Return the key's identifier in the vault at `url`."""
        return f"{url}/keys/{self.name}/{self.version}"

    def bundle(self, url: str) -> dict[str, Any]:
        """Return the public description of the key."""
        body: dict[str, Any] = {
            "key": {
                "kid": self.kid(url),
                "kty": self.kty,
                "key_ops": list(self.key_ops),
                **self.public,
            },
            "attributes": self.attributes(),
            "tags": dict(self.tags),
        }
        if self.policy is not None:
            body["release_policy"] = self.release_policy()
        return body

    def item(self, url: str, *, versioned: bool) -> dict[str, Any]:
        """Return the entry of a list."""
        kid = self.kid(url) if versioned else f"{url}/keys/{self.name}"
        return {"kid": kid, "attributes": self.attributes(), "tags": dict(self.tags)}

    def attributes(self) -> dict[str, Any]:
        """Return times and flags."""
        values = {
            "enabled": self.enabled,
            "nbf": self.not_before,
            "exp": self.expires,
            "created": self.created,
            "updated": self.updated,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": RECOVERABLE_DAYS,
            "exportable": self.exportable,
        }
        return {name: value for name, value in values.items() if value is not None}

    def release_policy(self) -> dict[str, Any]:
        """Return the release policy as it is written on the wire."""
        return {
            "contentType": POLICY_CONTENT_TYPE,
            "data": encode_base64url((self.policy or "").encode()),
            "immutable": self.policy_immutable,
        }


def import_material(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return kind and secret bytes of an imported key: raw for `oct`, PKCS #8 for RSA.

    Raises:
        VaultError: if it is no key of a supported kind and size. No value is repeated.
    """
    jwk = body.get("key")
    if not isinstance(jwk, Mapping):
        raise bad_request("key: expected a JSON web key")
    kty = jwk.get("kty")
    if kty in {"oct", "oct-HSM"}:
        secret = _decode(jwk, "k")
        if 8 * len(secret) not in _OCT_BITS:
            raise bad_request(f"key.k: expected {_OCT_BITS} bits, got {8 * len(secret)}")
        return "oct-HSM", secret
    if kty in {"RSA", "RSA-HSM"}:
        return "RSA-HSM", _rsa_material(jwk)
    raise bad_request("key.kty: expected oct-HSM or RSA-HSM")


def make_material(body: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return kind and secret bytes of a new RSA key.

    Raises:
        VaultError: if another kind or size is asked for.
    """
    if body.get("kty") not in {"RSA", "RSA-HSM"}:
        raise bad_request("kty: expected RSA-HSM; import symmetric keys")
    bits = body.get("key_size") or 3072
    if bits not in _RSA_BITS:
        raise bad_request(f"key_size: expected one of {_RSA_BITS}")
    return "RSA-HSM", _pkcs8(rsa.generate_private_key(65537, bits))


def public_part(kty: str, material: bytes) -> dict[str, str]:
    """Return `n` and `e` of an RSA key, and nothing of a symmetric one."""
    if kty != "RSA-HSM":
        return {}
    key = load_der_private_key(material, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("the material of an RSA-HSM key is an RSA key")
    numbers = key.public_key().public_numbers()
    return {"n": encode_integer(numbers.n), "e": encode_integer(numbers.e)}


def settings_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request sets: flags, times, operations, tags, policy.

    Raises:
        VaultError: naming the field that is wrong.
    """
    settings: dict[str, Any] = {}
    attributes = _mapping(body, "attributes")
    for name, target in (("enabled", "enabled"), ("exportable", "exportable")):
        if attributes.get(name) is not None:
            if not isinstance(attributes[name], bool):
                raise bad_request(f"attributes.{name}: expected true or false")
            settings[target] = attributes[name]
    for name, target in (("nbf", "not_before"), ("exp", "expires")):
        if attributes.get(name) is not None:
            if type(attributes[name]) is not int or attributes[name] < 0:
                raise bad_request(f"attributes.{name}: expected Unix seconds")
            settings[target] = attributes[name]
    # An imported key carries its operations itself.
    operations = body.get("key_ops", _mapping(body, "key").get("key_ops"))
    if operations is not None:
        if not isinstance(operations, list) or not set(map(str, operations)) <= _OPERATIONS:
            raise bad_request(f"key_ops: expected some of {sorted(_OPERATIONS)}")
        settings["key_ops"] = tuple(operations)
    if body.get("tags") is not None:
        settings["tags"] = _tags(body["tags"])
    if body.get("release_policy") is not None:
        settings.update(_policy(_mapping(body, "release_policy")))
    return settings


def check_exportable(key: KeyVersion) -> None:
    """Raise unless the key may leave the vault only under a policy.

    Raises:
        VaultError: if it is exportable without a policy, or has a policy that can never apply.
    """
    if key.exportable and key.policy is None:
        raise bad_request("release_policy: an exportable key needs one")
    if key.policy is not None and not key.exportable:
        raise bad_request("attributes.exportable: a key with a release policy must be exportable")


def _rsa_material(jwk: Mapping[str, Any]) -> bytes:
    values = {name: int.from_bytes(_decode(jwk, name), "big") for name in _RSA_FIELDS}
    public = rsa.RSAPublicNumbers(values["e"], values["n"])
    try:
        key = rsa.RSAPrivateNumbers(
            p=values["p"],
            q=values["q"],
            d=values["d"],
            dmp1=values["dp"],
            dmq1=values["dq"],
            iqmp=values["qi"],
            public_numbers=public,
        ).private_key()
    except ValueError:
        raise bad_request("key: the numbers are not an RSA key") from None
    if key.key_size not in _RSA_BITS:
        raise bad_request(f"key.n: expected {_RSA_BITS} bits, got {key.key_size}")
    return _pkcs8(key)


def _pkcs8(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    try:
        # Some clients send standard base64.
        text = str(policy.get("data", "")).translate(str.maketrans("+/", "-_"))
        data = decode_base64url(text, claim="release_policy.data")
        parse_release_policy(data)
    except (EvidenceError, DocumentError) as error:
        raise bad_request(str(error)) from None
    immutable = policy.get("immutable", False)
    if not isinstance(immutable, bool | None):
        raise bad_request("release_policy.immutable: expected true or false")
    return {"policy": data.decode(), "policy_immutable": bool(immutable)}


def _tags(value: object) -> dict[str, str]:
    if (
        not isinstance(value, Mapping)
        or len(value) > _MAX_TAGS
        or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items())
        or not all(len(k) <= 512 and len(v) <= 256 for k, v in value.items())
    ):
        raise bad_request(f"tags: expected at most {_MAX_TAGS} short texts")
    return dict(value)


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise bad_request(f"{name}: expected an object")
    return value


def _decode(jwk: Mapping[str, Any], name: str) -> bytes:
    try:
        return decode_base64url(jwk.get(name), claim=f"key.{name}")
    except EvidenceError as error:
        raise bad_request(str(error)) from None
