"""The training loss: InfoNCE with in-batch negatives; and, as a baseline, distillation of a ranking in English."""

from collections.abc import Iterable

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from torch.nn import functional


def info_nce(model: SentenceTransformer, temperature: float, mini_batch_size: int | None = None,
             gather: bool = False) -> torch.nn.Module:
    """InfoNCE (van den Oord et al. 2018) over cosine similarities, as the library computes it.

    For query i of a batch of n: ``-log(exp(cos(q_i, p_i)/t) / sum_j exp(cos(q_i, p_j)/t))`` where j runs over
    the passages of the whole batch and, where the batch has a ``negative`` column, over all its hard
    negatives as well; the mean over i.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
        The paper does not state its own; E5 was trained at 0.01.
    mini_batch_size : int, optional
        Encode so many texts at a time and keep their gradients (GradCache, Gao et al. 2021): the same loss in less
        memory and more time.
    gather : bool
        Where several processes train, take the passages of all of them: the batch is the sum of their slices.

    Raises
    ------
    ValueError
        If the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if mini_batch_size:
        return losses.CachedMultipleNegativesRankingLoss(
            model, scale=1 / temperature, mini_batch_size=mini_batch_size, gather_across_devices=gather)
    return losses.MultipleNegativesRankingLoss(model, scale=1 / temperature, gather_across_devices=gather)


class EnglishRankingDistillation(torch.nn.Module):
    """The student should rank a batch as a teacher ranks the same batch in English.

    The idea of distilling a monolingual ranking into a multilingual retriever (among others Huang et al. 2023, arXiv
    2305.09025, and Yang et al. 2024, arXiv 2401.06415, the latter to reduce language bias), in its plainest form: for
    query i the cross-entropy of the student's in-batch distribution, ``softmax_j(cos(q_i, p_j) / t)`` in the
    languages that the batch has, under the teacher's in English, at one temperature for both. A batch has four
    columns: ``query``, ``passage``, and the same in English, ``english_query`` and ``english_passage``.

    Parameters
    ----------
    model, teacher : SentenceTransformer
        The teacher is not trained.
    temperature : float
    """

    def __init__(self, model: SentenceTransformer, teacher: SentenceTransformer, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature
        # In a list, so that it is neither trained nor saved with the student.
        self._teacher = [teacher.eval().requires_grad_(False)]

    def _log_distribution(self, model, queries, passages):
        queries, passages = (functional.normalize(model(side)["sentence_embedding"].float(), dim=1)
                             for side in (queries, passages))
        return functional.log_softmax(queries @ passages.T / self.temperature, dim=1)  # (batch, batch)

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        columns = list(sentence_features)
        with torch.no_grad():
            target = self._log_distribution(self._teacher[0], *columns[2:]).exp()
        return functional.cross_entropy(self._log_distribution(self.model, *columns[:2]), target)
