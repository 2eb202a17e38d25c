"""The measures during training, as an evaluator of sentence-transformers."""

import csv
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

from hybridlib.data import TestSet
from hybridlib.encoding import Prompts
from hybridlib.evaluation.compare import COMPARED
from hybridlib.evaluation.measures import per_language, per_query
from hybridlib.evaluation.report import ranks_of


class LanguageBiasEvaluator(SentenceEvaluator):
    """Evaluate within languages, across them, and over a mixed pool, for ``evaluator=`` of a trainer.

    The metrics are the four headline numbers and those of the own language (see `hybridlib.evaluation.per_query`), with
    names such as ``xquad-r_multilingual_mAP``; the primary one is the multilingual mAP. Each text is encoded once. What
    a test set cannot measure is NaN.

    Parameters
    ----------
    test_set : TestSet
    prompts : Prompts, optional
        By default the model's own.
    precision : {"auto", "bf16", "fp32"}
        As of `hybridlib.evaluate`.
    name : str, optional
        Put before the names of metrics and file; by default the test set's.
    write_csv : bool
        Whether to add a row to ``language_bias_evaluation_<name>_results.csv`` at each evaluation.
    """

    def __init__(self, test_set: TestSet, prompts: Prompts | None = None, precision: str = "auto",
                 name: str | None = None, write_csv: bool = True) -> None:
        super().__init__()
        self.test_set, self.prompts, self.precision, self.write_csv = test_set, prompts, precision, write_csv
        self.name = test_set.name if name is None else name
        # Whole from the start: theirs is not prefixed where it happens to begin with the name.
        self.primary_metric = "_".join(filter(None, (self.name, _key("multilingual mAP"))))
        self.csv_file = "_".join(filter(None, ("language_bias_evaluation", self.name, "results.csv")))
        self.csv_headers = ["epoch", "steps", *(_key(measure.title) for measure in COMPARED)]

    def __call__(self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1,
                 steps: int = -1) -> dict[str, float]:
        """The metrics of a model by name; where there is an ``output_path``, also a row of the CSV file there."""
        # Without the report: its intervals would cost more than the ranks, at every evaluation.
        ranks, *_ = ranks_of(model, self.test_set, self.prompts, self.precision)
        languages = per_language(per_query(ranks)).loc[list(self.test_set.query_languages)].mean()
        metrics = {_key(measure.title): float(languages[measure.name]) for measure in COMPARED}
        if output_path is not None and self.write_csv:
            path = Path(output_path, self.csv_file)
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not path.is_file()
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([self.csv_headers] * is_new + [[epoch, steps, *metrics.values()]])
        metrics = self.prefix_name_to_metrics(metrics, self.name)
        self.store_metrics_in_model_card_data(model, metrics, epoch, steps)
        return metrics


def _key(title: str) -> str:
    return title.replace(" ", "_")
