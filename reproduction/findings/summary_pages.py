"""The words of `reproduction.findings.summary`, with pictures and tables, on two pages and on a poster."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MultipleLocator

from hybridlib.evaluation import MEASURES
from hybridlib.evaluation.figures import INK
from hybridlib.training import LanguageBatchSampler
from reproduction.findings.cross_figures import REMEDIES
from reproduction.findings.figures import LANGUAGE_COLOURS, colour
from reproduction.findings.summary import (
    BATCHES,
    BOLD,
    CALLED,
    COLUMNS,
    COMMANDS,
    FIRST,
    LIMITS,
    MAP,
    MONOLINGUAL,
    POOL,
    QUESTION,
    SAMPLINGS,
    TERMS,
    TITLE,
    Facts,
    findings,
    in_short,
    model,
    ranged,
    side,
    situations,
)
from reproduction.published import PAPER_NAMES

# The letters come with matplotlib, so that they are the same everywhere.
STYLE = {"font.family": "DejaVu Sans", "pdf.fonttype": 42, "savefig.bbox": "standard", "axes.spines.top": False,
         "axes.spines.right": False, "axes.grid": True, "grid.color": "#DDDDDD", "grid.linewidth": 0.5,
         "axes.axisbelow": True}
# Where a name stands beside its point, in points; and the distance of the ticks.
PLACES = {MONOLINGUAL: {"X-X": (-20, -9), "X-Y": (-14, 24), "Hybrid": (8, -14), MAP: (-22, 16)},
          FIRST: {"X-X": (-20, -9), "X-Y": (-26, -14), "Hybrid": (4, -16), MAP: (30, 3)}}
TICKS = {MONOLINGUAL: 0.02, FIRST: 0.1}


@cache
def _inches(text: str, size: float, weight: str) -> float:
    """How wide a text is."""
    font = get_font(findfont(FontProperties(family=STYLE["font.family"], weight=weight)))
    font.set_size(1000, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72 * size / 1000


class Page:
    """A sheet that is filled by columns from the top.

    Parameters
    ----------
    width, height : float
        In inches, as are all lengths, before it is scaled; sizes of letters are in points.
    scale : float
        By how much all is larger, of a poster.
    """

    def __init__(self, width: float, height: float, scale: float = 1.0) -> None:
        self.width, self.height, self.scale = width, height, scale
        self.figure = Figure((width * scale, height * scale))

    def column(self, left: float, width: float, top: float) -> None:
        """Go on at the top of a column."""
        self.left, self.column_width, self.y = left, width, self.height - top

    def text(self, text: str, size: float = 9, weight: str = "normal", left: float = 0, width: float | None = None,
             after: float = 4, color: str = INK) -> None:
        """A paragraph, its lines broken where the words reach the width."""
        # A little less: letters are set on whole pixels in PNG.
        wide, lines, free = 0.98 * (width or self.column_width - left), [], 0.0
        for word in text.split(" "):
            free -= _inches(f"n {word}", size, weight) - _inches("n", size, weight)
            if lines and free >= 0:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
                free = wide - _inches(word, size, weight)
        for line in lines:
            self.y -= 1.36 * size / 72
            self.put(line, self.left + left, size, weight, color=color)
        self.y -= after / 72

    def put(self, text: str, x: float, size: float, weight: str = "normal", **how: str) -> None:
        """One line at the height where the page is."""
        self.figure.text(x / self.width, (self.y + 0.3 * size / 72) / self.height, text, fontsize=size * self.scale,
                         fontweight=weight, va="baseline", **{"color": INK} | how)

    def heading(self, text: str) -> None:
        """The head of a part."""
        self.y -= 7 / 72
        self.text(text, 11.5, "bold", after=3)

    def rule(self) -> None:
        """A thin line across the column."""
        ends, y = (self.left / self.width, (self.left + self.column_width) / self.width), self.y / self.height
        self.figure.add_artist(Line2D(ends, [y, y], color="#BBBBBB", lw=0.6 * self.scale))

    def axes(self, left: float, width: float, height: float) -> Axes:
        """Room for a picture within the column."""
        self.y -= height
        return self.figure.add_axes(((self.left + left) / self.width, self.y / self.height, width / self.width,
                                     height / self.height))

    def side_by_side(self, rows: Sequence[tuple[str, str]], first: float, size: float) -> None:
        """Rows of two paragraphs each, the left one bold."""
        for head, text in rows:
            self.rule()
            top = self.y = self.y - 2 / 72
            self.text(head, size, "bold", width=first - 0.12, after=2)
            bottom, self.y = self.y, top
            self.text(text, size, left=first, after=2)
            self.y = min(self.y, bottom)
        self.rule()
        self.y -= 4 / 72


def draw_batches(page: Page, samplers: Mapping[str, LanguageBatchSampler], pairs: int = 8) -> None:
    """What is in a batch: a block for each sampling, as in `reproduction.findings.figures.batches`."""
    steps: dict[str, int] = {}  # the first of each language of X-X's
    for step in range(100):
        steps.setdefault(samplers["X-X"].batch(step)[0].query_language, step)
    chosen = list(steps.values())[:3]
    axis = page.axes(0.55, page.column_width - 0.55, 0.29 * len(chosen) + 0.2)
    axis.set_axis_off()
    for block, (name, sampler) in enumerate(samplers.items()):
        left = block * (pairs + 0.8)
        axis.text(left, -0.08, name, color=colour(name), fontsize=10 * page.scale, fontweight="bold", va="bottom")
        for row, step in enumerate(chosen):
            for column, pair in enumerate(sampler.batch(step)[:pairs]):
                for down, language in ((0, pair.query_language), (0.42, pair.passage_language)):
                    axis.add_patch(Rectangle((left + column, row + down), 0.92, 0.4, lw=0,
                                             color=LANGUAGE_COLOURS[language]))
                    axis.text(left + column + 0.46, row + down + 0.2, language, ha="center", va="center_baseline",
                              fontsize=0.88 * page.column_width * page.scale)
            if not block:
                axis.text(-0.2, row + 0.41, f"batch {step + 1}", ha="right", va="center", fontsize=7 * page.scale)
    axis.set(xlim=(0, len(samplers) * (pairs + 0.8) - 0.8), ylim=(len(chosen) - 0.1, -0.5))
    page.y -= 2 / 72
    page.text(BATCHES, 8)


def draw_table(page: Page, facts: Facts, benchmark: str) -> None:
    """The paper's four numbers and what is first, with intervals; a difference whose interval excludes zero is bold."""
    languages, queries, candidates = facts.size(benchmark)
    page.y -= 5 / 72
    page.text(f"{PAPER_NAMES[benchmark]}: {queries:,} questions in {languages} languages, {candidates:,} sentences", 9,
              "bold", after=1)
    rows = [(system, "", lambda measure, system=system: facts.value(system, measure, benchmark))
            for system in ("untrained", MAP, *SAMPLINGS)]
    rows += [(system, reference, lambda measure, pair=(system, reference): facts.difference(*pair, measure, benchmark))
             for system, reference in (("Hybrid", "X-X"), ("Hybrid", "X-Y"), (MAP, "Hybrid"))]
    first, count = 1.14, len(COLUMNS)
    rights = [page.left + first + (page.column_width - first) * (place + 1) / count for place in range(count)]
    for line in (0, 1):
        page.y -= 9 / 72
        for right, measure in zip(rights, COLUMNS, strict=True):
            words = MEASURES[measure].title.rsplit(" ", 1)
            page.put(words[line], right, 6.4, "bold", ha="right")
    page.rule()
    for number, (system, reference, estimate_of) in enumerate(rows):
        if reference and not rows[number - 1][1]:
            page.rule()
        top = page.y = page.y - 10.5 / 72
        page.put(CALLED.get(system, system) + (f" − {reference}" if reference else ""), page.left + 0.14, 8, "bold")
        if not reference:
            page.figure.add_artist(Line2D([(page.left + 0.05) / page.width], [(page.y + 0.08) / page.height], lw=0,
                                          color=colour(system), ms=6 * page.scale,
                                          marker=REMEDIES["erasure-corpus" if system == MAP else ""][0]))
        for right, measure in zip(rights, COLUMNS, strict=True):
            estimate = estimate_of(measure)
            weight = "bold" if reference and side(estimate) != "not told apart from" else "normal"
            value, _, interval = ranged(measure, estimate, bool(reference)).partition(" ")
            page.y = top
            page.put(value, right, 8, weight, ha="right")
            page.y -= 7 / 72
            page.put(interval, right, 5.7, weight, ha="right")
        page.y -= 1.5 / 72
    page.rule()
    page.y -= 2 / 72


