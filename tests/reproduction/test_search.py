"""Sharded search against a plain stable sort of all scores; interrupted encoding; memory; what is refused."""

import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from accelerate import PartialState
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hybridlib import encoding
from reproduction.miracl import search


@pytest.fixture(scope="module")
def state():
    yield PartialState(cpu=True)
    PartialState._reset_state()


class Lookup:
    """An encoder whose texts are row numbers of given vectors; fails after some calls; counts what it encoded."""

    def __init__(self, vectors, calls=np.inf):
        self.vectors, self.calls, self.encoded = vectors, calls, []

    def __call__(self, texts):
        if self.calls <= 0:
            raise KeyboardInterrupt
        self.calls -= 1
        self.encoded += texts
        return self.vectors[list(map(int, texts))]


def corpus(vectors):
    return ((f"d{i}", str(i)) for i in range(len(vectors)))


def encode(folder, vectors, size, state, encoder=None):
    search.claim_folder(folder, {"passages": len(vectors), "shard": size})
    search.encode_corpus(folder, corpus(vectors), encoder or Lookup(vectors), state)


def plain(queries, vectors, k):
    """All scores, sorted; equal scores in the order of the corpus."""
    scores = queries.astype(np.float16).astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), passages=st.integers(1, 60), distinct=st.integers(1, 60),
       k=st.integers(1, 12), size=st.integers(1, 70), wobble=st.sampled_from([0, 1e-4, 3e-6]))
