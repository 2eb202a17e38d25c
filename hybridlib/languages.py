"""What is known of languages: names, scripts, direction, and what other collections call them.

Any code in the manner of BCP 47 is a language here, with hyphens or underscores: ``de``, ``pt-BR``, ``zh_CN``,
``eng_Latn``, ``zul``. Codes are compared as they are written.
"""

import re

NAMES = {
    "ar": "Arabic", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "hi": "Hindi",
    "ru": "Russian", "th": "Thai", "tr": "Turkish", "vi": "Vietnamese", "zh": "Chinese"}
# As FLORES-200, NLLB and mteb (with a hyphen) write the same languages; mteb has Chinese and Arabic by variety.
FLORES = {"ar": "arb_Arab", "de": "deu_Latn", "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn", "hi": "hin_Deva",
          "ru": "rus_Cyrl", "th": "tha_Thai", "tr": "tur_Latn", "vi": "vie_Latn", "zh": "zho_Hans"}
# The script of a language as Unicode names its characters; Latin where a language is not here.
SCRIPTS = {"ar": "ARABIC", "el": "GREEK", "hi": "DEVANAGARI", "ru": "CYRILLIC", "th": "THAI", "zh": "CJK"}
_RIGHT_TO_LEFT = {"ar", "arb", "ckb", "dv", "fa", "he", "ku", "prs", "ps", "sd", "ug", "ur", "yi"}
_RIGHT_TO_LEFT_SCRIPTS = {"Arab", "Hebr", "Nkoo", "Syrc", "Thaa"}
# RFC 5646, section 2.1, in its recommended case, so that a code is written in one way; tags for private use only and
# the grandfathered ones are no languages here.
_CODE = re.compile(r"""
    [a-z]{2,3} ([-_][a-z]{3}){0,3}                              # language, extended: zh-yue
    ([-_][A-Z][a-z]{3})?                                        # script: zh-Hant
    ([-_] ([A-Z]{2} | [0-9]{3}) )?                              # region: pt-BR, es-419
    ([-_] ([A-Za-z0-9]{5,8} | [0-9][A-Za-z0-9]{3}) )*           # variants: sl-rozaj, de-1996
    ([-_][0-9a-wy-z] ([-_][A-Za-z0-9]{2,8})+ )*                 # extensions: de-DE-u-co-phonebk
    ([-_]x ([-_][A-Za-z0-9]{1,8})+ )?                           # private use: en-x-mine
    """, re.VERBOSE | re.ASCII)


def is_language(code: object) -> bool:
    """Whether something is written like a language code.

    >>> [is_language(x) for x in ("de", "pt-BR", "zh_CN", "eng_Latn", "zh-Hant-TW", "de-1996")]
    [True, True, True, True, True, True]
    >>> [is_language(x) for x in ("english", "DE", "x", "", " de", None, False)]
    [False, False, False, False, False, False, False]
    """
    return isinstance(code, str) and _CODE.fullmatch(code) is not None


def is_right_to_left(code: str) -> bool:
    """Whether a language is written from right to left: by its script if the code names one, else by the language.

    >>> [is_right_to_left(x) for x in ("ar", "he-IL", "azj_Latn", "azb_Arab", "de")]
    [True, True, False, True, False]
    """
    language, *rest = re.split("[-_]", code)
    script = next((part for part in rest if re.fullmatch("[A-Z][a-z]{3}", part)), None)
    return script in _RIGHT_TO_LEFT_SCRIPTS if script else language in _RIGHT_TO_LEFT


def name(code: str) -> str:
    """The English name of a language where it is known here, else its code."""
    return NAMES.get(code, code)
