"""Which segments were seen, told apart by tags that only this process can make.

The key of a file does not say it: whoever knows that key can make other segments with the same tags
of GCM. A digest would, at a tenth of the speed.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class SeenSegments:
    """Segments as they were, each under its number.

    A tag is GMAC (NIST SP 800-38D: AES-GCM of associated data alone) under a fresh key, with the
    segment's number as nonce:

    * The key and the tags stay in this object, and the key is used for nothing else, so that nobody
      outside has one tag to learn from. Which bits of the file are changed, and whether its data
      key is known, plays no part.
    * Each number is tagged once: `add` counts on by itself, and `holds` only verifies. Two messages
      under one nonce would give away the hash key to who sees both tags; here is never a second.
    * Another segment of 2^16 blocks passes with a probability of about 2^-111, and the first that
      does not ends the reading.
    """

    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self._tags: list[bytes] = []

    def __len__(self) -> int:
        return len(self._tags)

    def add(self, segment: bytes) -> None:
        """Remember the next segment."""
        self._tags.append(self._cipher.encrypt(_nonce(len(self._tags)), b"", segment))

    def holds(self, number: int, segment: bytes) -> bool:
        """Return whether this is the segment that was seen under this number."""
        try:
            self._cipher.decrypt(_nonce(number), self._tags[number], segment)
        except InvalidTag:
            return False
        return True


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
