"""What a party offers for a contract: one sealed file, described so that a draft can name it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from clients.cli.files import read_bytes
from policies.wire.base import Document
from policies.wire.contract import Dataset, Party, SealedFile


class Offer(Document):
    """A sealed data set of a provider, or sealed base weights of a consumer."""

    kind: ClassVar[str] = "offer"

    party: Party
    dataset: Dataset | None = None
    base_model: SealedFile | None = None

    @model_validator(mode="after")
    def _one_file(self) -> Self:
        if (self.dataset is None) == (self.base_model is None):
            raise ValueError("an offer has either a dataset or a baseModel")
        if self.file.provider != self.party.id:
            raise ValueError("the file's provider is not the party")
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
