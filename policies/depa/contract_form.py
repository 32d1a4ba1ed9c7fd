"""A contract as DEPA-Training writes it, schema version 0.1: closed, nothing in it believed."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from policies.depa.form import Count, DepaPart, Number, Text
from policies.wire.base import Document, UtcTime

_MAX = 64


class DepaAuthority(DepaPart):
    """Who attests."""

    endpoint: Text


class DepaKeyProperties(DepaPart):
    """Where the key of a data set is held."""

    kid: Text
    authority: DepaAuthority
    endpoint: Text


class DepaKey(DepaPart):
    """The key of a data set."""

    type: Literal["azure"]
    properties: DepaKeyProperties


class DepaDataset(DepaPart):
    """A data set."""

    id: Text
    owner: Text | None = None
    """Folder below which it is mounted; older contracts use the name for it."""
    name: Text
    url: Text
    provider: Text
    key: DepaKey


class DepaPrivacy(DepaPart):
    """What one run may cost a data set."""

    dataset: Text
    epsilon_threshold: Number = Field(gt=0)
    delta: Number = Field(gt=0, lt=1)
    noise_multiplier: Number | None = Field(default=None, gt=0)
    epochs_per_report: Count | None = None


class DepaConstraint(DepaPart):
    """A list of limits."""

    privacy: tuple[DepaPrivacy, ...] = Field(max_length=_MAX)


class DepaTerms(DepaPart):
    """What nothing enforces."""

    payment: dict[Text, Text] = Field(default_factory=dict, max_length=32)
    revocation: dict[Text, Text] = Field(default_factory=dict, max_length=32)


class DepaContract(Document, DepaPart):
    """A contract."""

    kind: ClassVar[str] = "DEPA contract"

    id: Text
    schema_version: Literal["0.1"] = Field(alias="schemaVersion")
    start_time: UtcTime = Field(alias="startTime")
    expiry_time: UtcTime = Field(alias="expiryTime")
    tdc: Text
    tdps: tuple[Text, ...] = Field(max_length=_MAX)
    ccrp: Text
    datasets: tuple[DepaDataset, ...] = Field(min_length=1, max_length=_MAX)
    purpose: Literal["TRAINING"]
    constraints: tuple[DepaConstraint, ...] = Field(default=(), max_length=_MAX)
    terms: DepaTerms = DepaTerms()
