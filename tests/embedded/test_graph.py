"""The exported graph computes what the trained network computes."""

import pytest

from loopwright.inference.embedded import Checkpoint
from loopwright.inference.embedded.network import Network, TokenSequence

pytestmark = pytest.mark.torch


def test_the_graph_gives_the_logits_of_the_network() -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    from loopwright.inference.embedded.train.model import LanguageModel, ModelConfig, rope_tables

    checkpoint = Checkpoint()
    known = ModelConfig.__dataclass_fields__
    config = ModelConfig(**{key: value for key, value in checkpoint.config.items() if key in known})
    model = LanguageModel(config)
    weights = safetensors.load_file(checkpoint.folder / "model.safetensors")
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    ids = torch.arange(7, 307).unsqueeze(0)
    with torch.no_grad():
        wanted = model.logits(model(ids, *rope_tables(300, config)))[0].numpy()

    sequence = TokenSequence(Network(checkpoint.load_session(threads=1), checkpoint.config))
    tokens = ids[0].tolist()
    for start, stop in ((0, 200), (200, 290), (290, 291), (291, 300)):
        logits = sequence.read(tokens[start:stop])
        assert abs(logits - wanted[stop - 1]).max() < 1e-3
