"""Writes one completion: forced text in one pass, a choice or free text where the model is asked."""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..constraints import compiler
from ..constraints.decision import DecisionConstraint
from ..constraints.walk import Choice, Forced, Free, Walk
from ..endpoint import FinishReason
from .codec import Codec
from .network import TokenSequence
from .sampler import Sampler

_TOOL_END = '","arguments":{'
"""The token that ends a tool's name; where one name begins another, it is what the choice is decided by."""


class Halted(Exception):
    """The completion ends early: aborted or out of tokens."""

    def __init__(self, reason: FinishReason) -> None:
        super().__init__(reason)
        self.reason: FinishReason = reason


@dataclass
class Decoder:
    """One completion in progress.

    Attributes:
        codec: Tokenizer of the model.
        sequence: The prompt as far as it is cached; completed here.
        sampler: Draws tokens.
        emit: Takes text as it is decided.
        should_stop: Asked before each forward pass.
        most_tokens: Most tokens of the completion.
        written: Tokens of the completion so far.
    """

    codec: Codec
    sequence: TokenSequence
    sampler: Sampler
    emit: Callable[[str], None]
    should_stop: Callable[[], bool]
    most_tokens: int
    written: int = 0
    _unread: list[int] = field(default_factory=list)
    _text: str = ""
    """Text that is decided and not yet encoded: pieces join, so that no border depends on how they were decided."""

    def run(self, prompt: Sequence[int], constraint: DecisionConstraint | None) -> FinishReason:
        """Write the completion behind a prompt and tell why it ended."""
        self._unread = list(prompt[len(self.sequence.tokens) :])
        try:
            if constraint is None:
                self._freely()
            else:
                self._constrained(Walk(constraint))
                self._encode()
        except Halted as halted:
            return halted.reason
        return "stop"

    def _constrained(self, walk: Walk) -> None:
        while (segment := walk.segment) is not None:
            match segment:
                case Forced(text):
                    self._text += text
                    self.emit(text)
                    walk.take(text)
                case Choice(options, place):
                    walk.take(self._choose(options, place))
                case Free():
                    walk.take(self._write(segment))

    def _choose(self, options: Sequence[str], place: str) -> str:
        """Decide among texts, token by token; what is decided joins the text still to be encoded."""
        live = {option: self._tokens_of(option, place) for option in options}
        depth = 0
        while len(live) > 1:
            nexts = {ids[depth] for ids in live.values()}
            if len(nexts) > 1:
                token = self.sampler.draw(self._logits(), sorted(nexts))
                live = {option: ids for option, ids in live.items() if ids[depth] == token}
            if len(live) > 1:
                self._append([next(iter(live.values()))[depth]])
                depth += 1
        chosen, ids = next(iter(live.items()))
        self._text += chosen[len(self.codec.decode(ids[:depth]).decode(errors="ignore")) :]
        self.emit(chosen)
        return chosen

    def _tokens_of(self, option: str, place: str) -> list[int]:
        if place == "tool":
            return self.codec.encode(option[:-1] + _TOOL_END)
        return self.codec.encode(option)

    def _write(self, segment: Free) -> str:
        """Write free text under its token masks."""
        matcher = compiler.matcher(segment, self.codec.vocabulary)
        text, reader = "", codecs.getincrementaldecoder("utf-8")()
        while not matcher.is_finished():
            token = self.sampler.draw(self._logits(), matcher.mask().nonzero()[0])
            matcher.advance(token)
            self._append([token])
            if piece := reader.decode(self.codec.bytes_of[token]):
                text += piece
                self.emit(piece)
        return text

    def _freely(self) -> None:
        """Write without a constraint until the model ends its message."""
        allowed = [id_ for id_, token in enumerate(self.codec.bytes_of) if token or id_ == self.codec.end]
        reader = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while (token := self.sampler.draw(self._logits(), allowed)) != self.codec.end:
            self._append([token])
            if piece := reader.decode(self.codec.bytes_of[token]):
                self.emit(piece)

    def _append(self, ids: Sequence[int]) -> None:
        self._encode()
        self._count(ids)

    def _encode(self) -> None:
        """Turn decided text into tokens that wait to be read."""
        if self._text:
            text, self._text = self._text, ""
            self._count(self.codec.encode(text))

    def _count(self, ids: Sequence[int]) -> None:
        self._unread.extend(ids)
        self.written += len(ids)

    def _logits(self) -> Any:
        """Read all that waits in one forward pass; return the logits of the next token."""
        self._encode()
        if self.should_stop():
            raise Halted("abort")
        if self.written >= self.most_tokens:
            raise Halted("length")
        unread, self._unread = self._unread, []
        return self.sequence.read(unread)
