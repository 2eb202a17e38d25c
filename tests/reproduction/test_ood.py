"""Test sets of other domains from small trees in the published layouts: what becomes of them, and what is refused."""

import json
from collections import Counter
from fnmatch import fnmatch

import pytest
import yaml
from conftest import ROOT, SHARED

from hybridlib import files
from hybridlib.data import CorpusError, TestSet
from reproduction.sources import public, tydi
from reproduction.sources.ood import __main__ as ood
from reproduction.sources.ood import afriqa, belebele, python_faq, tico, tydi_goldp
from reproduction.sources.ood.records import plain


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def gold(folder, language="bem", split="test"):
    return (folder / "afriqa/data/gold_passages" / language /
            f"gold_span_passages.afriqa.{language}.{afriqa.PIVOTS[language]}.{split}.json")


def questions(folder):
    """AfriQA with one passage for each language and split, and one of fon that the question of bem has, too."""
    for language in afriqa.PIVOTS:
        for split in afriqa.SPLITS.get(language, ("dev", "test", "train")):
            record = {"id": "7", "question_lang": f" {language} {split}? ", "context": f"passage {language} {split} "}
            write(gold(folder, language, split), json.dumps(record) + "\n")
    # A question without a passage, one with a passage of another split, and NaN for a title, as released.
    write(gold(folder), '{"id": "0", "question_lang": "none?", "context": null}\n'
                        '{"id": "1", "question_lang": "one?", "context": "passage bem dev", "title": NaN}\n'
                        '{"id": "2", "question_lang": "two?", "context": "passage fon test"}\n')


def health(folder, lines=(4, 5, 9)):
    """TICO-19 with documents of so many lines, the first of them dialogue phrases."""
    names = [f"{name}:{place}" for name, count in zip(("CMU_1", "wiki_4", "PubMed_6"), lines, strict=True)
             for place in range(count)]
    place = folder / "OPUS-MT-testsets/testsets"
    write(place / "en-am/tico19-test.en.info",
          "".join(f"{name}\thttps://{name.split(':')[0]}\tpublic\n" for name in names))
    for language in ("en", *tico.LANGUAGES):
        text = "".join(f"this is sentence number {name} of {language} \n" for name in names)
        if language == "en":
            text = text.replace("this is sentence number PubMed_6:0 of en", "A heading of five words")
        write(place / f"en-{'am' if language == 'en' else language}/tico19-test.{language}", text)
    return place


