from __future__ import annotations

import numpy as np
import torch

from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny
from suite.encoder.weights import narrow, widened


def test_a_matrix_in_int8_is_near_and_stays_what_it_became():
    tensors = {"a": torch.randn(5, 40) * torch.tensor([[1e-3], [1], [10], [0], [3]]), "bias": torch.randn(5)}
    small = narrow(tensors)
    assert small["a"].dtype == torch.int8 and set(small) == {"a", "a.scale", "bias"}
    again = widened(small)
    torch.testing.assert_close(again["bias"], tensors["bias"])
    steps = tensors["a"].abs().amax(dim=1, keepdim=True) / 127
    assert ((again["a"] - tensors["a"]).abs() <= steps * 0.501).all()
    assert torch.equal(narrow(again)["a"], small["a"])


def test_a_checkpoint_in_int8_is_small_and_is_read_by_every_engine(tmp_path):
    whole = Encoder.load(str(write_tiny(tmp_path / "tiny", layers=2)), threads=1, device="cpu")
    texts = ["a red tent", "the lamp does not work", "rope"]
    small = whole.in_int8()
    assert small.fingerprint != whole.fingerprint
    small.save(tmp_path / "small")
    loaded = Encoder.load(str(tmp_path / "small"), threads=1, device="cpu")
    assert loaded.fingerprint == small.fingerprint
    for engine in ("reference", "torch-fp32"):
        np.testing.assert_allclose(loaded.with_engine(engine).embed(texts), small.embed(texts), atol=1e-5)
    assert np.einsum("nd,nd->n", loaded.embed(texts), whole.embed(texts)).min() > 0.99
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("tiny", "small")]
    assert sizes[1] < sizes[0] * 0.4
    tuned = loaded.with_body(loaded.model)
    assert "weights" not in tuned.settings  # what is trained further is whole again
