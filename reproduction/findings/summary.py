"""What was asked and found, in words for who has two minutes: every number is read from committed tables.

`reproduction.findings.summary_pages` sets them on two pages and on a poster.
"""

from dataclasses import dataclass

import pandas as pd

from hybridlib.evaluation import HEADLINE, MEASURES
from reproduction.published import PAPER_NAMES
from reproduction.run.settings import read_yaml
from reproduction.workspace import Workspace

SAMPLINGS = ("X-X", "X-Y", "Hybrid")
MAP = "untrained + erasure-corpus"
CALLED = {MAP: "the map"}
MONOLINGUAL, CROSSLINGUAL, POOL, DISTANCE = map(str, HEADLINE)
FIRST = "own language first"
COLUMNS = (MONOLINGUAL, CROSSLINGUAL, POOL, DISTANCE, FIRST)

Estimate = tuple[float, float, float]  # a number and the ends of its 95 % interval


@dataclass(frozen=True)
class Facts:
    """The committed tables that are told of.

    Attributes
    ----------
    values, against : DataFrame (see `reproduction.findings.cross`)
    verdicts : DataFrame (see `reproduction.findings.claims.judge_claims`)
    strengths : DataFrame
        ``erasure.csv``: what the map does at less than its whole strength.
    sizes : DataFrame
        Queries and candidates of the benchmarks, per language.
    steps : int
        For how long was trained.
    """

    values: pd.DataFrame
    against: pd.DataFrame
    verdicts: pd.DataFrame
    strengths: pd.DataFrame
    sizes: pd.DataFrame
    steps: int

    @classmethod
    def read(cls, workspace: Workspace) -> "Facts":
        """From ``results/xquad``, what was measured on a GPU, ``data/paper`` and ``configs/xquad.yaml``."""
        folder = workspace.results("xquad")
        return cls(*(pd.read_csv(file, keep_default_na=False) for file in (
            folder / "cuda" / "values.csv", folder / "cuda" / "against.csv", folder / "cuda" / "claims.csv",
            folder / "erasure.csv", workspace.root / "data" / "paper" / "evaluation_data.csv")),
                   read_yaml(workspace.configs / "xquad.yaml")["steps"])

    @property
    def seeds(self) -> int:
        """Of each sampling."""
        return int(self.values.loc[self.values["system"] == "X-X", "seeds"].max())

    def value(self, system: str, measure: str, benchmark: str = "xquad-r") -> Estimate:
        """A mean with its interval."""
        return _only(self.values, "value", benchmark=benchmark, system=system, measure=measure)

    def difference(self, system: str, reference: str, measure: str, benchmark: str = "xquad-r") -> Estimate:
        """A paired difference with its interval; one of the two must be what the table is held against."""
        try:
            return _only(self.against, "difference", benchmark=benchmark, system=system, reference=reference,
                         measure=measure)
        except KeyError:
            found, low, high = _only(self.against, "difference", benchmark=benchmark, system=reference,
                                     reference=system, measure=measure)
            return -found, -high, -low

    def size(self, benchmark: str) -> tuple[int, int, int]:
        """Languages, queries and candidates."""
        table = self.sizes[self.sizes["dataset"] == PAPER_NAMES[benchmark]]
        return len(table), int(table["queries"].sum()), int(table["candidates"].sum())

    def strength(self, fit: str, column: str) -> float:
        """What `strengths` has of the untrained encoder on XQuAD-R."""
        return _only(self.strengths, column, benchmark="xquad-r", system="untrained", fit=fit)[0]


def _only(table: pd.DataFrame, column: str, **where: str) -> Estimate:
    for name, wanted in where.items():
        table = table[table[name] == wanted]
    if len(table) != 1:
        raise KeyError(f"{len(table)} rows of {where}, not one")
    return tuple(float(table[name].iloc[0]) if name in table else float("nan") for name in (column, "low", "high"))


def number(measure: str, value: float, signed: bool = False) -> str:
    """A value as the README prints it.

    >>> number("multilingual AP", -0.0151, signed=True), number("rank distance", 1205.57)
    ('−.015', '1205.6')
    """
    text = MEASURES[measure].text(value, signed).replace("-", "−")
    return text.replace("0.", ".", 1) if text.lstrip("+−").startswith("0.") else text


