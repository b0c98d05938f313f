"""A model's tokens as the constraint engines need them: bytes by id, and the id that ends a text."""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of one tokenizer. Two vocabularies with the same tokens are equal.

    Attributes:
        tokens: The bytes that each token id stands for; empty for ids that never stand for text.
        eos_id: The id that ends a text; its bytes are ignored.
    """

    tokens: tuple[bytes, ...]
    eos_id: int

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all tokens and the end-of-text id."""
        digest = hashlib.sha256(str(self.eos_id).encode())
        for token in self.tokens:
            digest.update(len(token).to_bytes(4, "big") + token)
        return digest.hexdigest()

    @cached_property
    def id_by_bytes(self) -> dict[bytes, int]:
        """The lowest id for each text, without special ones."""
        usable = ((token, id_) for id_, token in enumerate(self.tokens) if token and id_ != self.eos_id)
        return dict(reversed(list(usable)))

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.tokens), default=0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)
