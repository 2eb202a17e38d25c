"""The data of preset xquad from small trees in the published layouts: what becomes of them, and what is refused."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import NINE, ROOT

from hybridlib import files
from hybridlib.data import RELEASED, CorpusError, read_groups
from reproduction.sources import documentation, ntrex, public, tydi

TEXT = ("{0} text of section {1}, which is long enough to be kept since it has more than eighty characters; it goes "
        "on for a while.")
FILE = "lessons/boats.md"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def markdown(language, numbers=range(4)):
    """A file of sections 0 to 3, the last signed by the translator; a section of a larger number has more lines."""
    parts = [f"<!--\n# not a heading\n-->\n# {language} title\n"] + [f"## {language} part {n}\n" for n in range(1, 4)]
    return "".join(parts[n] + (TEXT.format(language, n) + "\n") * (n + 1) for n in numbers) + (
        "Translated by [Co-op Translator](https://example.org)\n")


def translations(folder, text=markdown, repositories=documentation.REPOSITORIES):
    for repository in repositories:
        for language in NINE:
            name = "zh-CN" if language == "zh" and repository.startswith("A") else language
            write(folder / repository / "translations" / name / FILE, text(language))


def docs(folder):
    return list(documentation.groups(folder))


# Three documents, of 4, 1 and 3 sentences.
SENTENCES = ["a.1"] * 4 + ["b.2"] + ["c.3"] * 3


def news(folder, language=None, lines=None):
    write(folder / ntrex.DOCUMENTS, "\n".join(SENTENCES) + "\n")
    for x, name in ntrex.LANGUAGES.items():
        write(folder / name, "\n".join(f"{x}  {n}\u00a0." for n in range(len(SENTENCES))) + "\n")
    if language:
        write(folder / ntrex.LANGUAGES[language], lines)


def questions(*asked):
    return {"version": "x", "data": [{"paragraphs": [{"context": context, "qas": [
        {"id": name, "question": question, "answers": []}]}]} for name, question, context in asked]}


ASKED = [("english-123-4", "who  is it?", "It  is\nme."), ("russian-1-0", "кто?", "я"),
         ("english--5-0", "when was it?", "word " * 400), ("english-6-0", "in MIRACL?", "yes")]


def gold(folder, released=None, topics="0\tin MIRACL?\n1\tsomething else\n"):
    write(folder / "tydiqa" / tydi.FILE, json.dumps(questions(*ASKED) if released is None else released))
    write(folder / "anserini-tools" / tydi.TOPICS, topics)
    return public._groups("tydi-en", folder)


def test_a_section_is_asked_for_by_title_and_heading(tmp_path):
    translations(tmp_path)
    found = docs(tmp_path)
    # The other three repositories repeat the queries of the first.
    assert [group["id"] for group in found] == [f"docs:IoT-For-Beginners/{FILE}#{n}" for n in range(3)]
    assert found[0]["query"] == {x: f"{x} title" for x in NINE}
    assert found[2]["query"]["th"] == "th title: th part 2"
    assert found[1]["passage"]["zh"] == " ".join([TEXT.format("zh", 1)] * 2)
    assert all(tuple(group[side]) == NINE for group in found for side in ("query", "passage"))


def test_the_last_section_stays_where_no_translator_signs_it(tmp_path):
    translations(tmp_path, lambda x: markdown(x).replace("Co-op Translator", "us"))
    assert [group["id"][-1] for group in docs(tmp_path)] == ["0", "1", "2", "3"]


def test_markdown_is_made_plain():
    (first, second, third) = documentation.sections(
        "lost\n# A *title*\n_See_ [the `sea`](a_b.md), ![no](x.png) <b>bold</b>.\n```sh\n# code\n```\n"
        "> ```\n> # quoted code\n> ```\n* 5 <\n* 6 >\n### Deep\nx\n## Next\ny")
    assert first[:2] == ("A title", "See the sea, bold. 5 < 6 >") and first.shape == (1, 3, 2, 1)
    assert (second.query, third.query) == ("A title: Deep", "A title: Next")


def test_without_a_title_the_outermost_heading_stands_first():
    found = documentation.sections("## Parts\na\n### One\nb\n## Whole\nc\n# Title\nd\n### Deep\ne")
    assert [section.query for section in found] == ["Parts", "Parts: One", "Whole", "Title", "Title: Deep"]


@pytest.mark.parametrize(("numbers", "kept"), [
    ([0, 1, 2, 3], [0, 1, 2]),
    ([0, 1, 3], [0, 1]),      # 3 alone may be chance, and is signed
    ([1, 2, 3], [1, 2]),      # the title was lost
    ([0, 2], []),             # two runs of one
    ([0, 0, 1, 2, 3], [0, 1, 2])])
def test_a_translation_with_other_sections_is_aligned_by_their_shapes(tmp_path, numbers, kept):
    translations(tmp_path, lambda x: markdown(x, numbers if x == "hi" else range(4)), ["IoT-For-Beginners"])
    for other in list(documentation.REPOSITORIES)[1:]:
        shutil.copytree(tmp_path / "IoT-For-Beginners", tmp_path / other)
    found = docs(tmp_path)
    assert [int(group["id"][-1]) for group in found] == kept
    for group, number in zip(found, kept, strict=True):
        for x in NINE:
            assert group["passage"][x] == " ".join([TEXT.format(x, number)] * (number + 1))[:1200]


def test_left_out_is_what_is_short_long_or_not_translated(tmp_path):
    def text(x):
        return (f"# {x}\n{'s' * 79}\n## long\n{x} {'w ' * 900}\n## same\n{TEXT.format('en', 1)}\n"
                f"## one same\n{TEXT.format('en' if x == 'de' else x, 2)}\n"
                f"## empty\n{'' if x == 'ru' else TEXT.format(x, 3)}\n"
                f"## exact\n{x}{'e' * 78}\n")
    translations(tmp_path, text)
    assert [(group["query"]["en"], len(group["passage"]["de"])) for group in docs(tmp_path)] == [
        ("en: long", 1200), ("en: exact", 80)]


def test_a_sentence_asks_for_its_neighbours_in_the_document(tmp_path):
    news(tmp_path)
    found = list(ntrex.groups(tmp_path))
    assert [group["id"] for group in found] == [f"ntrex:{n}" for n in (0, 1, 2, 5, 6)]
    assert [group["passage"]["ru"] for group in found] == [
        "ru 1 . ru 2 .", "ru 0 . ru 2 . ru 3 .", "ru 1 . ru 3 .", "ru 6 . ru 7 .", "ru 5 . ru 7 ."]
    assert found[3]["query"] == {x: f"{x} 5 ." for x in NINE}


def test_the_questions_of_miracl_are_left_out(tmp_path):
    assert list(gold(tmp_path)) == [
        {"id": "tydi-en:4", "query": {"en": "who is it?"}, "passage": {"en": "It is me."}},
        {"id": "tydi-en:0", "query": {"en": "when was it?"}, "passage": {"en": ("word " * 400)[:1200]}}]


def removed(record, *path):
    *upper, last = path
    for key in upper:
        record = record[key]
    del record[last]


@pytest.mark.parametrize(("damage", "message"), [
    (lambda f: shutil.rmtree(f / "AZD-for-beginners/translations/th"),
     "AZD-for-beginners/translations/th: no such folder"),
    (lambda f: (f / "Security-101/translations/ru" / FILE).unlink(),
     "Security-101/translations: no Markdown file is there in all of ar, de,"),
    (lambda f: (f / "IoT-For-Beginners/translations/es" / FILE).write_bytes(b"# title\n\xff\n"),
     "es/lessons/boats.md:2: not UTF-8")])
def test_a_changed_layout_of_the_repositories_is_refused(tmp_path, damage, message):
    translations(tmp_path)
    damage(tmp_path)
    with pytest.raises((CorpusError, FileNotFoundError), match=message):
        docs(tmp_path)


@pytest.mark.parametrize(("lines", "message"), [
    ("one\n" * 7, "ref.deu.txt: 7 lines, and DOCUMENT_IDS.tsv has 8"),
    ("one\n\n" + "one\n" * 6, "ref.deu.txt:2: empty, expected a sentence")])
def test_news_that_are_not_parallel_are_refused(tmp_path, lines, message):
    news(tmp_path, "de", lines)
    with pytest.raises(CorpusError, match=message):
        list(ntrex.groups(tmp_path))


@pytest.mark.parametrize(("path", "message"), [
    (("data",), "train.json: field 'data' is null, expected a list"),
    (("data", 1, "paragraphs"), r"train.json: data\[1\]: field 'paragraphs' is null"),
    (("data", 0, "paragraphs", 0, "context"), r"data\[0\]: field 'context' is null, expected text"),
    (("data", 2, "paragraphs", 0, "qas", 0, "id"), r"data\[2\]: field 'id' is null")])
def test_questions_in_another_layout_are_refused(tmp_path, path, message):
    released = questions(*ASKED)
    removed(released, *path)
    with pytest.raises(CorpusError, match=message):
        list(gold(tmp_path, released))


def test_questions_without_topics_or_english_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="en-dev.tsv:2: one column, expected query id and query"):
        list(gold(tmp_path, topics="0\tgood\nbad\n"))
    with pytest.raises(CorpusError, match="train.json: no question's id begins with english-"):
        list(gold(tmp_path, questions(ASKED[1])))


def test_a_set_without_a_group_is_not_written(tmp_path):
    gold(tmp_path, questions(ASKED[3]))
    with pytest.raises(CorpusError, match="out/train/tydi-en.jsonl: not written, there is not one group"):
        public.make("tydi-en", tmp_path / "out", tmp_path)
    assert not list((tmp_path / "out" / "train").iterdir())


def test_made_once_and_read_by_the_library(tmp_path, monkeypatch, capsys):
    translations(tmp_path / "from")
    news(tmp_path / "from" / "NTREX")
    gold(tmp_path / "from")
    sets = ["docs", "ntrex", "tydi-en"]
    command = [*sets, "--out", str(tmp_path / "out"), "--from", str(tmp_path / "from")]
    built = {}
    for name, count in (("docs", 3), ("ntrex", 5), ("tydi-en", 2)):
        # Other groups than the pinned ones never get the name that the preset reads.
        with pytest.raises(CorpusError, match=rf"{name}.other.jsonl: {count} groups, and not those of preset xquad"):
            public.make(name, tmp_path / "out", tmp_path / "from")
        built[name] = files.sha256(tmp_path / "out" / "train" / f"{name}.other.jsonl")
    made = {name: tmp_path / "out" / "train" / f"{name}.jsonl" for name in sets}
    assert not any(file.exists() for file in made.values())
    monkeypatch.setattr(public, "BUILT", built)
    public.main(command)
    assert capsys.readouterr().out.splitlines() == ["docs: 3 groups", "ntrex: 5 groups", "tydi-en: 2 groups"]
    assert {name: read_groups(file).languages for name, file in made.items()} == {
        "docs": NINE, "ntrex": NINE, "tydi-en": ("en",)}
    made["ntrex"].write_text("damaged")
    shutil.rmtree(tmp_path / "from" / "IoT-For-Beginners")
    public.main(command)
    assert capsys.readouterr().out.splitlines() == ["docs: there already", "ntrex: 5 groups", "tydi-en: there already"]
    with pytest.raises(SystemExit, match="^error: .*IoT-For-Beginners/translations/ar: no such folder"):
        public.main(["docs", "--out", str(tmp_path / "anew"), "--from", str(tmp_path / "from")])
    assert not list((tmp_path / "anew").rglob("*.*"))


def test_released_files_are_checked_and_kept(tmp_path, monkeypatch):
    source, out = tmp_path / "from" / "lareqa" / "mlqa-r", tmp_path / "out" / "mlqa-r"
    for x in RELEASED["mlqa-r"]:
        write(source / f"{x}.json", x)
    monkeypatch.setitem(RELEASED, "mlqa-r", {x: files.sha256(source / f"{x}.json") for x in RELEASED["mlqa-r"]})
    write(source / "hi.json", "changed")
    with pytest.raises(CorpusError, match="from/lareqa/mlqa-r/hi.json: sha256 is"):
        public.make("mlqa-r", tmp_path / "out", tmp_path / "from")
    write(source / "hi.json", "hi")
    assert public.make("mlqa-r", tmp_path / "out", tmp_path / "from") == "mlqa-r: 7 files, as released"
    monkeypatch.setattr(public, "fetch_lareqa", None)
    assert public.make("mlqa-r", tmp_path / "out") == "mlqa-r: 7 files, as released"
    assert (out / "zh.json").read_text() == "zh"


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_only_the_files_asked_for_are_checked_out_and_only_once(tmp_path):
    def git(*arguments):
        done = subprocess.run(["git", "-C", str(tmp_path / "home"), "-c", "user.name=n", "-c", "user.email=e",
                               "-c", "commit.gpgsign=false", *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    home, folder = tmp_path / "home", tmp_path / "here"
    for name in ("translations/ar/a.md", "translations/ar/deep/b.md", "translations/fr/a.md", "translations/ar/a.png"):
        write(home / name, "first")
    for arguments in (["init", "-q"], ["config", "uploadpack.allowFilter", "true"],
                      ["config", "uploadpack.allowAnySHA1InWant", "true"], ["add", "."], ["commit", "-qm", "one"]):
        git(*arguments)
    commit = git("rev-parse", "HEAD")
    write(home / "translations/ar/a.md", "second")
    git("commit", "-qam", "two")
    url, patterns = home.as_uri(), ["/translations/ar/**/*.md"]
    public.fetch_commit(url, commit, patterns, folder)
    there = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.*")
             if ".git" not in path.parts and path.is_file()}
    assert there == {"translations/ar/a.md": "first", "translations/ar/deep/b.md": "first"}
    home.rename(tmp_path / "gone")
    public.fetch_commit(url, commit, patterns, folder)
    with pytest.raises(ConnectionError, match=f"{url} at {commit} could not be had: .*--from$"):
        public.fetch_commit(url, commit, patterns, tmp_path / "other")


def test_a_file_that_cannot_be_had_is_named_and_one_that_is_there_is_not_fetched(tmp_path):
    write(tmp_path / "home" / "sub" / "a.txt", "text")
    # pooch reads no file:// address, which is as good as none that answers.
    with pytest.raises(ConnectionError, match="sub/a.txt could not be had: .*folder that holds NTREX/ with"):
        public.fetch_files((tmp_path / "home").as_uri(), {"sub/a.txt": "0" * 64}, tmp_path / "NTREX")
    write(tmp_path / "NTREX" / "sub" / "a.txt", "text")
    public.fetch_files("https://nowhere.invalid", {"sub/a.txt": files.sha256(tmp_path / "NTREX/sub/a.txt")},
                       tmp_path / "NTREX")


def test_the_preset_reads_what_is_built():
    config = yaml.safe_load(Path(ROOT, "configs", "xquad.yaml").read_text("utf-8"))["data"]
    assert {entry["file"]: entry["sha256"] for entry in config["training"]} == {
        f"train/{name}.jsonl": digest for name, digest in public.BUILT.items()}
    assert {entry["folder"] for entry in config["benchmarks"]} == set(RELEASED)


def test_a_name_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        public.main(["dox", "--out", "x"])
    assert "no dox; there are docs ntrex tydi-en xquad-r mlqa-r" in capsys.readouterr().err