def ranged(measure: str, estimate: Estimate, signed: bool = False) -> str:
    """A value with its interval."""
    value, low, high = (number(measure, x, signed) for x in estimate)
    return f"{value} [{low}, {high}]"


def side(estimate: Estimate) -> str:
    """What a difference tells, by its interval.

    >>> side((1.0, 0.5, 1.5)), side((-1.0, -1.5, 0.1))
    ('above', 'not told apart from')
    """
    _, low, high = estimate
    return "above" if low > 0 else "below" if high < 0 else "not told apart from"


def compared(facts: Facts, system: str, reference: str, measure: str, benchmark: str = "xquad-r") -> str:
    """A difference in words: "Hybrid is above X-X (+.114 [+.087, +.140] mAP)"."""
    found = facts.difference(system, reference, measure, benchmark)
    unit = " mAP" if measure.endswith(" AP") else ""
    return (f"{CALLED.get(system, system)} is {side(found)} {CALLED.get(reference, reference)} "
            f"({ranged(measure, found, signed=True)}{unit})")


def findings(facts: Facts) -> list[str]:
    """What was found, a sentence or two each, built from the numbers."""
    spread = max(max(means) - min(means) for means in (
        [facts.value(system, measure, benchmark)[0] for system in SAMPLINGS]
        for benchmark in PAPER_NAMES for measure in (MONOLINGUAL, CROSSLINGUAL)))
    first = {system: number(FIRST, facts.value(system, FIRST)[0]) for system in ("untrained", *SAMPLINGS, MAP)}
    lifted = [" to ".join(number(POOL, facts.value(system, POOL, benchmark)[0]) for system in ("untrained", MAP))
              for benchmark in PAPER_NAMES]
    verdicts = facts.verdicts["verdict"].value_counts()
    shown = facts.verdicts.loc[facts.verdicts["verdict"] == "reproduced", "text"]
    return [
        f"Over XQuAD-R's pool {compared(facts, 'Hybrid', 'X-X', POOL)}, over MLQA-R's "
        f"{compared(facts, 'Hybrid', 'X-X', POOL, 'mlqa-r')}. On XQuAD-R {compared(facts, 'Hybrid', 'X-Y', POOL)}.",
        f"Within a language and across two, the means of the three samplings are at most {number(POOL, spread)} mAP "
        "apart, on both benchmarks.",
        f"In rank distance, where lower is less biased, {compared(facts, 'Hybrid', 'X-X', DISTANCE)} on XQuAD-R.",
        "An affine map without training, fitted on the documents that are searched, takes the untrained encoder from "
        f"{lifted[0]} mAP over XQuAD-R's pool and from {lifted[1]} over MLQA-R's. On XQuAD-R "
        f"{compared(facts, MAP, 'Hybrid', POOL)}; within a language {compared(facts, MAP, 'untrained', MONOLINGUAL)}.",
        f"The price: the answer in the question's own language is first in XQuAD-R's pool for {first['untrained']} of "
        f"the questions before, {first['X-X']} after X-X, {first['X-Y']} after X-Y, {first['Hybrid']} after Hybrid, "
        f"and {first[MAP]} with the map.",
        f"The paper's {len(facts.verdicts)} claims: "
        + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        + f". Reproduced: {'; '.join(shown) or 'none'}."]


