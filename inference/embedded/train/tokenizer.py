"""The tokenizer: byte-level BPE of 2,048 entries in which a value has the same tokens wherever it stands.

Spaces, digits, capitals and punctuation are tokens of their own before BPE, so ` Leipzig`, `"Leipzig` and
`"leipzig` share the rest and copying a value from the task into JSON is copying tokens. Only function words
take the space before them along, since values rarely begin with one. The fixed text of the protocol and of the
decision format are single tokens.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from ....planner.prompt import PROTOCOL

VOCABULARY = 2048
SPECIAL = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
"""Padding, the three roles, and the end of every message."""

FIXED = (
    f"{PROTOCOL}\n\nTools:\n- ",
    "\n\nAnswer: ",
    '{"thought":"',
    '":[{"tool":"',
    '","arguments":{',
    '":"',
    '":',
    ',"',
    '<observation call="',
    '" tool="',
    '" error="',
    ',{"tool":"',
    "]}",
    '">',
    "</observation>",
)
"""Text of the prompt and decision format that is one token each."""

_WORDS = (
    "a|an|the|of|to|in|is|it|and|or|for|on|at|by|as|if|be|me|my|you|with|from|into|that|this|what|how|which|please|"
    "are|was|not|no|do|does|has|have|can|could|would|will|i|use|get|need|want|tell|give|find|show|look|up|out|many|much"
)
_TYPES = "string|integer|number|boolean|date|date-time"
PATTERN = rf": (?:{_TYPES})(?![a-z-])| (?:{_WORDS})(?![\p{{L}}\d_])|[a-z]+|[A-Z]|\p{{L}}+| +|."
"""Pieces that BPE may not cross."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def train(texts: Iterable[str]) -> Tokenizer:
    """Return a tokenizer of `VOCABULARY` entries trained on the texts.

    Args:
        texts: Samples of prompts and decisions, in a fixed order.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(FIXED),
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in FIXED])
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Return the tokenizer stored at a path."""
    return Tokenizer.from_file(str(path))


def token_id(tokenizer: Tokenizer, name: str) -> int:
    """Return the id of a special token: a role, `pad` or `end`."""
    found = tokenizer.token_to_id(f"<|{name}|>")
    if found is None:
        raise ValueError(f"the tokenizer has no <|{name}|>")
    return found


def config() -> dict[str, object]:
    """Return the content of tokenizer_config.json."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
        "pad_token": "<|pad|>",
        "eos_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
