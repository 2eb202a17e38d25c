"""The losses against their formulas written out in float64."""

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hybridlib.training import (
    CLEAR,
    AnchoredInfoNCE,
    CentredInfoNCE,
    CrossingInfoNCE,
    EnglishEmbeddingDistillation,
    EnglishRankingDistillation,
    LaKDA,
    info_nce,
)


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


def test_embedding_distillation_against_plain_loops():
    queries, passages, *english = columns = np.random.default_rng(4).standard_normal((4, 5, 8))
    expected = [sum((a / np.linalg.norm(a) - b / np.linalg.norm(b))**2)
                for texts, targets in zip((queries, passages), english, strict=True)
                for a, b in zip(texts, targets, strict=True)]
    loss = EnglishEmbeddingDistillation(Looked(), Looked())
    assert loss([torch.tensor(c) for c in columns]).item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert loss([torch.tensor(c) for c in (*english, *english)]).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_anchored_is_the_sum_of_both(centred):
    columns = np.random.default_rng(6).standard_normal((4, 5, 8))
    units = [[text / np.linalg.norm(text) for text in texts] for texts in columns]
    distance = np.mean([sum((a - b)**2) for texts, targets in ((0, 2), (1, 3))
                        for a, b in zip(units[texts], units[targets], strict=True)])
    pairs = [[text - sum(texts) / len(texts) for text in texts] for texts in units[:2]] if centred else columns[:2]
    loss = AnchoredInfoNCE(Looked(), Looked(), 0.2, weight=3.0, centred=centred)([torch.tensor(c) for c in columns])
    assert loss.item() == pytest.approx(reference(*pairs, 0.2) + 3 * distance, rel=1e-5)


def test_centred_against_plain_loops():
    queries, passages = np.random.default_rng(5).standard_normal((2, 5, 8))
    centred = []
    for texts in (queries, passages):
        units = [text / np.linalg.norm(text) for text in texts]
        centred.append([unit - sum(units) / len(units) for unit in units])
    expected = reference(*centred, 0.2)
    assert abs(expected - reference(queries, passages, 0.2)) > 0.05, "the case does not tell centred from plain"
    loss = CentredInfoNCE(Looked(), 0.2)
    assert loss([torch.tensor(queries), torch.tensor(passages)]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [lambda *models: EnglishRankingDistillation(*models, 0.05),
                                  lambda *models: AnchoredInfoNCE(*models, 0.05), EnglishEmbeddingDistillation])
def test_distillation_trains_the_student_only(tiny_encoder, make):
    student, teacher = (SentenceTransformer(str(tiny_encoder), device="cpu") for _ in range(2))
    loss = make(student, teacher)
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


def softmax_rows(of, over, temperature):
    """Row i: the softmax over all rows j of ``over`` of cos(of_i, over_j) / temperature; plain loops."""
    rows = []
    for x in of:
        scores = np.exp([x @ y / np.linalg.norm(x) / np.linalg.norm(y) / temperature for y in over])
        rows.append(scores / scores.sum())
    return np.array(rows)


def divergence(p, q):
    """The mean over rows of KL(p ‖ q)."""
    return np.mean([sum(a * np.log(a / b) for a, b in zip(*rows, strict=True)) for rows in zip(p, q, strict=True)])


def three(seed=2, rows=5):
    """Questions, passages, and the questions in another language: (3, rows, 8)."""
    return np.random.default_rng(seed).standard_normal((3, rows, 8))


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_lakda_against_plain_loops(temperature):
    queries, passages, parallel = three()
    apart = divergence(softmax_rows(parallel, passages, 1), softmax_rows(queries, passages, 1))
    assert apart > 0.05, "the case does not tell the alignment from its absence"
    expected = 0.7 * reference(queries, passages, temperature) + 0.3 * apart
    loss = LaKDA(Looked(), temperature, alpha=0.3)
    assert loss([torch.tensor(x) for x in (queries, passages, parallel)]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_clear_against_plain_loops(temperature):
    queries, passages, parallel = three()
    forward = softmax_rows(parallel, passages, temperature)
    reverse = softmax_rows(passages, queries, temperature)
    expected = (0.4 * reference(parallel, passages, temperature) + 0.4 * reference(passages, queries, temperature)
                + 0.2 * divergence(reverse, forward))
    loss = CLEAR(Looked(), temperature)
    assert loss([torch.tensor(x) for x in (queries, passages, parallel)]).item() == pytest.approx(expected, rel=1e-5)


def test_by_hand_where_both_questions_are_one():
    # Two orthogonal pairs at temperature 1: log(e + 1) − 1 for each direction, and nothing to align.
    pair = torch.eye(2)
    assert LaKDA(Looked(), 1.0)([pair, pair, pair]).item() == pytest.approx(0.5 * 0.31326168751822286)
    assert CLEAR(Looked(), 1.0)([pair, pair, pair]).item() == pytest.approx(0.8 * 0.31326168751822286)


@pytest.mark.parametrize("loss", [LaKDA, CLEAR])
def test_the_order_of_a_batch_does_not_matter_and_both_questions_learn(loss):
    columns = [torch.tensor(x, requires_grad=True) for x in three()]
    order = torch.tensor([3, 0, 4, 1, 2])
    value = loss(Looked(), 0.5)(columns)
    assert loss(Looked(), 0.5)([x[order] for x in columns]).item() == pytest.approx(value.item(), rel=1e-6)
    value.backward()
    assert all(x.grad.abs().max() > 1e-3 for x in columns)


def test_a_batch_that_crosses_has_its_own_temperature(tiny_encoder):
    model = SentenceTransformer(str(tiny_encoder), device="cpu").eval()
    features = [model.preprocess([f"{side} {i}" for i in range(4)]) for side in ("1", "2")]
    loss = CrossingInfoNCE(model, 0.05, 0.01)
    with torch.no_grad():
        queries, passages = (model(dict(side))["sentence_embedding"].double().numpy() for side in features)
        for crosses, temperature in ((0, 0.05), (1, 0.01)):
            found = loss([dict(side) for side in features], torch.full((4,), crosses)).item()
            assert found == pytest.approx(reference(queries, passages, temperature), rel=1e-3)
    with pytest.raises(ValueError, match="pairs of both kinds"):
        loss(features, torch.tensor([0, 1, 0, 0]))
    with pytest.raises(ValueError, match="positive, got 0"):
        CrossingInfoNCE(model, 0.05, 0)