def situations(facts: Facts) -> list[tuple[str, str]]:
    """Whose search is like this, and what to do then."""
    own = [facts.value(system, MONOLINGUAL)[0] for system in SAMPLINGS]
    lost = [facts.difference(system, "untrained", MONOLINGUAL) for system in SAMPLINGS]
    sides = set(map(side, lost))
    beside = sides.pop() if len(sides) == 1 else "not all on one side of"
    ends = [number(MONOLINGUAL, end(x[0] for x in lost), signed=True) for end in (min, max)]
    lead = [number(POOL, facts.value(f"X-Y{change}", POOL)[0] - facts.value(f"X-X{change}", POOL)[0], signed=True)
            for change in ("", " temperature=0.05", " + erasure-corpus")]
    plain, weak, whole = (facts.strength(fit, "multilingual mAP") for fit in ("plain", "strength 0.25", "strength 1.0"))
    first = [number(FIRST, facts.strength(fit, FIRST)) for fit in ("strength 0.25", "plain")]
    tydi = [number(POOL, facts.value(system, POOL, "tydi-goldp")[0]) for system in ("untrained", MAP)]
    return [
        ("Results are shown in the user's language only",
         "Leave the model alone, and measure monolingual mAP. The sampling moves it by "
         f"{number(MONOLINGUAL, max(own) - min(own))} on XQuAD-R, and the three are {beside} the untrained encoder "
         f"({ends[0]} to {ends[1]}). Fine-tune only with data of your own domain."),
        ("One index of all languages, and any language is welcome",
         "A remedy first: hybridlib debias needs no training, and no language label at search time. Then, with "
         "parallel data, X-Y or Hybrid batches at a low temperature: the mean of X-Y minus that of X-X over XQuAD-R's "
         f"pool is {lead[0]} mAP at .01, {lead[1]} at .05, the default of sentence-transformers, and {lead[2]} with "
         "the map on top."),
        ("One index, and the own language's answer must come first",
         f"Neither. A weak map is the compromise: at strength .25 the own language is first for {first[0]} of the "
         f"questions instead of {first[1]}, with {100 * (weak - plain) / (whole - plain):.0f} % of the gain over the "
         "pool."),
        ("Each answer is in the question's language only",
         f"Leave the bias alone: on TyDi QA the pool's mAP is {tydi[0]} without the map and {tydi[1]} with it."),
        ("You do not know", "Measure first, on your own data: hybridlib evaluate.")]


def in_short(facts: Facts) -> str:
    """The title of the picture: what the map and Hybrid give, and cost, on XQuAD-R."""
    told = []
    for measure, where in ((POOL, "in mAP over the pool"), (MONOLINGUAL, "within a language"),
                           (FIRST, "own language first")):
        found = [facts.difference(system, "untrained", measure) for system in (MAP, "Hybrid")]
        texts = [number(measure, x[0], signed=True) + (" (not told apart from zero)" if x[1] <= 0 <= x[2] else "")
                 for x in found]
        told.append(f"{where} {texts[0]} and {texts[1]}")
    return f"XQuAD-R: the map and Hybrid give {', '.join(told)}"


def model(facts: Facts) -> str:
    """What was trained."""
    return (f"Multilingual-e5-small with 4-bit weights, its upper layers trained for {facts.steps} steps with "
            f"{facts.seeds} seeds of each sampling; the paper has XLM-R and LaBSE, and more data. Orders and "
            "differences compare, levels do not.")


TITLE = ("Which languages meet in a batch?",
         "A reproduction of arXiv 2408.10536, and a library for a multilingual search, in two minutes")
QUESTION = (
    "A multilingual encoder is fine-tuned on questions and the passages that answer them, in many languages. Does it "
    "matter which languages stand together in a training batch: for search within a language, across two, or over one "
    "pool of all?")
BATCHES = (
    "Batches as they are drawn, chosen so that those of X-X are in three languages. Each column is a pair: the "
    "language of the question above, of its passage below. X-X: a batch has one language. X-Y: in every pair the two "
    "differ. Hybrid, the paper's proposal: a coin decides for each batch.")
BOLD = "Brackets: 95 % intervals. A difference is bold where zero is outside. Lower rank distance is less biased."
TERMS = (
    "Monolingual: a question is searched against the passages of its own language; cross-lingual: of one other; "
    "multilingual: in one pool of all, where an answer in any language is right. mAP, mean average precision, is "
    "better the nearer it is to 1. Rank distance: how many ranks of the pool lie between a question's best and worst "
    "placed answer. Own language first: the share of questions whose first right result is in their own language. The "
    "map: LanguageErasure of hybridlib.")
LIMITS = (
    "“Untrained” is after E5, whose own tuning saw SQuAD, from which XQuAD-R is made.",
    "Intervals hold test articles and, of what was trained, seeds; they are not corrected for how many comparisons "
    "there are. Undecided is not no.",
    "The map's one free number was chosen on XQuAD-R. Both benchmarks have answers in several languages of a question; "
    "where there is only one, see “Your situation”.")
COMMANDS = (
    ("make reproduce", "the notebooks on our own small corpus, on two cores"),
    ("make data", "the released benchmarks and training sets"),
    ("make evidence DATA=data/public DEVICE=cuda", "what is told here, on a GPU"),
    ("make verify", "every number of README and docs"))
