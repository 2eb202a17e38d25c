"""What is a language code, which way it is written, and what it is called."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridlib import languages


@pytest.mark.parametrize("code", ["de", "pt_BR", "pt-BR", "zh_CN", "eng_Latn", "zho-Hans", "zul", "zh-Hant-TW",
                                  "es-419", "sr-Latn-RS", "ca-valencia", "sl-rozaj-biske", "de-1996", "zh-yue",
                                  "sl-rozaj", "de-DE-u-co-phonebk", "zh-yue-Hant-HK", "de-CH-1901", "en-x-mine",
                                  "en-a-bbb-x-a-ccc", "hy_Latn_IT_arevela"])
def test_codes_as_collections_write_them(code):
    assert languages.is_language(code)


@pytest.mark.parametrize("code", ["english", "English", "DE", "d", "", " de", "de ", "de\n", "de-", "-de", "de--DE",
                                  "pt BR", "x", "x-mine", "i-klingon", "de-u", "de-x", "de-DE-Latn", "de-19", "de-١٩٩٦",
                                  "eng_latn", "ENG_Latn", "zh.CN", "日本", None, False, 3, ["de"]])
def test_what_is_no_code(code):
    assert not languages.is_language(code)


@given(st.from_regex(r"[a-z]{2,3}(_[A-Z][a-z]{3})?([-_][A-Z]{2})?", fullmatch=True))
def test_language_script_and_region_are_a_code(code):
    assert languages.is_language(code) and languages.is_language(code.replace("_", "-"))


def test_what_is_known_is_written_as_codes():
    assert all(map(languages.is_language, [*languages.NAMES, *languages.FLORES, *languages.FLORES.values()]))
    assert set(languages.FLORES) == set(languages.NAMES)
    assert len(set(languages.FLORES.values())) == len(languages.FLORES) == 11


# The first letters of an everyday word in each language: which way they run, and in which script, Unicode says.
WORDS = {"ar": "كتاب", "de": "Buch", "el": "βιβλίο", "en": "book", "es": "libro", "hi": "किताब", "ru": "книга",
         "th": "หนังสือ", "tr": "kitap", "vi": "sách", "zh": "书", "he": "ספר", "fa": "کتاب", "ur": "کتاب", "dv": "ފޮތް",
         "yi": "בוך", "ps": "کتاب", "ckb": "پەڕتووک", "sd": "ڪتاب", "ug": "كىتاب", "arb": "كتاب", "am": "መጽሐፍ",
         "ja": "本", "ko": "책", "zul": "incwadi", "bn": "বই", "uk": "книга"}


@pytest.mark.parametrize("code", WORDS)
def test_direction_is_that_of_the_letters(code):
    letter = WORDS[code][0]
    assert languages.is_right_to_left(code) == (unicodedata.bidirectional(letter) in ("R", "AL"))
    if code in languages.NAMES:
        assert unicodedata.name(letter).startswith(languages.SCRIPTS.get(code, "LATIN"))


def test_a_script_in_the_code_decides_over_the_language():
    assert languages.is_right_to_left("azb_Arab") and not languages.is_right_to_left("azj_Latn")
    assert languages.is_right_to_left("ur-PK") and not languages.is_right_to_left("ur-Latn")
    assert languages.is_right_to_left("kas_Arab") and not languages.is_right_to_left("kas_Deva")
    assert languages.is_right_to_left("heb_Hebr") and languages.is_right_to_left("nqo_Nkoo")
    assert not languages.is_right_to_left("zh-Hant-TW")
    # The digits that a locale asks for are no script of the language.
    assert languages.is_right_to_left("ar-u-nu-latn") and not languages.is_right_to_left("de-u-nu-arab")


def test_names():
    assert languages.name("el") == "Greek" and languages.name("pt_BR") == "pt_BR"
