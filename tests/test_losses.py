"""The loss against InfoNCE written out in float64."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hybridlib.losses import info_nce


def reference(queries, passages, temperature):
    """Mean over i of −log softmax over all passages j of cos(q_i, p_j) / temperature, at j = i; plain loops."""
    losses = []
    for i, q in enumerate(queries):
        logits = [q @ p / np.linalg.norm(q) / np.linalg.norm(p) / temperature for p in passages]
        losses.append(np.log(sum(np.exp(x - max(logits)) for x in logits)) + max(logits) - logits[i])
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0])
@pytest.mark.parametrize("negatives", [False, True])
def test_against_float64(tiny_encoder, temperature, negatives):
    rng = np.random.default_rng(0)
    queries, passages, hard = rng.standard_normal((3, 5, 32))
    loss = info_nce(SentenceTransformer(str(tiny_encoder), device="cpu"), temperature)
    columns = [queries, passages, hard] if negatives else [queries, passages]
    ours = loss.compute_loss_from_embeddings([torch.tensor(c) for c in columns], None)
    expected = reference(queries, np.concatenate(columns[1:]), temperature)
    assert ours.item() == pytest.approx(expected, rel=1e-9)


def test_by_hand(tiny_encoder):
    # Two orthogonal pairs at temperature 1: log(e + 1) − 1 for each.
    loss = info_nce(SentenceTransformer(str(tiny_encoder), device="cpu"), 1.0)
    pair = torch.eye(2, dtype=torch.float64)
    assert loss.compute_loss_from_embeddings([pair, pair], None).item() == pytest.approx(0.31326168751822286)


def test_temperature_must_be_positive(tiny_encoder):
    with pytest.raises(ValueError, match="positive, got 0"):
        info_nce(SentenceTransformer(str(tiny_encoder), device="cpu"), 0)
