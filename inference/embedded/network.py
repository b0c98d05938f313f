"""The network with its memory: forward passes over sequences whose keys and values are kept."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import onnxruntime
    from numpy.typing import NDArray

    Logits = NDArray[numpy.float32]

BLOCK = 256
"""Tokens by which a sequence's memory grows."""


class TokenSequence:
    """Tokens that were read, with their keys and values.

    Attributes:
        tokens: Tokens read so far.
        capacity: Tokens that the memory holds before it grows.
    """

    def __init__(self, network: "Network") -> None:
        self.tokens: list[int] = []
        self.capacity = 0
        self._network = network
        self._memory: Any = None
        self._binding: Any = None

    def read(self, ids: Sequence[int]) -> "Logits":
        """Read tokens in one forward pass; return the logits of the token after them."""
        self.reserve(len(self.tokens) + len(ids))
        logits = self._network.forward(self._binding, len(self.tokens), ids)
        self.tokens.extend(ids)
        return logits

    def fork(self, length: int) -> "TokenSequence":
        """Return a new sequence that begins with the first `length` tokens of this one."""
        other = TokenSequence(self._network)
        other.reserve(length + BLOCK)
        other._memory[:, :, :length] = self._memory[:, :, :length]
        other.tokens = self.tokens[:length]
        return other

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens."""
        if length <= self.capacity:
            return
        import numpy

        old, used = self._memory, len(self.tokens)
        self.capacity = -(-length // BLOCK) * BLOCK
        heads, size = self._network.heads, self._network.head_dim
        self._memory = numpy.zeros((2 * self._network.layers, heads, self.capacity, size), dtype=numpy.float32)
        if used:
            self._memory[:, :, :used] = old[:, :, :used]
        self._binding = self._network.bind(self._memory)


class Network:
    """An onnxruntime session of the exported graph. Forward passes may run in several threads at once."""

    def __init__(self, session: "onnxruntime.InferenceSession", config: dict[str, Any]) -> None:
        self._session = session
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_key_value_heads"])
        self.head_dim = int(config["head_dim"])
        self.vocab_size = int(config["vocab_size"])

    def bind(self, memory: Any) -> Any:
        """Bind one sequence's memory as past and present at once, so that it grows in place."""
        import numpy

        binding = self._session.io_binding()
        shape = (1, *memory.shape[1:])
        for index in range(2 * self.layers):
            name, where = f"{('key', 'value')[index % 2]}_{index // 2}", memory[index].ctypes.data
            binding.bind_input(f"past_{name}", "cpu", 0, numpy.float32, shape, where)
            binding.bind_output(f"present_{name}", "cpu", 0, numpy.float32, shape, where)
        return binding

    def forward(self, binding: Any, past: int, ids: Sequence[int]) -> "Logits":
        """Read tokens behind `past` others; return the logits of the token after them."""
        import numpy

        total = past + len(ids)
        logits = numpy.empty((1, 1, self.vocab_size), dtype=numpy.float32)
        binding.bind_cpu_input("input_ids", numpy.array([ids], dtype=numpy.int64))
        binding.bind_cpu_input("seqlens_k", numpy.array([total - 1], dtype=numpy.int32))
        binding.bind_cpu_input("total_sequence_length", numpy.array(total, dtype=numpy.int32))
        binding.bind_output("logits", "cpu", 0, numpy.float32, logits.shape, logits.ctypes.data)
        self._session.run_with_iobinding(binding)
        last: Logits = logits[0, 0]
        return last


class PrefixCache:
    """Sequences kept for prompts that begin like them, least recently used first out.

    Args:
        most_tokens: Tokens of memory kept in all; one token takes 9 KB in the shipped model.
    """

    def __init__(self, network: Network, most_tokens: int) -> None:
        self._network = network
        self._most = most_tokens
        self._kept: list[TokenSequence] = []

    def take(self, ids: Sequence[int]) -> TokenSequence:
        """Return a sequence that holds the longest known beginning of `ids`, at least one token short of all.

        A sequence that goes on with exactly these tokens is handed out itself; of any other a copy is.
        """
        best, length = None, 0
        for kept in self._kept:
            common = min(_common(kept.tokens, ids), len(ids) - 1)
            if common > length:
                best, length = kept, common
        if best is None:
            return TokenSequence(self._network)
        self._kept.remove(best)
        if length == len(best.tokens):
            return best
        self._kept.append(best)
        return best.fork(length)

    def give(self, sequence: TokenSequence) -> None:
        """Keep a sequence for later prompts."""
        self._kept.append(sequence)
        while len(self._kept) > 1 and sum(kept.capacity for kept in self._kept) > self._most:
            self._kept.pop(0)


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many tokens two sequences begin with in common."""
    most = min(len(left), len(right))
    if left[:most] == right[:most]:
        return most
    return next(index for index in range(most) if left[index] != right[index])
