"""The nearest passages of a corpus that does not fit in memory: encoded in shards, searched shard by shard.

An encoded corpus is a folder: ``settings.json`` says what it is made from and how many passages it holds; every
``shard`` passages of it, in the order of the corpus, are ``docids-00012.txt`` (one a line) and
``embeddings-00012.npy`` (float16, passages × width). A shard's embeddings appear under their name when they are
whole, after its docids: what is there is never encoded again, and a killed run loses the shards that its processes
were at.

The processes and machines of ``accelerate launch`` share the shards out among them; the folder must be one that all
of them see.

Memory, whatever the number of passages, with S passages in a shard, Q queries, width d and depth k:

* encoding: the model, the texts and token ids of one shard, and 14·S·d bytes of embeddings;
* searching: at most 16·S·d + 24·Q·d + 512·(Q·k + S) + 2**17·d bytes.

With the default shard, 800 queries, width 768 and depth 100 the second is 0.4 GB.

Scores: embeddings and queries are taken in float16. Their products are multiples of 2**-48, so that float64 adds
them exactly in any order: a score does not depend on shards, threads or processes, and ties are true ties. faiss
finds a shard's candidates in float32, and exact scores order them.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from accelerate import PartialState
from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from hybridlib import files

SHARD_PASSAGES = 2**14
# How many pairs, and queries of a whole shard, are scored exactly at once.
_PAIRS, _QUERIES = 2**12, 2**4


def weights_fingerprint(model: SentenceTransformer) -> str:
    """Hex digest of a SentenceTransformer's modules and weights: the same encoder under any name has the same."""
    digest = hashlib.sha256(str(model).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def claim_folder(folder: str | Path, settings: dict[str, Any]) -> None:
    """Make a folder the place of an encoded corpus, or find it to be the place of this one already.

    For a run that is alone in it (`hybridlib.files.alone`): what killed ones have left half-written is removed.

    Parameters
    ----------
    folder : path
    settings : dict
        All that the embeddings depend on; ``passages`` and ``shard``, numbers, are among it.

    Raises
    ------
    ValueError
        If the folder holds embeddings that were made with other settings; it says which differ.
    """
    folder = Path(folder)
    file = folder / "settings.json"
    files.sweep(folder)
    found = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    if files.key(found) == files.key(settings):
        return
    if any(folder.glob("embeddings-*.npy")):
        differ = sorted(name for name in found.keys() | settings.keys() if found.get(name) != settings.get(name))
        raise ValueError(f"{folder}: holds embeddings that were made with another {', '.join(differ)}; remove the "
                         "folder to encode anew, or choose another one")
    files.write_json(file, settings)


def folder_settings(folder: str | Path) -> dict[str, Any]:
    """What the embeddings of a folder are made with, as given to `claim_folder`."""
    return json.loads(Path(folder, "settings.json").read_text("utf-8"))


def _shards(folder: str | Path) -> list[tuple[Path, Path, range]]:
    """A folder's shards, there or not: per shard the files of docids and embeddings, and the positions they hold."""
    settings = folder_settings(folder)
    size, total = settings["shard"], settings["passages"]
    return [(Path(folder, f"docids-{number:05}.txt"), Path(folder, f"embeddings-{number:05}.npy"),
             range(start, min(start + size, total))) for number, start in enumerate(range(0, total, size))]


def _is_whole(docids: Path, embeddings: Path, positions: range) -> bool:
    """Whether both files of a shard are there, with as many docids and embeddings as it has passages."""
    if not docids.is_file() or not embeddings.is_file():
        return False
    try:
        rows = len(np.load(embeddings, mmap_mode="r"))
    except (ValueError, EOFError, OSError):  # cut, emptied, or no such file
        return False
    return rows == len(positions) == docids.read_bytes().count(b"\n")


def encode_corpus(folder: str | Path, passages: Iterable[tuple[str, str]], encode: Callable[[list[str]], np.ndarray],
                  state: PartialState) -> None:
    """Encode the shards of a corpus that are not there yet; each process its part of them.

    Parameters
    ----------
    folder : path
        As `claim_folder` left it.
    passages : iterable of (str, str)
        Docid and text, in the order of the corpus; read once, from the start.
    encode : callable
        Texts to an ndarray of shape (texts, width).
    state : accelerate.PartialState

    Raises
    ------
    ValueError
        If there are fewer passages than the settings say.
    """
    shards = _shards(folder)
    missing = [number for number, shard in enumerate(shards) if not _is_whole(*shard)]
    damaged = [number for number in missing if shards[number][1].is_file()]
    if damaged and state.is_main_process:
        warnings.warn(f"{folder}: {len(damaged)} shard(s) are damaged and are encoded anew: "
                      f"{', '.join(shards[number][1].name for number in damaged[:5])}{', …' * (len(damaged) > 5)}",
                      stacklevel=2)
    # All must have listed the folder before anyone adds to it: the lists are shared out, and must be the same.
    state.wait_for_everyone()
    with state.split_between_processes(missing) as mine:
        passages = iter(passages)
        progress = tqdm(total=len(mine), desc=Path(folder).name, unit="shard", disable=not state.is_main_process)
        for number, (docids, embeddings, positions) in enumerate(shards[:max(mine, default=-1) + 1]):
            shard = list(islice(passages, len(positions)))
            if number not in mine:
                continue
            if len(shard) < len(positions):
                raise ValueError(f"{folder}: the corpus ended within shard {number} of {len(shards)}; it has changed")
            with files.atomic(docids) as temporary:
                temporary.write_bytes("".join(f"{docid}\n" for docid, _ in shard).encode())
            files.save_array(embeddings, encode([text for _, text in shard]).astype(np.float16))
            progress.update()
        progress.close()
    state.wait_for_everyone()


def search_shards(queries: np.ndarray, folder: str | Path, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest passages of each query, by inner product; of equal scores the passage that comes first.

    Exactly what a stable sort of all scores would give: faiss returns the 2·k nearest of a shard with scores that are
    right within a known bound, those near enough are scored exactly and merged with what was found before; where the
    bound cannot exclude that faiss left one out, as among many equal passages, the shard is scored exactly for that
    query.

    Parameters
    ----------
    queries : ndarray, shape (Q, width), of unit length
    folder : path
        Where `encode_corpus` has been, to the end.
    k : int

    Returns
    -------
    (ndarray of float64, ndarray of int64), each of shape (Q, min(k, passages))
        The scores, best first, and the passages' positions in the corpus.

    Raises
    ------
    FileNotFoundError, ValueError
        If a shard is missing, or has not the passages that it should have.
    """
    exact_queries = np.asarray(queries, np.float16).astype(np.float64)
    rounded = exact_queries.astype(np.float32)
    count, width = rounded.shape
    # Summing d products of unit vectors in float32 errs by less than d units in the last place; twice that, for both.
    slack = width * 2.0**-23
    best = (np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    for _, file, positions in tqdm(_shards(folder), desc="searching", unit="shard"):
        start = positions.start
        embeddings = np.load(file, mmap_mode="r").astype(np.float32)
        if embeddings.shape != (len(positions), width):
            raise ValueError(f"{file}: its shape is {embeddings.shape}, expected {(len(positions), width)}; remove it "
                             "and run again")
        index = faiss.IndexFlatIP(width)
        index.add(embeddings)
        depth = min(2 * k, len(embeddings))
        scores, rows = index.search(rounded, depth)
        near = scores >= _floor(best, count, k)[:, None] - slack
        query, row = np.nonzero(near)[0], rows[near]
        best = _merge(best, (query, _pairs(exact_queries, embeddings, query, row), row + start), k)
        if depth < len(embeddings):
            unsure = np.flatnonzero(scores[:, -1] + slack >= _floor(best, count, k))
            if len(unsure):
                best = tuple(part[~(np.isin(best[0], unsure) & (best[2] >= start))] for part in best)
                best = _merge(best, _all(exact_queries, embeddings, unsure, start, k), k)
    return best[1].reshape(count, -1), best[2].reshape(count, -1)


def _floor(best, count, k):
    """The score that each query's passages must reach: its k-th best so far, −inf before there are k."""
    query, scores, _ = best
    last = np.searchsorted(query, np.arange(count), side="right") - 1
    there = np.bincount(query, minlength=count) >= k
    return np.where(there, scores[last] if len(scores) else 0, -np.inf)


def _merge(one, other, k):
    """The first k of each query in two lists of (query, score, position), ordered by query, score and position."""
    query, score, position = (np.concatenate(parts) for parts in zip(one, other, strict=True))
    order = np.lexsort((position, -score, query))
    query = query[order]
    order = order[np.arange(len(query)) - np.searchsorted(query, query) < k]
    return tuple(np.concatenate(parts)[order] for parts in zip(one, other, strict=True))


def _pairs(queries, embeddings, query, row):
    """The exact scores of pairs of a query and a row."""
    found = np.empty(len(query))
    for at in range(0, len(query), _PAIRS):
        part = slice(at, at + _PAIRS)
        found[part] = np.einsum("pd,pd->p", queries[query[part]], embeddings[row[part]].astype(np.float64))
    return found


def _all(queries, embeddings, which, start, k):
    """The first k rows of some queries by the exact scores of all rows, as (query, score, position)."""
    embeddings, found = embeddings.T.astype(np.float64), []
    for at in range(0, len(which), _QUERIES):
        part = which[at:at + _QUERIES]
        scores = queries[part] @ embeddings
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        found.append((part.repeat(rows.shape[1]), np.take_along_axis(scores, rows, 1).ravel(), rows.ravel() + start))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def docids(folder: str | Path, positions: np.ndarray) -> np.ndarray:
    """The docids of passages.

    Parameters
    ----------
    folder : path
        Of an encoded corpus.
    positions : ndarray of int
        Of any shape.

    Returns
    -------
    ndarray of str objects, of the same shape
    """
    found = np.empty(positions.shape, object)
    for file, _, held in _shards(folder):
        here = (positions >= held.start) & (positions < held.stop)
        lines = np.array(file.read_bytes().decode().split("\n")[:-1], object)
        found[here] = lines[positions[here] - held.start]
    return found
