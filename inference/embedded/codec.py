"""Text to tokens and back, cut at the same borders as in training.

A decision is encoded in pieces: after a string's closing quote, and after the character behind a number, a new piece
begins. So a decision read back from the prompt has the tokens it was written in, and the cache fits.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from ..constraints.vocabulary import Vocabulary
from ..endpoint import Message

if TYPE_CHECKING:
    import tokenizers

_FREE = re.compile(
    r"""(?P<text>(?<=[:\[,])"(?P<inside>(?:[^"\\]|\\.)*)"(?!:))"""
    r"""|(?P<number>(?<=[:\[,])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?P<end>[,}\]])""",
    re.DOTALL,
)
_TOOL = '{"tool":'
_DECISION = '{"thought":"'
KEPT = 1024
"""Messages whose tokens are remembered."""


class Codec:
    """Encodes prompts with one tokenizer. Safe to use from several threads."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._roles = {role: _special(tokenizer, role) for role in ("system", "user", "assistant")}
        self.end = _special(tokenizer, "end")
        self.bytes_of = _token_bytes(tokenizer)
        free = tuple(
            b"" if b"\n\n" in token else token for token in self.bytes_of
        )  # the head's fixed text is never written
        self.vocabulary = Vocabulary(free, self.end)
        self._kept: OrderedDict[Message, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()

    def encode(self, text: str) -> list[int]:
        """Return the tokens of one piece of text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> bytes:
        """Return the bytes that tokens stand for; special tokens stand for none."""
        return b"".join([self.bytes_of[id_] for id_ in ids])

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the tokens of a whole prompt, up to where the assistant begins to write."""
        ids: list[int] = []
        for message in messages:
            ids.extend(self._message(message))
        ids.append(self._roles["assistant"])
        return ids

    def _message(self, message: Message) -> tuple[int, ...]:
        with self._lock:
            if (found := self._kept.get(message)) is not None:
                self._kept.move_to_end(message)
                return found
        pieces = decision_pieces(message.content) if message.role == "assistant" else [message.content]
        inner = [id_ for piece in pieces for id_ in self.encode(piece)]
        ids = (self._roles[message.role], *inner, self.end)
        with self._lock:
            self._kept[message] = ids
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return ids


def decision_pieces(text: str) -> Iterator[str]:
    """Yield the pieces in which a decision was decoded; joined they are the text."""
    if not text.startswith(_DECISION):
        yield text
        return
    start = 0
    for match in _FREE.finditer(text):
        if match["text"] is not None:
            if text.endswith(_TOOL, 0, match.start()):
                continue
            yield text[start : match.start() + 1]
            yield match["inside"]
            yield '"'
        else:
            yield text[start : match.start()]
            yield match["number"]
            yield match["end"]
        start = match.end()
    yield text[start:]


def _special(tokenizer: "tokenizers.Tokenizer", name: str) -> int:
    found = tokenizer.token_to_id(f"<|{name}|>")
    if found is None:
        raise ValueError(f"the tokenizer has no <|{name}|>")
    return int(found)


def _token_bytes(tokenizer: "tokenizers.Tokenizer") -> tuple[bytes, ...]:
    """Undo the byte-level alphabet of every token; special tokens are empty."""
    to_byte = {char: byte for byte, char in enumerate(_byte_alphabet())}
    added = tokenizer.get_added_tokens_decoder()
    table = []
    for id_ in range(tokenizer.get_vocab_size()):
        if id_ in added:
            table.append(b"" if added[id_].special else added[id_].content.encode())
        else:
            table.append(bytes(to_byte[char] for char in tokenizer.id_to_token(id_) or ""))
    return tuple(table)


def _byte_alphabet() -> list[str]:
    """Return GPT-2's printable character for each byte."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]