@pytest.fixture
def flores(tmp_path, monkeypatch):
    """FLORES-200 of six lines in each split and five languages, and three passages with questions."""
    monkeypatch.setattr(belebele, "LANGUAGES", ["ace_Arab", "arb_Arab", "deu_Latn", "eng_Latn", "zho_Hans"])
    monkeypatch.setattr(belebele, "SPLITS", {"dev": 6, "devtest": 6})
    monkeypatch.setattr(belebele, "LEFT_OUT", "1")
    place = tmp_path / "OPUS-MT-testsets/testsets/flores200_dataset"
    for name in ("ace_Arab", "ara", "deu", "eng", "cmn_Hans"):
        for split in belebele.SPLITS:
            write(place / split / f"{name}.{split}", "".join(f'{name} says "{split} {n}"\n' for n in range(6)))
    passages = [("dev", (0, 1)), ("dev", (3, 4)), ("devtest", (2, 3, 4))]
    for language, name in (("eng_Latn", "eng"), ("deu_Latn", "deu")):
        lines = []
        for number, (split, places) in enumerate(passages):
            text = " ".join(f'{name} says "{split} {n}"' for n in places)
            lines.append({"text": '"' + text.replace('"', '""') + '"', "items": [
                {"question": f"{name} question {number}.{n}?"} for n in range(1 + number % 2)]})
        write(tmp_path / f"item-evaluation/data/belebele/{language}.jsonl",
              "".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


# Longer than nine tenths of an answer that ends with "Sure.".
PROSE = "Because of :ref:`the reason <why>`, ``x*y`` and *more*, which is said at length here, so that it is an answer."


def catalog(folder, language, part, *messages):
    """A file of gettext: its header and the messages, each an original, a translation and comments above it."""
    lines = ['msgid ""\nmsgstr ""\n"Language: x\\n"\n']
    for original, translation, *comments in messages:
        quoted = [json.dumps(text, ensure_ascii=False) for text in (original, translation)]
        lines.append("".join(f"{comment}\n" for comment in comments) + "msgid {}\nmsgstr {}\n".format(*quoted))
    repository = python_faq.REPOSITORIES[language][0].rsplit("/", 1)[-1]
    return write(folder / repository / "faq" / f"{part}.po", "\n".join(lines))


def documentation(folder):
    """Python's FAQ: in each part a question that nobody has translated, and in `design` one that French has."""
    for language in python_faq.REPOSITORIES:
        for part in python_faq.PARTS:
            catalog(folder, language, part, ("Design FAQ", "x"), (f"Why {part}?", ""), (PROSE, ""))
    answer = [(PROSE, "Wegen :ref:`des Grundes <why>`.", "#: a.rst:3"), ("x = 1\ny = 2", "x = 1\ny = 2", "#: a.rst:5"),
              ("Core language", "Kern", "#: a.rst:8"), ("Sure.", "Nein.", "#, fuzzy", "#: a.rst:4")]
    for language in (python_faq.ENGLISH, "fr"):
        # Not in the order of the documentation, which the lines have.
        catalog(folder, language, "design", ("Is it ``so``?", "Ist es ``so``?" * (language == "fr"), "#: a.rst:2"),
                *answer, ("Is it short?", "Kurz?", "#: a.rst:9"), ("Yes.", "Ja.", "#: a.rst:10"))


def released(folder, file, *entries):
    """A file of TyDi QA's release, an article for each paragraph and its questions by id."""
    return write(folder / "tydiqa" / file, json.dumps({"version": "1", "data": [{"paragraphs": [{
        "context": context, "qas": [{"id": name, "question": question} for name, question in questions.items()]}]}
        for context, questions in entries]}, ensure_ascii=False))


@pytest.fixture
def gold_passages(tmp_path, monkeypatch):
    """TyDi QA of four questions, on three paragraphs, and two paragraphs of the training part that are drawn."""
    released(tmp_path, tydi_goldp.FILE, ("Two  boats.\n", {"korean-7-1": "Boats? "}),
             ("A boat.", {"english-7-1": "One?"}), ("Two boats.", {"korean--8-0": "Ships?"}),
             ("Three.", {"english-9-2": "How many?"}))
    released(tmp_path, tydi.FILE, ("An oar.", {"english-1-1": "Oar?"}), ("A mast.", {"english-2-1": "Mast?"}),
             ("A sail. ", {"english-3-1": "Sail?"}), ("An oar.", {"finnish-4-1": "Airo?"}))
    drawn = write(tmp_path / "drawn.txt", "".join(f"en {tydi_goldp.checksum(x)}\n" for x in ("A sail.", "An oar.")))
    monkeypatch.setattr(tydi_goldp, "DISTRACTORS", drawn)
    return tmp_path


def test_african_questions_are_answered_by_english_or_french(tmp_path):
    questions(tmp_path)
    made = afriqa.build(tmp_path)
    assert [(row["language"], row["text"]) for row in made.queries[:3]] == [
        ("bem", "one?"), ("bem", "two?"), ("fon", "fon test?")]
    texts = {row["_id"]: (row["language"], row["text"]) for row in made.corpus}
    assert [row["language"] for row in made.corpus] == ["en"] * 21 + ["fr"] * 3
    assert made.relevant[0] == ("bem:afriqa-bem-test-1", "c0") and texts["c0"] == ("en", "passage bem dev")
    # The same text in another pivot is another document: bem is answered in English.
    assert texts[made.relevant[1][1]] == ("en", "passage fon test")
    assert texts[made.relevant[2][1]] == ("fr", "passage fon test")


def test_a_sentence_asks_for_the_three_after_it(tmp_path):
    health(tmp_path)
    made = tico.build(tmp_path)
    # wiki_4 gives one piece and PubMed_6 two, of which one begins with a heading; dialogue phrases none.
    assert {row["group"] for row in made.queries} == {"tico-wiki_4-0", "tico-PubMed_6-4"}
    assert len(made.queries) == len(made.corpus) == 2 * 39 and len(made.relevant) == 2 * 39 * 39
    texts = {row["_id"]: row["text"] for row in made.corpus}
    assert texts["tico-wiki_4-0:sw"] == " ".join(f"this is sentence number wiki_4:{n} of sw" for n in (1, 2, 3))
    assert "of zhthis" in texts["tico-wiki_4-0:zh"], "Chinese has no spaces between sentences"
    assert made.queries[0] == {"_id": "tico-wiki_4-0:q:am", "language": "am", "group": "tico-wiki_4-0",
                               "text": "this is sentence number wiki_4:0 of am", "cluster": "https://wiki_4"}


def test_a_passage_that_stands_twice_in_a_language_is_one_document(tmp_path):
    place = health(tmp_path) / "en-fr/tico19-test.fr"
    lines = place.read_text("utf-8").splitlines()
    lines[14:17] = lines[5:8]
    write(place, "\n".join(lines) + "\n")
    made = tico.build(tmp_path)
    assert len(made.corpus) == 2 * 39 - 1
    assert ("tico-PubMed_6-4:q:ln", "tico-wiki_4-0:fr") in made.relevant


def test_passages_are_found_in_flores_and_joined_by_language(flores):
    made = belebele.build(flores)
    assert [row["_id"] for row in made.queries] == ["belebele-000-1:q:eng_Latn", "belebele-000-1:q:deu_Latn",
                                                    "belebele-002-1:q:eng_Latn", "belebele-002-1:q:deu_Latn"]
    texts = {row["_id"]: row["text"] for row in made.corpus}
    assert texts["p000:arb_Arab"] == 'ara says "dev 0" ara says "dev 1"'
    assert texts["p002:zho_Hans"] == "".join(f'cmn_Hans says "devtest {n}"' for n in (2, 3, 4))
    assert len(made.relevant) == 4 * 5


def test_questions_are_answered_by_the_prose_up_to_the_next(tmp_path):
    documentation(tmp_path)
    made = python_faq.build(tmp_path)
    # One of them has a short answer, and the others nobody has translated.
    assert [(row["_id"], row["text"]) for row in made.queries] == [
        ("pyfaq-design-is-it-so:q:en", "Is it so?"), ("pyfaq-design-is-it-so:q:fr", "Ist es so?")]
    assert [(row["_id"], row["text"]) for row in made.corpus] == [
        ("pyfaq-design-is-it-so:en", "Because of the reason, x*y and more, which is said at length here, so that it is "
         "an answer. Sure."), ("pyfaq-design-is-it-so:fr", "Wegen des Grundes.")]
    assert len(made.relevant) == 4 and {row["group"] for row in made.queries} == {"pyfaq-design-is-it-so"}


def test_an_answer_that_is_translated_in_part_is_left_out(tmp_path):
    documentation(tmp_path)
    question = ("Is it ``so``?", "Ist es so?")
    # In characters of the original: 9 of 10 are enough, a little less is not.
    for last, languages in (("b" * 10 + ".", ["en", "pt_BR", "uk", "fr"]), ("b" * 11 + ".", ["en", "uk"])):
        for language in (python_faq.ENGLISH, "fr"):
            catalog(tmp_path, language, "design", question, ("a" * 98 + ".", "Ja."), (last, ""))
        catalog(tmp_path, "uk", "design", question, ("a" * 98 + ".", "So."), (last, "Ja."))
        assert [row["language"] for row in python_faq.build(tmp_path).queries] == languages


def test_messages_are_those_that_another_reader_finds(tmp_path):
    """Against Babel, which Sphinx reads its translations with."""
    pofile = pytest.importorskip("babel.messages.pofile")
    path = write(tmp_path / "a.po", r'''# Header
msgid ""
msgstr "Language: fr\n"

#: ../a.rst:1
msgid "One \"word\"\tand\n"
"more: C:\\new"
msgstr ""
"Un « mot »"
" et plus"

#: ../a.rst:5 ../a.rst:9
#, python-format, fuzzy
#| msgid "Before"
msgid "Unsure"
msgstr "Incertain"

msgid "Not yet"
msgstr ""

#, fuzzy
#~ msgid "Gone"
#~ msgstr "Parti"

#: ../a.rst:7
msgid "Last"
msgstr "Dernier"
''')
    with open(path, "rb") as file:
        expected = {message.id: "" if message.fuzzy else message.string for message in pofile.read_po(file)
                    if message.id}
    found = python_faq.messages(path)
    assert dict(found) == expected and len(found) == 4
    assert expected['One "word"\tand\nmore: C:\\new'] == "Un « mot » et plus" and not expected["Unsure"]
    # What has no line comes first, as where no message has one.
    assert [message.original[:3] for message in found] == ["Not", "One", "Uns", "Las"]


def test_paragraphs_of_training_stand_beside_those_of_dev(gold_passages):
    made = tydi_goldp.build(gold_passages)
    assert [(row["_id"], row["text"], row["cluster"]) for row in made.queries] == [
        ("en:english-7-1", "One?", "en:c0"), ("en:english-9-2", "How many?", "en:c1"),
        ("ko:korean-7-1", "Boats?", "ko:c0"), ("ko:korean--8-0", "Ships?", "ko:c0")]
    assert [(row["_id"], row["text"]) for row in made.corpus] == [
        ("en:c0", "A boat."), ("en:c1", "Three."), ("en:c2", "A sail."), ("en:c3", "An oar."), ("ko:c0", "Two boats.")]
    assert made.relevant == [("en:english-7-1", "en:c0"), ("en:english-9-2", "en:c1"), ("ko:korean-7-1", "ko:c0"),
                             ("ko:korean--8-0", "ko:c0")]


def test_text_from_spreadsheets_and_pages_is_made_plain():
    assert plain('"He said ""more"" &amp; left. "') == 'He said "more" & left.'
    assert plain('"One" and ""two') == '"One" and ""two', "quotes at one end are the text's own"


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: gold(f, "yor", "train").unlink(), "afriqa.yor.en.train.json: no such file"),
    (lambda f: write(gold(f), '{"id": "0"}\n'), "afriqa.bem.en.test.json:1: field 'question_lang' is null"),
    (lambda f: write(gold(f, "hau"), "\n[1]\n"), r"afriqa.hau.en.test.json:2: field 'id' is null"),
    (lambda f: write(gold(f, "zul"), "{\n"), "afriqa.zul.en.test.json:1: not JSON")])
