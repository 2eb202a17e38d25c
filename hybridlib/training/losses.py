"""The training loss: InfoNCE with in-batch negatives; and others of the field, to compare with.

A loss that reads more of a pair than its question and its passage says so in ``needs``: see
`hybridlib.training.PairDataset`.
"""

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


def _embeddings(model: SentenceTransformer, columns: Iterable[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    """The embeddings (batch, width) of each column of a batch, of length one."""
    return [functional.normalize(model(column)["sentence_embedding"].float(), dim=1) for column in columns]


def _own(scores: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of a square of scores, where row i should choose column i."""
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def _centred(texts: torch.Tensor) -> torch.Tensor:
    """Embeddings (batch, width) less their mean, of length one again."""
    return functional.normalize(texts - texts.mean(0), dim=1)


def _divergence(of: torch.Tensor, under: torch.Tensor) -> torch.Tensor:
    """KL(of ‖ under) of the softmax of each row of two tables of scores, the mean over rows; both get gradients."""
    return functional.kl_div(under.log_softmax(1), of.log_softmax(1), reduction="batchmean", log_target=True)


class CrossingInfoNCE(torch.nn.Module):
    """InfoNCE with a temperature of its own for batches whose questions and passages differ in language.

    A batch is of one kind, as X-X and X-Y batches are: its labels, 1 where a pair crosses languages, are all alike.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
        Of batches in which a question and its passage are in one language.
    crossing : float
        Of batches in which they are not.
    mini_batch_size, gather
        See `info_nce`.
    """

    needs = "crossing"

    def __init__(self, model: SentenceTransformer, temperature: float, crossing: float,
                 mini_batch_size: int | None = None, gather: bool = False):
        super().__init__()
        self.monolingual = info_nce(model, temperature, mini_batch_size, gather)
        self.crosslingual = info_nce(model, crossing, mini_batch_size, gather)

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch: a scalar.

        Raises
        ------
        ValueError
            If the batch has pairs of both kinds.
        """
        crosses = bool(labels.any())
        if crosses != bool(labels.all()):
            raise ValueError("a batch with pairs of both kinds has no temperature of its own")
        return (self.crosslingual if crosses else self.monolingual)(sentence_features, None)


class CentredInfoNCE(torch.nn.Module):
    """InfoNCE after the mean of a batch's questions is subtracted from them, and that of its passages from those.

    For batches of one question and one passage language, where those means are the languages' own: what a text's
    language is no longer tells its passage from others, and nothing is learnt by moving a language as a whole. Where
    such a model is searched, the means of the languages are to be removed as well (`hybridlib.debiasing`). What is left
    of a text is brought to length one.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
    """

    def __init__(self, model: SentenceTransformer, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        queries, passages = map(_centred, _embeddings(self.model, sentence_features))
        return _own(queries @ passages.T / self.temperature)


class LaKDA(torch.nn.Module):
    """InfoNCE, and a question in two languages should rank the batch's passages alike.

    ``(1 - alpha) InfoNCE(q_a) + alpha KL(p_b || p_a)`` (Yang et al., MRL 2024, language KL-divergence alignment; in the
    details as MIMO's code, Jang et al. 2026, arXiv 2605.31171, has it as a baseline): p_a and p_b are the softmax over
    the passages of the batch of the cosines of a question in languages a and b, not divided by the temperature; both
    get gradients. A batch has three columns: ``query`` (language a), ``passage``, and ``parallel_query`` (language b),
    which here is the passage's language; there all three languages are drawn.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
        Of InfoNCE.
    alpha : float
        The share of the alignment; .5 as in that baseline.
    """

    needs = "parallel_query"

    def __init__(self, model: SentenceTransformer, temperature: float, alpha: float = 0.5):
        super().__init__()
        self.model, self.temperature, self.alpha = model, temperature, alpha

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        query, passage, parallel = _embeddings(self.model, sentence_features)
        scores, others = query @ passage.T, parallel @ passage.T
        return (1 - self.alpha) * _own(scores / self.temperature) + self.alpha * _divergence(others, scores)


class CLEAR(torch.nn.Module):
    """InfoNCE within a language, and the passage should find its question in another one.

    ``(1 - alpha - beta) forward + alpha reverse + beta KL(p_reverse || p_forward)`` (Lee et al. 2026, arXiv 2604.05821,
    "reverse training", with the weights of the authors' code): forward is InfoNCE of a question and a passage in one
    language; reverse takes each passage for the query, and the batch's questions in another language for the
    candidates; p are the two distributions, row i of question i and of passage i, all at one temperature; both get
    gradients. A batch has three columns: ``query`` (another language than the passage's), ``passage``, and
    ``parallel_query`` (the passage's language). There the passage is always in English, and each row has five hard
    negatives on either side; here it is in whatever language the batch has, and has in-batch negatives only.

    Parameters
    ----------
    model : SentenceTransformer
    temperature : float
    alpha, beta : float
        The shares of the reverse direction and of the divergence.
    """

    needs = "parallel_query"

    def __init__(self, model: SentenceTransformer, temperature: float, alpha: float = 0.4, beta: float = 0.2):
        super().__init__()
        self.model, self.temperature, self.alpha, self.beta = model, temperature, alpha, beta

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        query, passage, parallel = _embeddings(self.model, sentence_features)
        forward, reverse = (scores / self.temperature for scores in (parallel @ passage.T, passage @ query.T))
        return ((1 - self.alpha - self.beta) * _own(forward) + self.alpha * _own(reverse)
                + self.beta * _divergence(reverse, forward))


class _EnglishDistillation(torch.nn.Module):
    """A student that is trained, and a teacher that is not, of batches that have their texts in English too."""

    needs = "english"

    def __init__(self, model: SentenceTransformer, teacher: SentenceTransformer):
        super().__init__()
        self.model = model
        # In a list, so that it is neither trained nor saved with the student.
        self._teacher = [teacher.eval().requires_grad_(False)]

    def _texts_and_distance(self, sentence_features: Iterable[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, ...]:
        """The student's questions and passages, and their mean squared distance from the teacher's in English."""
        columns = list(sentence_features)
        with torch.no_grad():
            targets = _embeddings(self._teacher[0], columns[2:])
        texts = _embeddings(self.model, columns[:2])
        return *texts, (torch.cat(texts) - torch.cat(targets)).square().sum(1).mean()


class EnglishRankingDistillation(_EnglishDistillation):
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
        super().__init__(model, teacher)
        self.temperature = temperature

    def _log_distribution(self, model, *columns):
        queries, passages = _embeddings(model, columns)
        return functional.log_softmax(queries @ passages.T / self.temperature, dim=1)  # (batch, batch)

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        columns = list(sentence_features)
        with torch.no_grad():
            target = self._log_distribution(self._teacher[0], *columns[2:]).exp()
        return functional.cross_entropy(self._log_distribution(self.model, *columns[:2]), target)


class EnglishEmbeddingDistillation(_EnglishDistillation):
    """The student should place each text where a teacher places its English translation.

    Multilingual knowledge distillation (Reimers & Gurevych 2020, arXiv 2004.09813): the squared distance between the
    student's embedding of a text, in the language that the batch has, and the teacher's of the same text in English,
    here of length one both, as they are compared; the mean over a batch's questions and passages. A batch has the
    four columns of `EnglishRankingDistillation`. There the student learns English texts beside the translations; here
    they are those of the batch's languages that are English.

    Parameters
    ----------
    model, teacher : SentenceTransformer
        The teacher is not trained.
    """

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        return self._texts_and_distance(sentence_features)[-1]


class AnchoredInfoNCE(_EnglishDistillation):
    """InfoNCE, and each text should stay where a teacher places its English translation.

    The sum of `info_nce` and of so many times the loss of `EnglishEmbeddingDistillation`, of the same embeddings.

    Parameters
    ----------
    model, teacher : SentenceTransformer
        The teacher is not trained.
    temperature : float
        Of InfoNCE.
    weight : float
        Of the distance.
    centred : bool
        Whether InfoNCE is that of `CentredInfoNCE`: what it leaves out, where a language lies, the distance settles.
    """

    def __init__(self, model: SentenceTransformer, teacher: SentenceTransformer, temperature: float,
                 weight: float = 10.0, centred: bool = False):
        super().__init__(model, teacher)
        self.temperature, self.weight, self.centred = temperature, weight, centred

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: torch.Tensor | None = None,
                ) -> torch.Tensor:
        """The loss of a batch: a scalar."""
        queries, passages, distance = self._texts_and_distance(sentence_features)
        if self.centred:
            queries, passages = map(_centred, (queries, passages))
        return _own(queries @ passages.T / self.temperature) + self.weight * distance
