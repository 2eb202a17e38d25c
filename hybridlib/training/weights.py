"""Weights between those that a model started from and those that training gave it."""

import torch
from sentence_transformers import SentenceTransformer


def average_weights(model: SentenceTransformer, start: SentenceTransformer, share: float) -> SentenceTransformer:
    """Move a trained model back towards the one that it was trained from (WiSE-FT, Wortsman et al. 2022).

    Parameters
    ----------
    model : SentenceTransformer
        Changed in place.
    start : SentenceTransformer
        The model that training started from.
    share : float
        How much of the way from ``start`` to ``model`` is kept, 0 to 1.

    Returns
    -------
    SentenceTransformer
        ``model``, each of its weights ``(1 - share) * start + share * model``.

    Raises
    ------
    ValueError
        If the share is none, or the two have not the same weights by name and shape.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected a number from 0 to 1")
    before, after = start.state_dict(), model.state_dict()
    differ = sorted(name for name in before.keys() | after.keys()
                    if getattr(before.get(name), "shape", None) != getattr(after.get(name), "shape", None))
    if differ:
        raise ValueError(f"the two models are not of one shape: {differ[0]} and {len(differ) - 1} more differ")
    with torch.no_grad():
        moved = set()
        for name, weights in after.items():
            # Weights that are tied stand there under two names.
            if weights.is_floating_point() and weights.data_ptr() not in moved:
                moved.add(weights.data_ptr())
                weights.lerp_(before[name].to(weights), 1 - share)
    return model