def test_african_questions_in_another_layout_are_refused(tmp_path, damage, message):
    questions(tmp_path)
    damage(tmp_path)
    with pytest.raises((CorpusError, FileNotFoundError), match=message):
        afriqa.build(tmp_path)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("en-sw/tico19-test.sw", "a line\n" * 17, "tico19-test.sw: 17 lines, expected 18"),
    ("en-zh/tico19-test.zh", "a line\n" * 5 + "\n" + "a line\n" * 12, "tico19-test.zh:6: empty, expected a sentence"),
    ("en-am/tico19-test.en.info", "wiki_4:0 public\n" * 18, "en.info:1: expected <document>:<line>, an address")])
def test_translations_that_are_not_parallel_are_refused(tmp_path, name, text, message):
    write(health(tmp_path) / name, text)
    with pytest.raises(CorpusError, match=message):
        tico.build(tmp_path)


@pytest.mark.parametrize(("name", "old", "new", "message"), [
    ("eng_Latn", "devtest 3", "devtest 30", "eng_Latn.jsonl:3: the passage is not in FLORES-200"),
    ("deu_Latn", '"items"', '"questions"', "deu_Latn.jsonl:1: field 'items' is null, expected a list"),
    ("deu_Latn", ', {"question": "deu question 1.1?"}', "", "deu_Latn.jsonl: not as many passages, or questions")])
