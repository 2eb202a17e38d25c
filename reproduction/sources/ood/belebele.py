"""Belebele's questions (Bandarkar et al. 2024) on passages of FLORES-200 (NLLB Team 2022) in 204 languages.

Passages are in human translation: every language holds all of them. The questions are English and German, and were
written to be answered with the passage at hand: some say "according to the passage", and the answer is to be chosen,
not found. It says how well documents in a language are found from these two; not how queries in that language do.

A passage stands in FLORES as some lines of one split. Its questions are those of a copy of Belebele that is released in
its own layout; a passage is named by its number there. Of its 488 passages 300 are taken, those that the results of
this repository were measured on (`LEFT_OUT` has the others: 186 of the dev split, one of devtest, and one that is not
in FLORES word for word).
"""

from pathlib import Path

from hybridlib.data import CorpusError
from hybridlib.data.reading import field, read_lines
from reproduction.sources.ood.records import Records, plain, sentences

# FLORES-200 of the same commit as TICO-19 (`tico.REPOSITORY`): later ones lack the dev split.
FLORES_FILES = ("/testsets/flores200_dataset/*/*",)
REPOSITORY, COMMIT = "saeub/item-evaluation", "c6332925bd1984396267a60a861227514edac484"
FILES = ("/data/belebele/*.jsonl",)
QUERY_LANGUAGES = ("eng_Latn", "deu_Latn")
_LANGUAGES = {
    "Arab": "ace acm acq aeb ajp apc arb ars ary arz azb bjn ckb kas knc min pbt pes prs snd uig urd",
    "Latn": "ace afr aka als arb ast ayr azj bam ban bem bjn bos bug cat ceb ces cjk crh cym dan deu dik dyu eng epo "
            "est eus ewe fao fij fin fon fra fur fuv gaz gla gle glg grn hat hau hrv hun ibo ilo ind isl ita jav kab "
            "kac kam kbp kea kik kin kmb kmr knc kon lij lim lin lit lmo ltg ltz lua lug luo lus lvs min mlt mos mri "
            "nld nno nob nso nus nya oci pag pap plt pol por quy ron run sag scn slk slv smo sna som sot spa srd ssw "
            "sun swe swh szl taq tgl tpi tsn tso tuk tum tur twi umb uzn vec vie war wol xho yor zsm zul",
    "Ethi": "amh tir",
    "Beng": "asm ben mni",
    "Deva": "awa bho hin hne kas mag mai mar npi san",
    "Cyrl": "bak bel bul kaz khk kir mkd rus srp tat tgk ukr",
    "Tibt": "bod dzo",
    "Hebr": "heb ydd",
    "Mymr": "mya shn",
    "Tfng": "taq tzm",
    "Hant": "yue zho",
}
_ALONE = ("ell_Grek guj_Gujr hye_Armn jpn_Jpan kan_Knda kat_Geor khm_Khmr kor_Hang lao_Laoo mal_Mlym ory_Orya "
          "pan_Guru sat_Olck sin_Sinh tam_Taml tel_Telu tha_Thai zho_Hans")
LANGUAGES = sorted([*(f"{x}_{script}" for script, names in _LANGUAGES.items() for x in names.split()), *_ALONE.split()])
UNSPACED = ("jpn_Jpan", "yue_Hant", "zho_Hans", "zho_Hant")
# Names of files: a language's code without its script, but these.
FILE_NAMES = {x: x for x in ("ace_Arab ace_Latn bjn_Arab bjn_Latn kas_Arab kas_Deva knc_Arab knc_Latn min_Arab "
                             "min_Latn srp_Cyrl taq_Latn taq_Tfng").split()}
