"""What a party offers for a contract: one sealed file, described so that a draft can name it.

A provider may offer its data under rules of its own, whose text then goes with the offer.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from clients.cli.files import read_bytes
from policies.party import MAX_MODULE_BYTES
from policies.wire.base import Document
from policies.wire.contract import Dataset, Party, SealedFile


class Offer(Document):
    """A sealed data set of a provider, or sealed base weights of a consumer."""

    kind: ClassVar[str] = "offer"

    party: Party
    dataset: Dataset | None = None
    base_model: SealedFile | None = None
    rules: str | None = Field(default=None, max_length=MAX_MODULE_BYTES)
    """Text of the provider's own rules."""

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        if (self.dataset is None) == (self.base_model is None):
            raise ValueError("an offer has either a dataset or a baseModel")
        if self.file.provider != self.party.id:
            raise ValueError("the file's provider is not the party")
        if self.rules is not None and self.dataset is None:
            raise ValueError("rules go with a dataset")
        return self

    @property
    def file(self) -> SealedFile:
        """The sealed file."""
        found = self.dataset or self.base_model
        if found is None:
            raise TypeError("an offer has a file")
        return found


def read_offer(path: Path) -> Offer:
    """Read an offer.

    Raises:
        NotFoundError: when the file is not there.
        DocumentError: naming every field that is wrong.
    """
    return Offer.parse(read_bytes(path, what="offer"))