def test_questions_on_other_passages_are_refused(flores, name, old, new, message):
    path = flores / "item-evaluation/data/belebele" / f"{name}.jsonl"
    assert old in path.read_text("utf-8")
    write(path, path.read_text("utf-8").replace(old, new))
    with pytest.raises(CorpusError, match=message):
        belebele.build(flores)


@pytest.mark.parametrize(("text", "message"), [
    (None, "python-docs-tr/faq/library.po: no such file"),
    ('msgid "Why?"\nmsgstr Neden?\n', "library.po:2: expected msgid, msgstr or more of it, in quotes"),
    ('msgid "Why?\nmsgstr ""\n', "library.po:1: expected msgid"),
    ('"Why?"\n', "library.po:1: expected msgid"),
    ('msgid "Why."\nmsgstr ""\n', "library.po: no question; the layout is not the pinned one")])
def test_documentation_in_another_layout_is_refused(tmp_path, text, message):
    documentation(tmp_path)
    path = tmp_path / "python-docs-tr/faq/library.po"
    path.unlink()
    if text:
        write(path, text)
    with pytest.raises((CorpusError, FileNotFoundError), match=message):
        python_faq.build(tmp_path)


@pytest.mark.parametrize(("file", "old", "new", "message"), [
    (tydi_goldp.FILE, "korean--8", "thai--8", r"dev.json: data\[2\]: id 'thai--8-0' begins with none of arabic"),
    (tydi_goldp.FILE, '"qas"', '"questions"', r"dev.json: data\[0\]: field 'qas' is null, expected a list"),
    (tydi.FILE, "A sail", "The sail", "train.json: no paragraph of language en has a sha256 that begins with"),
    (tydi.FILE, None, None, "tydiqa-goldp-v1.1-train.json: no such file")])