FILE_NAMES |= {"arb_Arab": "ara", "arb_Latn": "ara_Latn", "zho_Hans": "cmn_Hans", "zho_Hant": "cmn_Hant"}
SPLITS = {"dev": 997, "devtest": 1012}     # lines
LONGEST = 6                                # lines of a passage
LEFT_OUT = (
    "0-2 4 6 14-16 19 21 23 25 29 37 46 53 57 61-62 64 70-74 77 79 82 87 90 92-93 98-99 107 113 116 120 122 "
    "125-131 134 138 143 145-147 149 151 154-155 157 159 163 165-167 171-172 174 176-177 180 182 190 195 199 201 "
    "203 205 210 212-216 218 221 224-226 228 230 233 237 240-241 244 250-251 253 255 260 262 266-267 275 279 "
    "281-285 288 291-292 297-299 301 303-304 306 310 313 315-316 319-321 323 326 329 333-334 337-338 340 344-346 "
    "350 353 355 363 366-372 375-377 381-382 387-388 391 394-395 397-400 404 407 413 417 419 421 427 429 437 "
    "443-444 447 450-452 454 457 461 464-466 471 473 475 483 485-486")


def left_out() -> set[int]:
    """The numbers of the passages that are not taken."""
    ends = [[int(x) for x in part.split("-")] for part in LEFT_OUT.split()]
    return {number for part in ends for number in range(part[0], part[-1] + 1)}


def _questions(path: Path) -> list[tuple[str, list[str]]]:
    """(Passage, its questions) of each line."""
    found = []
    for number, record, problem in read_lines(path):
        where = f"{path}:{number}"
        if record is None:
            raise CorpusError([f"{where}: {problem}"])
        found.append((field(record, "text", str, where),
                      [field(item, "question", str, where) for item in field(record, "items", list, where)]))
    return found


def _places(english: dict[str, list[str]]) -> dict[str, tuple[str, slice]]:
    """Where each text is that some lines of a split make, the first place first."""
    found: dict[str, tuple[str, slice]] = {}
    for split, lines in english.items():
        for first in range(len(lines)):
            for last in range(first + 1, min(first + LONGEST, len(lines)) + 1):
                found.setdefault(" ".join(lines[first:last]), (split, slice(first, last)))
    return found


def build(folder: Path) -> Records:
    """The test set, from the folder that holds checkouts of `tico.REPOSITORY` and `REPOSITORY`.

    Raises
    ------
    FileNotFoundError, CorpusError
        If a file is missing or not laid out as it is published, or a passage is not in FLORES.
    """
    flores = folder / "OPUS-MT-testsets" / "testsets" / "flores200_dataset"
    texts = {x: {split: sentences(flores / split / f"{FILE_NAMES.get(x, x.split('_')[0])}.{split}", count)
                 for split, count in SPLITS.items()} for x in LANGUAGES}
    places = _places(texts["eng_Latn"])
    paths = {x: folder / "item-evaluation" / "data" / "belebele" / f"{x}.jsonl" for x in QUERY_LANGUAGES}
    asked = {x: _questions(path) for x, path in paths.items()}
    for x, path in paths.items():
        if [len(questions) for _, questions in asked[x]] != [len(questions) for _, questions in asked["eng_Latn"]]:
            raise CorpusError([f"{path}: not as many passages, or questions on each, as in {paths['eng_Latn'].name}; "
                               "they must be parallel"])
    made, skipped = Records.empty(), left_out()
    for number, (text, questions) in enumerate(asked["eng_Latn"]):
        if number in skipped:
            continue
        place = places.get(text) or places.get(plain(text))
        if place is None:
            raise CorpusError([f"{paths['eng_Latn']}:{number + 1}: the passage is not in FLORES-200 ({flores})"])
        split, lines = place
        passage = f"p{number:03d}"
        for x, own in texts.items():
            made.hold(f"{passage}:{x}", x, ("" if x in UNSPACED else " ").join(own[split][lines]), passage)
        for question in range(len(questions)):
            for x in QUERY_LANGUAGES:
                group = f"belebele-{passage[1:]}-{question + 1}"
                made.ask(f"{group}:q:{x}", x, asked[x][number][1][question], group, passage)
                made.relevant.extend((f"{group}:q:{x}", f"{passage}:{y}") for y in LANGUAGES)
    return made
