"""Where a data set's files are: in a folder, or somewhere that gives them one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from trainer.data.errors import DataError


class Files(Protocol):
    """Named files that can be read whole, in any order."""

    @property
    def name(self) -> str:
        """What a refusal calls them together."""
        ...

    def names(self) -> frozenset[str]:
        """Return the names of all files."""
        ...

    def read(self, name: str, *, limit: int) -> bytes | memoryview:
        """Return the content of one file; the caller MUST not change it.

        Raises:
            DepaError: when it is not there, longer than `limit`, or damaged.
        """
        ...


class Folder:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        """Raise nothing yet: a folder that is missing has no files."""
        self.path = path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def names(self) -> frozenset[str]:
        """Return the names of what lies in the folder."""
        if not self.path.is_dir():
            return frozenset()
        return frozenset(path.name for path in self.path.iterdir())

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of one file.

        Raises:
            DataError: when it cannot be read or is longer than `limit`.
        """
        try:
            with (self.path / name).open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise DataError(f"{self.name}/{name}: {error.strerror}") from None
        if len(data) > limit:
            raise DataError(f"{self.name}/{name}: is larger than {limit} bytes")
        return data
