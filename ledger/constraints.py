"""Name constraints of X.509 authorities (RFC 5280 section 4.2.1.10).

Four types of names are understood; an authority that constrains any other type is refused, never
ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from cryptography import x509

from ledger.errors import IdentityError

_Text: TypeAlias = x509.DNSName | x509.RFC822Name | x509.UniformResourceIdentifier


def check_names(subject: x509.Certificate, *, constraints: x509.NameConstraints) -> None:
    """Raise unless every name in `subject` is within `constraints`.

    Raises:
        IdentityError: With the name that is outside, or the type of constraint that is not
            understood.
    """
    permitted = list(constraints.permitted_subtrees or ())
    excluded = list(constraints.excluded_subtrees or ())
    for tree in (*permitted, *excluded):
        if type(tree) not in _MATCHES:
            raise IdentityError(
                "name constraint",
                expected="DNS, e-mail, URI or directory names",
                got=type(tree).__name__,
            )
    for name in _names(subject):
        same = [tree for tree in permitted if type(tree) is type(name)]
        if same and not any(_within(name, tree) for tree in same):
            raise IdentityError("name", expected="one in a permitted subtree", got=_show(name))
        if any(_within(name, tree) for tree in excluded if type(tree) is type(name)):
            raise IdentityError(
                "name", expected="one outside the excluded subtrees", got=_show(name)
            )


def _names(certificate: x509.Certificate) -> Iterator[x509.GeneralName]:
    """Every name that a constraint can bear on: subject, its e-mail addresses, alternatives."""
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
    for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS):
        yield x509.RFC822Name(str(attribute.value))
    try:
        yield from certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return


def _show(name: x509.GeneralName) -> str:
    return repr(name.value.rfc4514_string() if isinstance(name, x509.DirectoryName) else name.value)


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    return _MATCHES[type(tree)](name.value, tree.value)


def _dns(name: str, tree: str) -> bool:
    name, tree = name.lower().rstrip("."), tree.lower().rstrip(".")
    if not tree:
        return True
    if tree.startswith("."):
        return name.endswith(tree)
    return name == tree or name.endswith("." + tree)


def _host(name: str, tree: str) -> bool:
    name, tree = name.lower(), tree.lower()
    return name.endswith(tree) if tree.startswith(".") else name == tree


def _email(name: str, tree: str) -> bool:
    mailbox, _, host = name.rpartition("@")
    if "@" in tree:
        wanted, _, domain = tree.rpartition("@")
        return mailbox == wanted and host.lower() == domain.lower()
    return _host(host, tree)


def _uri(name: str, tree: str) -> bool:
    try:
        return _host(urlsplit(name).hostname or "", tree)
    except ValueError:
        return False


def _directory(name: x509.Name, tree: x509.Name) -> bool:
    return name.rdns[: len(tree.rdns)] == tree.rdns


_MATCHES: Mapping[type[x509.GeneralName], Callable[..., bool]] = {
    x509.DNSName: _dns,
    x509.RFC822Name: _email,
    x509.UniformResourceIdentifier: _uri,
    x509.DirectoryName: _directory,
}