def test_gold_passages_in_another_layout_are_refused(gold_passages, file, old, new, message):
    path = gold_passages / "tydiqa" / file
    text = path.read_text("utf-8")
    path.unlink()
    if old:
        assert old in text
        write(path, text.replace(old, new))
    with pytest.raises((CorpusError, FileNotFoundError), match=message):
        tydi_goldp.build(gold_passages)


def test_made_once_under_its_name_and_read_by_the_library(tmp_path, monkeypatch, capsys):
    questions(tmp_path / "from")
    out = tmp_path / "out"
    # Other records than the pinned ones never get the name that the preset reads.
    with pytest.raises(CorpusError, match=r"afriqa.other: 10 queries and 24 documents, and not those of preset xquad"):
        ood.make("afriqa", out, tmp_path / "from")
    assert [path.name for path in (out / "ood").iterdir()] == ["afriqa.other"]
    built = tuple(files.sha256(out / "ood" / "afriqa.other" / name) for name in ood.FILES)
    monkeypatch.setitem(ood.SOURCES, "afriqa", ood.SOURCES["afriqa"]._replace(sha256=built))
    command = ["afriqa", "--out", str(out), "--from", str(tmp_path / "from")]
    ood.main(command)
    assert capsys.readouterr().out == "afriqa: 10 queries, 24 documents\n"
    assert [path.name for path in (out / "ood").iterdir()] == ["afriqa"]
    test_set = TestSet.from_beir(out / "ood" / "afriqa")
    assert (len(test_set.queries), len(test_set.candidates), len(test_set.relevant)) == (10, 24, 10)
    gold(tmp_path / "from").unlink()
    ood.main(command)
    assert capsys.readouterr().out == "afriqa: there already\n"
    write(out / "ood/afriqa/qrels.tsv", "damaged")
    with pytest.raises(SystemExit, match=r"^error: .*afriqa.bem.en.test.json: no such file"):
        ood.main(command)


