"""Where the shipped checkpoint lies, and the libraries that read it, imported only when they are needed."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ExtraMissing

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

SHIPPED = Path(__file__).resolve().parent / "checkpoint"
"""The checkpoint that comes with the package."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with `config.json`, `tokenizer.json`, `model.safetensors` and `model.onnx`."""

    folder: Path = SHIPPED

    @cached_property
    def config(self) -> dict[str, Any]:
        """The sizes of the model, as Hugging Face names them."""
        loaded: dict[str, Any] = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        return loaded

    @property
    def context_tokens(self) -> int:
        """Most tokens of prompt and completion together."""
        return int(self.config["max_position_embeddings"])

    def load_tokenizer(self) -> "tokenizers.Tokenizer":
        """Return the tokenizer; text that looks like a special token stays text.

        Raises:
            ExtraMissing: The extra `embedded` is not installed.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as exc:
            raise _missing() from exc
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        return tokenizer

    def load_session(self, *, threads: int) -> "onnxruntime.InferenceSession":
        """Return the model, ready to run on the CPU.

        Args:
            threads: Threads that share one forward pass.

        Raises:
            ExtraMissing: The extra `embedded` is not installed.
        """
        try:
            import numpy  # noqa: F401 - needed by every forward pass
            import onnxruntime
        except ImportError as exc:
            raise _missing() from exc
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        path = str(self.folder / "model.onnx")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _missing() -> ExtraMissing:
    return ExtraMissing(feature="the embedded model", extra="embedded")
