"""A model's tokens as the constraint engines need them: bytes by id, and the id that ends a text."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of one tokenizer. Two vocabularies with the same tokens are equal.

    Attributes:
        tokens: The bytes that each token id stands for; empty for ids that never stand for text.
        eos_id: The id that ends a text; its bytes are ignored.
        encode: The tokenizer's own way to write a text, asked for where a grammar forces text inside a free
            segment; without it the longest token at each place is taken.
    """

    tokens: tuple[bytes, ...]
    eos_id: int
    encode: Callable[[str], Sequence[int]] | None = None

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

    def ids_of(self, text: bytes) -> list[int]:
        """Return the tokens of a text.

        Raises:
            ValueError: The vocabulary lacks one of its bytes.
        """
        if self.encode is not None:
            with suppress(UnicodeDecodeError):
                return list(self.encode(text.decode()))
        found, at = [], 0
        while at < len(text):
            sizes = range(min(self.longest, len(text) - at), 0, -1)
            size = next((size for size in sizes if text[at : at + size] in self.id_by_bytes), 0)
            if not size:
                raise ValueError(f"no token begins with byte {text[at]}")
            found.append(self.id_by_bytes[text[at : at + size]])
            at += size
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and other.fingerprint == self.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)
