"""The training loss: InfoNCE with in-batch negatives."""

from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss


def info_nce(model, temperature):
    """InfoNCE (van den Oord et al. 2018) over cosine similarities, as the library computes it.

    For query i of a batch of n: ``-log(exp(cos(q_i, p_i)/t) / sum_j exp(cos(q_i, p_j)/t))`` where j runs over
    the passages of the whole batch and, where the batch has a ``negative`` column, over all its hard
    negatives as well; the mean over i.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
        The paper does not state its own; E5 was trained at 0.01.

    Raises
    ------
    ValueError
        If the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    return MultipleNegativesRankingLoss(model, scale=1 / temperature)
