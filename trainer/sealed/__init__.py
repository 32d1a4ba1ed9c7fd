"""Sealed files: what leaves a provider encrypted and is opened only in the clean room."""

from trainer.sealed.archive import Limits
from trainer.sealed.container import SealedBlob
from trainer.sealed.dataset import SealedHeader, hold, seal, unseal
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.held import HeldFiles
from trainer.sealed.keys import (
    OctKek,
    OpeningKek,
    RsaPrivateKek,
    RsaPublicKek,
    SealingKek,
    load_kek,
)
from trainer.sealed.output import OutputHeader, open_output, seal_output

__all__ = [
    "HeldFiles",
    "Limits",
    "OctKek",
    "OpeningKek",
    "OutputHeader",
    "RsaPrivateKek",
    "RsaPublicKek",
    "SealReason",
    "SealedBlob",
    "SealedError",
    "SealedHeader",
    "SealingKek",
    "hold",
    "load_kek",
    "open_output",
    "seal",
    "seal_output",
    "unseal",
]