@example(seed=0, passages=60, distinct=1, k=3, size=20, wobble=0)  # all the same
@example(seed=0, passages=60, distinct=1, k=3, size=60, wobble=3e-6)  # apart by less than float32 can tell
def test_equals_a_stable_sort_of_all_scores(tmp_path_factory, state, seed, passages, distinct, k, size, wobble):
    """For any size of the shards, with many equal and nearly equal passages."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(distinct, size=passages)
    vectors = unit(unit(rng.standard_normal((distinct, 24)))[rows] + wobble * rng.standard_normal((passages, 24)))
    queries = unit(rng.standard_normal((5, 24)))
    folder = tmp_path_factory.mktemp("shards")
    encode(folder, vectors, size, state)
    scores, positions = search.search_shards(queries, folder, k)
    expected_scores, expected = plain(queries, vectors, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(scores, expected_scores)
    assert search.docids(folder, positions).tolist() == [[f"d{i}" for i in row] for row in expected]


def test_a_thousand_passages_in_shards_of_any_size_rank_the_same(tmp_path, state, unit_vectors):
    rng = np.random.default_rng(1)
    vectors, queries = unit_vectors(rng, 1000, 64), unit_vectors(rng, 40, 64)
    for size in (7, 250, 333, 1000, 5000):
        encode(tmp_path / str(size), vectors, size, state)
        assert len(list((tmp_path / str(size)).glob("embeddings-*.npy"))) == -(-1000 // size)
        _, positions = search.search_shards(queries, tmp_path / str(size), 100)
        np.testing.assert_array_equal(positions, plain(queries, vectors, 100)[1])


def test_a_killed_run_goes_on_after_its_last_whole_shard(tmp_path, state, unit_vectors):
    rng = np.random.default_rng(2)
    vectors, queries = unit_vectors(rng, 47), unit_vectors(rng, 6)
    first = Lookup(vectors, calls=3)
    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path, vectors, 10, state, first)
    assert first.encoded == list(map(str, range(30)))
    assert sorted(file.name for file in tmp_path.glob("*.npy")) == [f"embeddings-0000{n}.npy" for n in range(3)]
    assert not list(tmp_path.glob(".*")), "nothing half-written stays"
    with pytest.raises(FileNotFoundError, match="embeddings-00003.npy"):
        search.search_shards(queries, tmp_path, 5)

    second, third = Lookup(vectors), Lookup(vectors)
    encode(tmp_path, vectors, 10, state, second)
    assert second.encoded == list(map(str, range(30, 47))), "what was whole is not encoded again"
    np.testing.assert_array_equal(search.search_shards(queries, tmp_path, 5)[1], plain(queries, vectors, 5)[1])
    (tmp_path / "embeddings-00001.npy").unlink()
    encode(tmp_path, vectors, 10, state, third)
    assert third.encoded == list(map(str, range(10, 20)))


@pytest.mark.parametrize(("name", "damage"), [
    ("embeddings-00001.npy", "cut"), ("embeddings-00001.npy", "empty"), ("embeddings-00001.npy", "gone"),
    ("docids-00001.txt", "cut"), ("docids-00001.txt", "empty"), ("docids-00001.txt", "gone"),
    ("embeddings-00001.npy", "header")])
def test_a_damaged_shard_is_encoded_anew(tmp_path, state, unit_vectors, name, damage):
    vectors = unit_vectors(np.random.default_rng(0), 20)
    encode(tmp_path, vectors, 6, state)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    file = tmp_path / name
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"cut": whole[:-5], "empty": b"", "header": b"not numpy" + whole[9:]}[damage])
    encoder = Lookup(vectors)
    # What is only missing, as after a kill, is no damage; docids without their embeddings neither.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encode(tmp_path, vectors, 6, state, encoder)
    assert encoder.encoded == [str(i) for i in range(6, 12)], "that shard and no other"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    said = [str(warning.message) for warning in caught]
    assert any("1 shard(s) are damaged" in text and "embeddings-00001.npy" in text for text in said) == (
        (name, damage) != ("embeddings-00001.npy", "gone"))


def test_other_settings_are_refused_by_name_and_the_folder_left_alone(tmp_path, state, unit_vectors):
    vectors = unit_vectors(np.random.default_rng(3), 20)
    encode(tmp_path, vectors, 10, state)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"made with another shard, weights; remove the\s+folder"):
        search.claim_folder(tmp_path, {"passages": 20, "shard": 5, "weights": "w"})
    (tmp_path / "settings.json").unlink()
    with pytest.raises(ValueError, match="made with another passages, shard"):
        search.claim_folder(tmp_path, {"passages": 20, "shard": 10})
    (tmp_path / "settings.json").write_bytes(before["settings.json"])
    search.claim_folder(tmp_path, {"shard": 10, "passages": 20})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_corpus_that_shrank_and_a_foreign_shard_are_refused(tmp_path, state, unit_vectors):
    vectors = unit_vectors(np.random.default_rng(4), 25)
    search.claim_folder(tmp_path, {"passages": 25, "shard": 10})
    with pytest.raises(ValueError, match="ended within shard 2 of 3"):
        search.encode_corpus(tmp_path, corpus(vectors[:24]), Lookup(vectors), state)
    encode(tmp_path, vectors, 10, state)
    np.save(tmp_path / "embeddings-00001.npy", vectors[:9].astype(np.float16))
    with pytest.raises(ValueError, match=r"embeddings-00001.npy: its shape is \(9, 16\), expected \(10, 16\)"):
        search.search_shards(vectors[:2], tmp_path, 5)


def peak(call):
    """The most memory, in bytes, that Python and numpy held at once above what they held before."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("same", [False, True], ids=["distinct passages", "equal passages"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, state, unit_vectors, same):
    size, width, asked, k = 512, 128, 50, 20
    rng = np.random.default_rng(5)
    one, queries = unit_vectors(rng, size, width), unit_vectors(rng, asked, width)
    if same:
        one[:] = one[0]
    peaks = []
    for shards in (4, 40):
        folder = tmp_path / str(shards)
        search.claim_folder(folder, {"passages": shards * size, "shard": size})
        texts = ((f"d{i}", str(i % size)) for i in range(shards * size))
        encoding = peak(lambda folder=folder, texts=texts: search.encode_corpus(
            folder, texts, lambda rows: one[list(map(int, rows))], state))
        peaks.append((encoding, peak(lambda folder=folder: search.search_shards(queries, folder, k))))
    # Ten times the corpus adds file names; its embeddings would add 4.7 MB.
    assert np.abs(np.subtract(*peaks)).max() < 100_000
    # The index is faiss's own memory, which tracemalloc does not see: 4 of the 16 bytes.
    assert peaks[1][1] + 4 * size * width <= 16 * size * width + 24 * asked * width + 512 * (asked * k + size) + (
        2**17 * width)


def test_fingerprint_is_of_the_weights_not_of_the_name(tiny_encoder, tmp_path):
    model, _ = encoding.load(str(tiny_encoder))
    model.save(str(tmp_path / "copy"), create_model_card=False)
    copy, _ = encoding.load(str(tmp_path / "copy"))
    assert search.weights_fingerprint(copy) == search.weights_fingerprint(model)
    assert Path(tiny_encoder).name not in str(copy)
    next(copy.parameters()).data[0, 0] += 1e-6
    assert search.weights_fingerprint(copy) != search.weights_fingerprint(model)
