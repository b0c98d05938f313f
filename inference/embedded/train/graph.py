"""The model as a hand-built ONNX graph whose weights lie in `model.safetensors`.

Inputs: `input_ids` (batch, length), `seqlens_k` (batch; tokens in the cache after this call, less one),
`total_sequence_length`, and per layer `past_key_i`/`past_value_i` (batch, heads, capacity, head_dim). Outputs:
`logits` (batch, 1, vocabulary) of the last token, and `present_*`, which may be bound to the same memory as
`past_*`: then the cache grows in place.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from .model import ModelConfig

OPSET = 18
_CONTRIB = "com.microsoft"


class GraphBuilder:
    """Gathers nodes and initialisers; every method returns the name of its output."""

    def __init__(self, weights: Path) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._file = weights.name
        with weights.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._entries: dict[str, Any] = json.loads(file.read(size))
        self._start = 8 + size
        self._count = 0

    def add(self, kind: str, inputs: Sequence[str], *, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of names."""
        self._count += 1
        names = [f"{kind.lower()}_{self._count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name: str) -> str:
        """Return a weight of the safetensors file in float32."""
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=entry["shape"])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self._file), ("offset", self._start + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
        self.initializers.append(tensor)
        return str(self.add("Cast", [name], to=TensorProto.FLOAT))

    def matrix(self, *names: str) -> str:
        """Return the transposed weights of linear layers, side by side."""
        parts = [self.add("Transpose", [self.weight(name)], perm=[1, 0]) for name in names]
        return str(parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=1))

    def constant(self, name: str, values: Sequence[float] | float, kind: int) -> str:
        """Return a small constant."""
        flat = list(values) if isinstance(values, Sequence) else [values]
        shape = [len(flat)] if isinstance(values, Sequence) else []
        self.initializers.append(helper.make_tensor(name, kind, shape, flat))
        return name


def build_graph(config: ModelConfig, weights: Path) -> ModelProto:
    """Return the graph for weights that have already been written.

    Args:
        config: Sizes of the model.
        weights: The safetensors file; the graph must be stored beside it.
    """
    graph = GraphBuilder(weights)
    cos, sin = _rope(graph, config)
    table = graph.weight("model.embed_tokens.weight")
    x = graph.add("Gather", [table, "input_ids"], axis=0)
    presents: list[str] = []
    for index in range(config.num_hidden_layers):
        x = _attention(graph, config, index, x, (cos, sin), presents)
        x = _feed_forward(graph, config, index, x)
    last = graph.add("Gather", [x, graph.constant("last", [-1], TensorProto.INT64)], axis=1)
    normed = _norm(graph, config, last, "model.norm.weight")
    graph.nodes.append(helper.make_node("MatMul", [normed, graph.add("Transpose", [table], perm=[1, 0])], ["logits"]))
    inputs, outputs = _signature(config)
    proto = helper.make_graph(graph.nodes, "loopwright_embedded", inputs, outputs, graph.initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_CONTRIB, 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=9, producer_name="loopwright")


def _rope(graph: GraphBuilder, config: ModelConfig) -> tuple[str, str]:
    """Return cosine and sine tables of shape (positions, head_dim / 2), computed once at load."""
    half = config.head_dim // 2
    rates = [config.rope_theta ** (-i / half) for i in range(half)]
    limits = [
        graph.constant(f"range_{n}", n, TensorProto.FLOAT) for n in (0.0, float(config.max_position_embeddings), 1.0)
    ]
    positions = graph.add("Unsqueeze", [graph.add("Range", limits), graph.constant("axis", [1], TensorProto.INT64)])
    angles = graph.add("Mul", [positions, graph.constant("rates", rates, TensorProto.FLOAT)])
    return graph.add("Cos", [angles]), graph.add("Sin", [angles])


def _norm(graph: GraphBuilder, config: ModelConfig, x: str, weight: str) -> str:
    return str(
        graph.add(
            "SimplifiedLayerNormalization",
            [x, graph.weight(weight)],
            axis=-1,
            epsilon=config.rms_norm_eps,
            stash_type=1,
        )
    )


def _attention(
    graph: GraphBuilder, config: ModelConfig, index: int, x: str, rope: tuple[str, str], presents: list[str]
) -> str:
    layer = f"model.layers.{index}."
    normed = _norm(graph, config, x, layer + "input_layernorm.weight")
    packed = graph.matrix(*(f"{layer}self_attn.{part}_proj.weight" for part in "qkv"))
    present = [f"present_key_{index}", f"present_value_{index}"]
    mixed = f"attention_{index}"
    graph.nodes.append(
        helper.make_node(
            "GroupQueryAttention",
            [graph.add("MatMul", [normed, packed]), "", "", f"past_key_{index}", f"past_value_{index}",
             "seqlens_k", "total_sequence_length", *rope],
            [mixed, *present],
            domain=_CONTRIB,
            num_heads=config.heads,
            kv_num_heads=config.heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
    )  # fmt: skip
    presents.extend(present)
    return str(graph.add("Add", [x, graph.add("MatMul", [mixed, graph.matrix(layer + "self_attn.o_proj.weight")])]))


def _feed_forward(graph: GraphBuilder, config: ModelConfig, index: int, x: str) -> str:
    layer = f"model.layers.{index}."
    normed = _norm(graph, config, x, layer + "post_attention_layernorm.weight")
    both = graph.add("MatMul", [normed, graph.matrix(layer + "mlp.gate_proj.weight", layer + "mlp.up_proj.weight")])
    gate, up = graph.add("Split", [both], outputs=2, axis=-1, num_outputs=2)
    active = graph.add("Mul", [graph.add("Mul", [gate, graph.add("Sigmoid", [gate])]), up])
    return str(graph.add("Add", [x, graph.add("MatMul", [active, graph.matrix(layer + "mlp.down_proj.weight")])]))


def _signature(config: ModelConfig) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    def value(name: str, kind: int, shape: Sequence[str | int]) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [
        value("input_ids", TensorProto.INT64, ["batch", "length"]),
        value("seqlens_k", TensorProto.INT32, ["batch"]),
        value("total_sequence_length", TensorProto.INT32, []),
    ]
    outputs = [value("logits", TensorProto.FLOAT, ["batch", 1, config.vocab_size])]
    for index in range(config.num_hidden_layers):
        for part in ("key", "value"):
            shape: list[str | int] = ["batch", config.heads, "capacity", config.head_dim]
            inputs.append(value(f"past_{part}_{index}", TensorProto.FLOAT, shape))
            outputs.append(value(f"present_{part}_{index}", TensorProto.FLOAT, shape))
    return inputs, outputs
