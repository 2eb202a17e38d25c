"""Files that cannot be used are refused with file, line and reason; what can be used reads as written."""

import gzip
import json

import numpy as np
import pytest
from conftest import group

from hybridlib.data import CorpusError, read_groups, verify_checksum

TWO = ("de", "en")


@pytest.mark.parametrize(("line", "reason"), [
    ({"id": "", "query": {"en": "q"}, "passage": {"en": "p"}}, "field 'id' is missing or not text"),
    ({"id": "g0", "query": {"en": "q"}, "passage": {"en": "p"}}, "duplicate id 'g0', also at line 1"),
    ({"id": "g1", "query": {}, "passage": {"en": "p"}}, "field 'query' must be an object"),
    ({"id": "g1", "query": {"en": "q"}}, "field 'passage' must be an object"),
    ({"id": "g1", "query": {"english": "q"}, "passage": {"en": "p"}}, "'english' is not a language code"),
    ({"id": "g1", "query": {"en": 7}, "passage": {"en": "p"}}, "field 'query', en: a number, expected text"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": ""}}, "field 'passage', en: the text is empty"),
    ({"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "negatives": {"en": []}}, "field 'negatives', en"),
    (group(1, TWO) | {"negatives": ["n"]}, "field 'negatives' is a list, expected an object of language: [text, …]"),
    (group(1, TWO) | {"negatives": {"english": ["n"]}}, "field 'negatives': 'english' is not a language code"),
    (group(1, TWO) | {"negatives": {"en": "n"}}, "field 'negatives', en: expected a list of texts"),
    (group(1, TWO) | {"negatives": {"en": None}}, "field 'negatives', en: expected a list of texts"),
    (group(1, TWO) | {"negatives": {"en": ["n", None]}}, "field 'negatives', en[1]: null, expected text"),
    (group(1, TWO) | {"negatives": {"en": ["n", "\u200b"]}}, "field 'negatives', en[1]: the text is empty"),
    (group(1, TWO) | {"negatives": {"en": ["n", "passage 1 en"]}}, "en[1]: this is the group's own passage"),
    (group(1, TWO) | {"negatives": {"de": ["passage 1  en "]}}, "de[0]: this is the group's own passage"),
    (group(1, TWO) | {"passage": {"en": "caf\u00e9"}, "negatives": {"en": ["cafe\u0301"]}}, "the group's own passage"),
    (group(1, TWO) | {"query": {"en": "\u00ad\ufeff\u2060"}}, "field 'query', en: the text is empty"),
    ('{"id": "g1", "query": {"en": "\\uD83D"}, "passage": {"en": "p"}}', "field 'query.en' holds a lone surrogate"),
    ('{"id": "g1", "id": "g2", "query": {"en": "q"}, "passage": {"en": "p"}}', "key 'id' stands twice in one object"),
    ('{"id": "g1", "query": {"en": "q", "en": "r"}, "passage": {"en": "p"}}', "key 'en' stands twice in one object"),
    ('{"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "score": NaN}', "not JSON (NaN is no number in JSON)"),
    ('{"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "score": -Infinity}', "not JSON (-Infinity is no num"),
    ('{"id": "g1", "query": {"en": "q"}, "passage": {"en": "p"}, "score": 1e999}', "not JSON (1e999 is too large"),
    ('{"id": "g1", "query": ' + '{"en": ' * 60 + '"q"' + "}" * 60 + "}", "nested more than 50 deep"),
])
def test_broken_group_is_refused_by_file_line_and_reason(write_lines, line, reason):
    path = write_lines("groups.jsonl", [group(0, TWO), line])
    with pytest.raises(CorpusError) as error:
        read_groups(path)
    assert any(problem.startswith(f"{path}:2: ") and reason in problem for problem in error.value.problems)


def test_required_languages(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(1, ("en",))])
    assert len(read_groups(path)) == 2
    with pytest.raises(CorpusError, match=r"groups.jsonl:2: field 'query' lacks language 'de'"):
        read_groups(path, languages=TWO)


def test_ids_can_be_taken_from_lines(write_lines):
    path = write_lines("groups.jsonl", [group(0, TWO), group(0, TWO)])
    with pytest.raises(CorpusError, match="duplicate id"):
        read_groups(path)
    assert read_groups(path, ids="lines").ids == ["groups:1", "groups:2"]


def test_empty_truncated_and_wrongly_encoded_files(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(CorpusError, match="no groups"):
        read_groups(tmp_path / "empty.jsonl")
    whole = gzip.compress(json.dumps(group(0, TWO)).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(CorpusError, match=r"cut.jsonl.gz:\d+: the compressed file is broken"):
        read_groups(tmp_path / "cut.jsonl.gz")
    (tmp_path / "latin.jsonl").write_bytes('{"id": "ä"}'.encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin.jsonl:1: not UTF-8"):
        read_groups(tmp_path / "latin.jsonl")


def test_the_line_of_a_broken_byte_is_the_one_that_holds_it(tmp_path):
    (tmp_path / "groups.jsonl").write_bytes(json.dumps(group(0, TWO)).encode() + b'\n{"id": "\xe4"}\n')
    with pytest.raises(CorpusError, match=r"groups.jsonl:2: not UTF-8 \(.* at byte 9\)"):
        read_groups(tmp_path / "groups.jsonl")


def test_compression_and_name_must_agree(tmp_path):
    whole = json.dumps(group(0, TWO)).encode()
    (tmp_path / "plain.jsonl.gz").write_bytes(whole)
    with pytest.raises(CorpusError, match=r"plain.jsonl.gz:1: the compressed file is broken \(Not a gzipped file"):
        read_groups(tmp_path / "plain.jsonl.gz")
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(whole))
    with pytest.raises(CorpusError, match=r"packed.jsonl:1: compressed, and its name does not end in .gz"):
        read_groups(tmp_path / "packed.jsonl")
    broken = bytearray(gzip.compress(whole))
    broken[10] = 0xff  # there is no such block
    (tmp_path / "broken.jsonl.gz").write_bytes(broken)
    with pytest.raises(CorpusError, match=r"broken.jsonl.gz: the compressed file is broken"):
        read_groups(tmp_path / "broken.jsonl.gz")
    with pytest.raises(CorpusError, match="not a file"):
        read_groups(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none.jsonl: no such file"):
        read_groups(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["groups.jsonl", "groups.jsonl.gz"])
def test_a_byte_order_mark_and_blank_lines_say_nothing(tmp_path, name):
    lines = [json.dumps(group(i, TWO)) for i in range(2)]
    content = f"\ufeff{lines[0]}\r\n\n{lines[1]}\n \t\n\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    read = read_groups(tmp_path / name, ids="lines")
    assert (read.ids, read.pair(1, "de", "en")) == (["groups:1", "groups:3"],
                                                    {"query": "query 1 de", "passage": "passage 1 en"})


def test_what_is_accepted_and_why(make_corpus):
    """NUL and zero-width characters inside a text (tokenizers leave them out); ``null`` where there are no negatives;
    fields that the format does not know; an escaped pair of surrogates, which is one character."""
    record = group(0, TWO) | {"negatives": None, "source": {"page": 7}}
    record["query"] |= {"de": "zero\u200bwidth", "en": "nul\0"}
    line = json.dumps(record | {"passage": {"en": "\U0001f600"}})
    assert "\\ud83d\\ude00" in line
    corpus = make_corpus([line, group(1, TWO) | {"negatives": {"de": ["n"]}}])
    assert corpus.pair(0, "en", "en") == {"query": "nul\0", "passage": "\U0001f600"}
    assert corpus.pair(1, "de", "de", negative=3)["negative"] == "n"
    assert make_corpus([line]).negatives == {}


def test_wrong_checksum_names_file_and_both_digests(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"hello\n")
    right = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    verify_checksum(path, right)
    with pytest.raises(CorpusError, match=f"data.jsonl: sha256 is {right}, expected {'0' * 64}"):
        verify_checksum(path, "0" * 64)
    with pytest.raises(FileNotFoundError, match="none.jsonl: no such file"):
        verify_checksum(tmp_path / "none.jsonl", right)


def test_partial_languages(make_corpus):
    toy = make_corpus([group(0, TWO), group(1, ("en",), ("en", "fr")), group(2, ("de",), ("en",))])
    assert toy.languages == TWO
    assert toy.has(toy.query, "de").tolist() == [True, False, True]
    assert toy.has(toy.passage, "fr").tolist() == [False, True, False]


def test_passage_key_joins_groups_that_share_a_passage_in_any_language(make_corpus):
    records = [group(i, TWO) for i in range(6)]
    records[3]["passage"]["de"] = records[0]["passage"]["de"]
    records[5]["passage"]["en"] = records[3]["passage"]["en"]
    del records[5]["passage"]["de"]
    # The same string in two languages is not the same passage.
    records[4]["passage"]["en"] = records[1]["passage"]["de"]
    key = make_corpus(records).passage_key
    assert key[0] == key[3] == key[5]
    assert len(set(key[[0, 1, 2, 4]])) == 4


def test_texts_that_differ_in_composition_or_white_space_are_the_same_text(make_corpus):
    records = [group(i, ("de", "vi")) for i in range(5)]
    records[0]["passage"]["vi"] = "ti\u1ebfng Vi\u1ec7t"
    records[2]["passage"]["vi"] = "tie\u0302\u0301ng Vie\u0323\u0302t"
    records[1]["passage"]["de"], records[3]["passage"]["de"] = "ein  Wort", "\u00a0ein\u3000Wort\n"
    records[4]["passage"]["de"] = "einWort"
    key = make_corpus(records).passage_key
    assert key[0] == key[2] and key[1] == key[3] and len(set(key)) == 3


def test_query_key_joins_groups_that_share_a_question_in_any_language(make_corpus):
    records = [group(i, TWO) for i in range(4)]
    records[2]["query"]["de"] = records[0]["query"]["de"] + " "
    records[3]["query"]["en"] = records[2]["query"]["en"]
    records[1]["query"]["en"] = records[0]["query"]["de"]
    corpus = make_corpus(records)
    assert corpus.query_key.tolist() == [0, 1, 0, 0] and len(set(corpus.passage_key)) == 4


def test_a_hard_negative_has_the_key_of_the_passage_that_it_is(make_corpus):
    records = [group(i, TWO) for i in range(4)]
    del records[3]["passage"]["de"]
    records[0]["negatives"] = {"de": ["passage 2 de", "nobody's", " passage  1 de"], "en": ["passage 3 en"]}
    records[2]["negatives"] = {"en": ["passage 0 de", "passage 0 en"]}
    corpus = make_corpus(records)
    key = corpus.passage_key.tolist()
    assert corpus.negative_keys(0, TWO) == [[key[2], -1, key[1]], [key[3]]]
    assert corpus.negative_keys(2, TWO) == [[-1, key[0]]]
    assert corpus.negative_keys(1, TWO) == corpus.negative_keys(2, ["de"]) == corpus.negative_keys(0, ["fr"]) == []
    part = corpus.select([2, 0])
    assert part.negative_keys(1, ["de"]) == [[part.passage_key[0], -1, -1]]


def test_select_keeps_ids_texts_and_keys(complete_corpus):
    part = complete_corpus.select([5, 0, 1])
    assert part.ids == ["g5", "g0", "g1"]
    assert part.pair(0, "ar", "zh") == complete_corpus.pair(5, "ar", "zh")
    assert part.passage_key[1] == part.passage_key[2] != part.passage_key[0]
    assert np.array_equal(part.has(part.query, "ar"), [True] * 3)
