"""Weights between those that a model started from and those that training gave it, or gave several."""

from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer


def average_weights(model: SentenceTransformer, start: SentenceTransformer, share: float,
                    others: Sequence[SentenceTransformer] = ()) -> SentenceTransformer:
    """Move a trained model back towards the one that it was trained from (WiSE-FT, Wortsman et al. 2022).

    Several that were trained from the same one are averaged first (model soups, Wortsman et al. 2022).

    Parameters
    ----------
    model : SentenceTransformer
        Changed in place.
    start : SentenceTransformer
        The model that training started from.
    share : float
        How much of the way from ``start`` to ``model``, or to the mean of all, is kept, 0 to 1.
    others : sequence of SentenceTransformer
        Further models that training gave from ``start``, say with other losses.

    Returns
    -------
    SentenceTransformer
        ``model``, each of its weights ``(1 - share) * start + share * mean(model, *others)``.

    Raises
    ------
    ValueError
        If the share is none, or the models have not the same weights by name and shape.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected a number from 0 to 1")
    after, *rest = [one.state_dict() for one in (model, start, *others)]
    for other in rest:
        differ = sorted(name for name in other.keys() | after.keys()
                        if getattr(other.get(name), "shape", None) != getattr(after.get(name), "shape", None))
        if differ:
            raise ValueError(f"the models are not of one shape: {differ[0]} and {len(differ) - 1} more differ")
    before, *further = rest
    with torch.no_grad():
        moved = set()
        for name, weights in after.items():
            # Weights that are tied stand there under two names.
            if weights.is_floating_point() and weights.data_ptr() not in moved:
                moved.add(weights.data_ptr())
                for number, other in enumerate(further, 2):
                    weights.lerp_(other[name].to(weights), 1 / number)  # the mean of so many
                weights.lerp_(before[name].to(weights), 1 - share)
    return model
