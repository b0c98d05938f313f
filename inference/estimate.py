"""Estimate a prompt's tokens from its characters, corrected by what the server counts."""

from .endpoint import Message

CHARS_PER_TOKEN = 3.5
"""First guess, a little below English text with common tokenizers, so that a prompt is not taken for shorter."""

TOKENS_PER_MESSAGE = 4
"""What a chat template adds around a message, roughly."""

WEIGHT = 0.25
"""How far one reported usage moves the ratio."""


class TokenEstimate:
    """Characters per token of one model, learned from the usage of its replies.

    Exact counts need the tokenizer; asking the server for each prompt would cost a round trip per step. The estimate
    is good for prompts like those already seen; plan a window with a margin of some 15 %.
    """

    def __init__(self) -> None:
        self._chars_per_token = CHARS_PER_TOKEN

    @property
    def chars_per_token(self) -> float:
        """The ratio now."""
        return self._chars_per_token

    def count(self, messages: tuple[Message, ...]) -> int:
        """Return the estimated tokens of a prompt."""
        chars = sum([len(each.content) for each in messages])
        return int(chars / self._chars_per_token) + TOKENS_PER_MESSAGE * len(messages) + 1

    def learn(self, messages: tuple[Message, ...], prompt_tokens: int) -> None:
        """Take the server's count of a prompt; counts that leave nothing for the text are ignored."""
        chars = sum([len(each.content) for each in messages])
        tokens = prompt_tokens - TOKENS_PER_MESSAGE * len(messages)
        if chars > 0 and tokens > 0:
            seen = min(max(chars / tokens, 0.5), 10.0)
            self._chars_per_token += WEIGHT * (seen - self._chars_per_token)
