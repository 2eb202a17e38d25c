"""One number a document: what it is, by plain loops; where it goes; and whom it lifts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridlib.debiasing import NearestNeighborNormalization, unit


def texts(seed, count, width=6):
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.data())
def test_the_score_is_the_cosine_less_a_part_of_the_mean_of_the_nearest(seed, count, data):
    neighbors = data.draw(st.integers(1, count - 1))
    weight = data.draw(st.floats(0, 2))
    bank, new, queries = texts(seed, count), texts(seed + 1, 4), texts(seed + 2, 3)
    found = NearestNeighborNormalization(bank, neighbors, weight)
    assert found.documents(bank).shape == (count, 7) and found.documents(bank).dtype == np.float32
    for documents in (bank, new):
        scores = found.queries(queries) @ found.documents(documents).T
        for q, query in enumerate(queries):
            for d, document in enumerate(documents):
                near = sorted((float(document @ other) for other in bank if other is not document
                               and not np.array_equal(other, document)), reverse=True)[:neighbors]
                expected = query @ document - weight * sum(near) / neighbors
                assert scores[q, d] == pytest.approx(expected, abs=1e-5)


def test_by_hand_a_document_that_is_near_to_all_gives_way_to_one_that_is_near_to_none():
    hub, other, lonely = unit(np.array([[1.0, 1, 0], [1, 0.8, 0], [0, 1, 2]]))
    bank = np.stack([hub, other, lonely]).astype(np.float32)
    query = unit(np.array([[0.8, 1.1, 0.6]]))
    plain = query @ bank.T
    assert plain.argmax() == 0
    found = NearestNeighborNormalization(bank, neighbors=1, weight=0.5)
    np.testing.assert_allclose(found.nearness(bank), [hub @ other, hub @ other, hub @ lonely], atol=1e-6)
    assert (found.queries(query) @ found.documents(bank).T).argmax() == 2
    none = NearestNeighborNormalization(bank, neighbors=1, weight=0)
    np.testing.assert_allclose(none.queries(query) @ none.documents(bank).T, plain, atol=1e-6)


def test_a_document_of_the_bank_and_its_copy_are_no_neighbours():
    bank = texts(0, 20)
    found = NearestNeighborNormalization(np.concatenate([bank, bank[:1]]), neighbors=3)
    alone = NearestNeighborNormalization(bank, neighbors=3)
    assert found.nearness(bank[:1]) == pytest.approx(alone.nearness(bank[:1]), abs=1e-6)
    assert alone.nearness(bank[:1])[0] < 0.99


def test_a_bank_read_back_from_half_precision_is_the_same_but_for_rounding():
    bank = texts(0, 300, width=384)
    whole = NearestNeighborNormalization(bank, 5)
    for stored in (bank.astype(np.float16), bank.astype(np.float16).astype(np.float32)):
        found = NearestNeighborNormalization(stored, 5)
        np.testing.assert_allclose(found.documents(stored)[:, -1], whole.nearness(bank), atol=2e-3)


def test_among_copies_the_mean_is_over_what_is_left():
    others, copy = texts(0, 3), texts(1, 1)
    found = NearestNeighborNormalization(np.concatenate([others, np.repeat(copy, 60, axis=0)]), neighbors=50)
    assert found.nearness(copy) == pytest.approx((others @ copy[0]).mean(), abs=1e-6)
    alone = NearestNeighborNormalization(np.repeat(copy, 5, axis=0), neighbors=2)
    assert alone.nearness(copy) == pytest.approx(0)


def test_a_large_bank_is_read_in_pieces(monkeypatch):
    bank = texts(0, 3000)
    cosines = bank @ bank.T
    np.fill_diagonal(cosines, -1)
    expected = np.sort(cosines)[:, -5:].mean(1)
    for numbers in (2**24, 700 * 3000, 1):
        monkeypatch.setattr("hybridlib.debiasing.hubness._NUMBERS", numbers)
        np.testing.assert_allclose(NearestNeighborNormalization(bank, 5).nearness(bank), expected, atol=1e-6)


@pytest.mark.parametrize(("change", "reason"), [
    ({"neighbors": 0}, "neighbors is 0; with 5 vectors in the bank it can be from 1 to 4"),
    ({"neighbors": 5}, "neighbors is 5; with 5 vectors"),
    ({}, "neighbors is 50; with 5 vectors"),
    ({"neighbors": 2, "weight": -0.1}, "weight is -0.1, and has to be 0 or more"),
    ({"neighbors": 2, "weight": float("nan")}, "weight is nan"),
    ({"neighbors": 2, "bank": np.ones((5, 3))}, "the bank: not all have unit length"),
    ({"neighbors": 2, "bank": np.ones(3)}, r"the bank: the shape is \(3,\); \(texts, width\) is needed"),
    ({"neighbors": 2, "bank": np.full((5, 3), np.nan)}, "the bank: not all have unit length"),
])
def test_what_cannot_be_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        NearestNeighborNormalization(**{"bank": texts(0, 5), **change})


@pytest.mark.parametrize("side", ["documents", "queries"])
def test_vectors_that_do_not_fit_are_refused(side):
    found = NearestNeighborNormalization(texts(0, 5), neighbors=2)
    with pytest.raises(ValueError, match=r"vectors: the shape is \(4, 5\); \(texts, 6\) is needed"):
        getattr(found, side)(texts(0, 4, width=5))
    with pytest.raises(ValueError, match="vectors: not all have unit length"):
        getattr(found, side)(2 * texts(0, 4))
