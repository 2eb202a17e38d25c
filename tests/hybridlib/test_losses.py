"""The loss against InfoNCE written out in float64."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hybridlib.training import EnglishRankingDistillation, info_nce


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


class Looked(torch.nn.Module):
    """An encoder that is given its embeddings."""

    def forward(self, features):
        return {"sentence_embedding": features}


def test_distillation_against_plain_loops():
    rng = np.random.default_rng(1)
    columns = rng.standard_normal((4, 5, 8))
    temperature, expected = 0.2, []
    for i in range(5):
        distributions = []
        for queries, passages in (columns[:2], columns[2:]):
            scores = [q @ p / np.linalg.norm(q) / np.linalg.norm(p) / temperature
                      for q, p in zip([queries[i]] * 5, passages, strict=True)]
            distributions.append(np.exp(scores) / np.sum(np.exp(scores)))
        student, teacher = distributions
        expected.append(-np.sum(teacher * np.log(student)))
    loss = EnglishRankingDistillation(Looked(), Looked(), temperature)
    assert loss([torch.tensor(c) for c in columns]).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_distillation_trains_the_student_only(tiny_encoder):
    student, teacher = (SentenceTransformer(str(tiny_encoder), device="cpu") for _ in range(2))
    loss = EnglishRankingDistillation(student, teacher, 0.05)
    features = [student.preprocess([f"{side} {i}" for i in range(4)]) for side in ("1", "2", "3", "4")]
    loss(features).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters())
    assert {id(p) for p in loss.parameters()} == {id(p) for p in student.parameters()}


def test_cached_is_the_same_loss_and_gradient(tiny_encoder):
    gradients, values = [], []
    for size in (None, 3):
        model = SentenceTransformer(str(tiny_encoder), device="cpu").eval()
        features = [model.preprocess([f"{i + shift} {i}" for i in range(8)]) for shift in (0, 20, 40)]
        loss = info_nce(model, 0.05, mini_batch_size=size)(features, None)
        loss.backward()
        values.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert torch.allclose(*gradients, atol=1e-5 * gradients[0].abs().max().item())
