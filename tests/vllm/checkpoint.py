"""Make a tiny Llama checkpoint with random weights, a byte-level tokenizer and a chat template.

It knows nothing, so whatever it says that is valid is valid because of the constraint. The weights are written
as safetensors by hand (an 8-byte length, a JSON header, raw little-endian numbers), so no torch is needed.
"""

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024
HIDDEN = 128
LAYERS = 2
HEADS = 4
INTERMEDIATE = 256
WINDOW = 8192

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CORPUS = (
    '{"thought":"look it up, then answer","calls":[{"tool":"weather","arguments":{"city":"Berlin","days":3}}]}',
    '{"thought":"I know enough","answer":{"total":-12.5,"currency":"EUR","items":[1,2,3],"paid":true,"note":null}}',
    (Path(__file__).parents[2] / "LICENSE").read_text(),
)
"""What the tokenizer's merges come from: decisions, and English that is at hand."""


def make_checkpoint(cache: Path, *, seed: int = 7) -> Path:
    """Return the folder of the checkpoint, made now unless this version of it is already in `cache`."""
    source = hashlib.sha256(Path(__file__).read_bytes() + bytes([seed])).hexdigest()[:12]
    folder = cache / f"tiny-llama-{source}"
    if (folder / "done").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(_config(), indent=1))
    write_safetensors(folder / "model.safetensors", _weights(np.random.default_rng(seed)))
    (folder / "done").touch()
    return folder


def write_safetensors(path: Path, tensors: dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]) -> None:
    """Write 32-bit tensors in the safetensors format (https://github.com/huggingface/safetensors)."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def _weights(random: np.random.Generator) -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]:
    def normal(*shape: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    ones = np.ones(HIDDEN, dtype=np.float32)
    tensors = {"model.embed_tokens.weight": normal(VOCABULARY, HIDDEN), "model.norm.weight": ones}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"{prefix}.self_attn.{name}.weight"] = normal(HIDDEN, HIDDEN)
        tensors[f"{prefix}.mlp.gate_proj.weight"] = normal(INTERMEDIATE, HIDDEN)
        tensors[f"{prefix}.mlp.up_proj.weight"] = normal(INTERMEDIATE, HIDDEN)
        tensors[f"{prefix}.mlp.down_proj.weight"] = normal(HIDDEN, INTERMEDIATE)
        tensors[f"{prefix}.input_layernorm.weight"] = ones
        tensors[f"{prefix}.post_attention_layernorm.weight"] = ones
    tensors["lm_head.weight"] = normal(VOCABULARY, HIDDEN)
    return tensors


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": WINDOW,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "initializer_range": 0.05,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    }


def _write_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": WINDOW,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