def test_checkouts_are_of_the_pinned_commits(tmp_path, monkeypatch):
    asked = []

    def fetch(url, commit, patterns, folder):
        asked.append((url, commit, folder.relative_to(tmp_path).as_posix()))
        if len(asked) == 2:
            raise ConnectionError(f"{url} could not be had")
    monkeypatch.setattr(public, "fetch_commit", fetch)
    monkeypatch.setenv("HYBRIDLIB_DATA", str(tmp_path))
    with pytest.raises(ConnectionError, match="saeub/item-evaluation could not be had"):
        ood.make("belebele-flores200", tmp_path / "out")
    assert asked == [("https://github.com/Helsinki-NLP/OPUS-MT-testsets", "d4522b6dc6a7d668ec636a4256c6b913671a9666",
                      "ood/OPUS-MT-testsets"),
                     ("https://github.com/saeub/item-evaluation", "c6332925bd1984396267a60a861227514edac484",
                      "ood/item-evaluation")]
    # Both sets that read it must find all that they need in one checkout.
    tico19, flores = (ood.SOURCES[name].checkouts[0] for name in ("tico19", "belebele-flores200"))
    assert tico19 == flores and {*tico.FILES, *belebele.FLORES_FILES} == {*flores[2]}
    for path in ("en-am/tico19-test.en", "en-am/tico19-test.en.info", "en-zu/tico19-test.zu",
                 "flores200_dataset/dev/eng_Latn.dev"):
        assert any(fnmatch(f"/testsets/{path}", pattern) for pattern in flores[2]), path


def test_released_files_are_those_of_the_pinned_checksums(tmp_path, monkeypatch):
    asked = {}

    def fetch(url, checksums, folder):
        asked.update({f"{url}/{name}": (digest[:8], folder.relative_to(tmp_path).as_posix())
                      for name, digest in checksums.items()})
    monkeypatch.setattr(public, "fetch_files", fetch)
    monkeypatch.setenv("HYBRIDLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"ood/tydiqa/tydiqa-goldp-v1.1-dev.json: no such file"):
        ood.make("tydi-goldp", tmp_path / "out")
    home = "https://storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1"
    assert asked == {f"{home}-dev.json": ("b286e0f3", "ood/tydiqa"), f"{home}-train.json": ("cefc8e09", "ood/tydiqa")}


def test_each_language_of_the_documentation_has_a_commit():
    checkouts = ood.SOURCES["python-faq"].checkouts
    assert len({repository for repository, _, _ in checkouts}) == len({commit for _, commit, _ in checkouts}) == 10
    for _, commit, patterns in checkouts:
        assert len(commit) == 40 and int(commit, 16) and any(fnmatch("/faq/windows.po", x) for x in patterns)


def test_the_preset_reads_what_is_built():
    further = yaml.safe_load((ROOT / "configs/xquad.yaml").read_text("utf-8"))["data"]["further"]
    assert {f"ood/{name}" for name in ood.SOURCES} == {
        entry["folder"] for entry in further if entry["format"] == "beir"}
    assert len(belebele.LANGUAGES) == len(set(belebele.LANGUAGES)) == 204
    assert 488 - len(belebele.left_out()) == 300
    drawn = tydi_goldp.DISTRACTORS.read_text("utf-8").splitlines()
    assert Counter(line[:3] for line in drawn) == {"en ": 500, "ko ": 500, "sw ": 500} and len({*drawn}) == 1500


@pytest.mark.parametrize("name", ["tico19", "belebele-flores200", "python-faq", "tydi-goldp"])
def test_the_pinned_bytes_are_those_that_were_measured_on(name):
    import gzip
    import hashlib

    if not (SHARED / "ood" / name).is_dir():
        pytest.skip(f"{name} is not at hand (../shared/data)")
    for file, expected in zip(ood.FILES, ood.SOURCES[name].sha256, strict=True):
        with gzip.open(SHARED / "ood" / name / f"{file}.gz") as text:
            assert hashlib.file_digest(text, "sha256").hexdigest() == expected


def test_a_name_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        ood.main(["nothing", "--out", "x"])
    assert "no nothing; there are afriqa tico19 belebele-flores200 python-faq tydi-goldp" in capsys.readouterr().err