def shown(facts: Facts) -> list[tuple[str, str]]:
    """What is drawn: every remedy of the untrained encoder, and each sampling alone and with the map."""
    wanted = [(f"untrained + {remedy}", remedy) for remedy in REMEDIES if remedy]
    wanted += [(system + ending, remedy) for ending, remedy in (("", ""), (" + erasure-corpus", "erasure-corpus"))
               for system in SAMPLINGS]
    return [one for one in wanted if one[0] in set(facts.against["system"])]


def draw_remedies(page: Page, facts: Facts) -> None:
    """What each choice gives over XQuAD-R's pool, against what it costs within a language, and the own one's place."""
    page.text(in_short(facts), 9, "bold", after=6)
    half, top = page.column_width / 2, page.y
    for place, measure in enumerate((MONOLINGUAL, FIRST)):
        page.y = top
        axis = page.axes(place * half + (0.05 if place else 0.5), half - 0.53 + place * 0.45, 2.05)
        for system, remedy in shown(facts):
            (x, *x_ends), (y, *y_ends) = (facts.difference(system, "untrained", name) for name in (measure, POOL))
            shade = colour(system)
            axis.plot(x_ends, [y, y], color=shade, lw=page.scale, alpha=0.35)
            axis.plot([x, x], y_ends, color=shade, lw=page.scale, alpha=0.35)
            axis.plot(x, y, REMEDIES[remedy][0], color=shade, mec="white", mew=0.6 * page.scale,
                      ms=(10 if remedy == "quota" else 8) * page.scale, clip_on=False)
            if offset := PLACES[measure].get(system):
                axis.annotate(CALLED.get(system, system), (x, y), [page.scale * length for length in offset],
                              textcoords="offset points", ha="center", va="center", fontsize=8 * page.scale,
                              fontweight="bold", arrowprops={"arrowstyle": "-", "color": shade, "lw": 0.7 * page.scale})
        axis.plot(0, 0, "o", color=colour("untrained"), ms=8 * page.scale)
        axis.axhline(0, color=INK, lw=0.8 * page.scale, zorder=1)
        axis.axvline(0, color=INK, lw=0.8 * page.scale, zorder=1)
        axis.margins(0.14)
        axis.xaxis.set_major_locator(MultipleLocator(TICKS[measure]))
        axis.tick_params(labelsize=7 * page.scale, labelleft=not place)
        axis.set_xlabel(f"difference in {MEASURES[measure].title}", fontsize=8 * page.scale)
        axis.set_ylabel("" if place else f"difference in {MEASURES[POOL].title}", fontsize=8 * page.scale)
    page.y -= 0.42
    markers = dict.fromkeys(remedy for _, remedy in shown(facts))
    handles = [Line2D([], [], marker=REMEDIES[remedy][0], lw=0, ms=7 * page.scale, color=INK,
                      label=REMEDIES[remedy][1] if remedy else "no remedy") for remedy in markers]
    columns = 3 if page.column_width > 6 else 2
    page.figure.legend(handles=handles, loc="upper left", ncol=columns, fontsize=7.5 * page.scale, frameon=False,
                       borderpad=0, borderaxespad=0, handletextpad=0.3, labelspacing=0.4,
                       bbox_to_anchor=(page.left / page.width, page.y / page.height))
    page.y -= 0.155 * -(-len(handles) // columns) + 0.06
    page.text("All against the untrained encoder, at zero; up and to the right is better. Grey: remedies of the "
              "untrained encoder. In colour: trained, a circle alone and a cross with the map. Bars: 95 % intervals.",
              7.5)


def tell(page: Page, facts: Facts) -> None:
    """What was found."""
    page.heading("What was found")
    for place, sentence in enumerate(findings(facts), 1):
        top = page.y
        page.text(f"{place}", weight="bold")
        page.y = top
        page.text(sentence, left=0.2, after=3)


def advise(page: Page, facts: Facts) -> None:
    """Your situation, and what to do."""
    page.heading("Your situation → do this")
    page.side_by_side(situations(facts), 0.29 * page.column_width, 8.5)


def limit(page: Page, facts: Facts) -> None:
    """How sure it is."""
    page.heading("How sure it is")
    for sentence in (model(facts), *LIMITS):
        page.text(sentence, 8.5, after=2)


def invite(page: Page, _: Facts) -> None:
    """How to see it come out of a machine."""
    page.heading("See for yourself")
    page.side_by_side(COMMANDS, 0.46 * page.column_width, 8)


def define(page: Page, _: Facts) -> None:
    """The terms."""
    page.heading("Terms")
    page.text(TERMS, 8.5)


def tables(page: Page, facts: Facts) -> None:
    """Of both benchmarks."""
    for benchmark in PAPER_NAMES:
        draw_table(page, facts, benchmark)
    page.text(BOLD, 7.5, after=2)


def fill(page: Page, facts: Facts, *parts: Callable[[Page, Facts], None]) -> None:
    """Parts one under the other."""
    for part in parts:
        part(page, facts)


def pages(facts: Facts, samplers: Mapping[str, LanguageBatchSampler]) -> list[Figure]:
    """Two sheets of A4, to be read."""
    first, second = Page(8.27, 11.69), Page(8.27, 11.69)
    for page in (first, second):
        page.column(0.6, 7.07, 0.26)
    for text, size, weight in zip(TITLE, (19, 9.5), ("bold", "normal"), strict=True):
        first.text(text, size, weight)
    first.text(QUESTION, 10, after=6)
    draw_batches(first, samplers)
    fill(first, facts, tell, tables)
    second.heading("What a remedy gives over the pool, and what it costs")
    fill(second, facts, draw_remedies, advise, define, limit, invite)
    return [first.figure, second.figure]


def poster(facts: Facts, samplers: Mapping[str, LanguageBatchSampler]) -> Figure:
    """One sheet of A2, to be hung up; A1 has the same proportions."""
    page = Page(15.9, 11.24, 23.39 / 15.9)
    page.column(0.5, 14.9, 0.35)
    for text, size, weight in zip((*TITLE, QUESTION), (30, 11, 12.5), ("bold", "normal", "normal"), strict=True):
        page.text(text, size, weight, after=5)
    top = page.height - page.y + 0.12
    page.column(0.5, 4.6, top)
    draw_batches(page, samplers)
    fill(page, facts, tell, define, invite)
    page.column(5.5, 4.9, top - 0.07)
    fill(page, facts, tables, limit)
    page.column(10.8, 4.6, top)
    fill(page, facts, draw_remedies, advise)
    return page.figure
