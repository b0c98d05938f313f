"""Writes the checkpoint folder: Hugging Face files, and an ONNX graph over the same weights.

`python -m loopwright.inference.embedded.train.export --state .cache/train` reads a training state. The graph holds
no weights: its initialisers point by offset into `model.safetensors` (float16; onnxruntime widens them once at load).
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from . import tokenizer as tokenizers
from .graph import build_graph
from .model import ModelConfig

CHECKPOINT = Path(__file__).resolve().parent.parent / "checkpoint"


def hugging_face_config(config: ModelConfig, *, pad: int, end: int) -> dict[str, object]:
    """Return config.json for `LlamaForCausalLM`."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": pad,
        "dtype": "float16",
    }


def export(state: Path, folder: Path) -> None:
    """Write the checkpoint of a training state.

    Args:
        state: Folder with `state.pt` and `tokenizer.json`.
        folder: Where the checkpoint goes; files of the same names are replaced.
    """
    content = torch.load(state / "state.pt", weights_only=True)
    config = ModelConfig(**content["config"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(state / "tokenizer.json", folder / "tokenizer.json")
    vocabulary = tokenizers.load(folder / "tokenizer.json")
    pad, end = tokenizers.token_id(vocabulary, "pad"), tokenizers.token_id(vocabulary, "end")
    write_json(folder / "config.json", hugging_face_config(config, pad=pad, end=end))
    write_json(folder / "tokenizer_config.json", tokenizers.config())
    weights = {name: value.to(torch.float16).contiguous() for name, value in content["model"].items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "model.onnx").write_bytes(build_graph(config, folder / "model.safetensors").SerializeToString())
    print(f"exported step {content['step']} after {content['elapsed_s'] / 60:.0f} minutes, {content['tokens']} tokens")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file with a final newline."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".cache/train"))
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    arguments = parser.parse_args()
    export(arguments.state, arguments.out)


if __name__ == "__main__":
    main()
