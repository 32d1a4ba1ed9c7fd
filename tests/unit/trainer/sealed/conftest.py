from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from trainer.sealed import OctKek, RsaPrivateKek


@pytest.fixture(scope="session")
def rsa_kek() -> RsaPrivateKek:
    return RsaPrivateKek("icmr-kek", rsa.generate_private_key(65537, 3072))


@pytest.fixture
def oct_kek() -> OctKek:
    return OctKek("icmr-kek", bytes(range(32)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set with a file over one segment and one in a folder."""
    root = tmp_path / "plain"
    (root / "more").mkdir(parents=True)
    (root / "dataset.json").write_bytes(b'{"version":1}')
    (root / "more" / "p1.safetensors").write_bytes(bytes(range(256)) * 5000)
    (root / "empty").touch()
    return root


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """The clean room's private folder, which must be empty after every refusal."""
    path = tmp_path / "room"
    path.mkdir(mode=0o700)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
