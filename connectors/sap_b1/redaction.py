"""B1's own words as a dead letter, a log or a finding may have them: our codes stand, what is personal goes. Pure.

What B1 quotes is either a code of ours (an item, a warehouse, an order), without which nobody can act, or something
about a person (a name, an address, a number to call), which must not get into headers and logs. Three things tell them
apart, in this order: what the request itself says (`codes_of`, `personal_values_of`), the word of B1's vocabulary
before the value ("Item 4006381333931"), and the value's shape.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

GONE: Final = "…"

_CODE_FIELDS: Final = frozenset(
    {
        *("ItemCode", "WarehouseCode", "FromWarehouseCode", "FromWarehouse", "ToWarehouse", "NumAtCard", "CardCode"),
        *("VatGroup", "TaxCode", "AccountCode", "BatchNumber", "InternalSerialNumber", "DocCurrency", "ExpenseCode"),
        *("BaseEntry", "TransportationCode", "U_STREAMS_KEY", "U_STREAMS_ORDER", "U_STREAMS_LINE", "Code"),
    }
)
_PERSONAL_FIELDS: Final = frozenset(
    {
        *("AddressExtension", "BPAddresses", "CardName", "EmailAddress", "Phone1", "Phone2", "Cellular", "Comments"),
        *("ContactEmployees", "TaxExtension", "Address", "Address2", "Remarks", "OpeningRemarks"),
    }
)
_SHORTEST_PERSONAL: Final = 3  # "GB" or "1" of an address would take letters out of every word


def codes_of(bodies: Iterable[Mapping[str, Any] | None]) -> frozenset[str]:
    """The codes of ours that stand in what was sent: they may stand in what B1 says about it."""
    return frozenset(str(value) for field, value in _leaves(bodies) if field in _CODE_FIELDS and str(value).strip())


def personal_values_of(bodies: Iterable[Mapping[str, Any] | None]) -> frozenset[str]:
    """What was sent about people; never to be repeated."""
    found = (str(value) for field, value in _leaves(bodies) if field in _PERSONAL_FIELDS)
    return frozenset(value for value in found if len(value.strip()) >= _SHORTEST_PERSONAL)


def _leaves(bodies: Iterable[Mapping[str, Any] | None]) -> list[tuple[str, object]]:
    """(field, value) of every value; below a personal field everything has that field's name."""
    found: list[tuple[str, object]] = []

    def walk(field: str, value: object) -> None:
        if isinstance(value, Mapping):
            for name, member in value.items():
                walk(field if field in _PERSONAL_FIELDS else str(name), member)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for member in value:
                walk(field, member)
        elif value is not None:
            found.append((field, value))

    for body in bodies:
        walk("", body)
    return found


# ---- shapes ---------------------------------------------------------------------------------------------------------

_MESSAGE_ID = r"(?:[1-9]\d{0,7}|[1-9]\d{0,3}000\d{1,6})"
_QUOTED = r"(?:(?<!\w)'.*?'(?!\w)|\"[^\"]*\"|`[^`]*`|“[^”]*”|«[^»]*»)"
# Behind these a value of any shape is a code, behind those only one that looks like a code
_CODE_WORD = (
    r"(?:items?|item ?code|sku|warehouses?|whse|whscode|bin(?: location)?|batch(?:/serial)?|serial|lot|"
    r"field|property|column|table|object|artikel|art[ií]culo|produto|lager|almac[eé]n|dep[oó]sito)"
)
_REFERENCE_WORD = (
    r"(?:order|document|delivery|invoice|credit (?:memo|note)|draft|entry|doc ?entry|doc ?num|line|row|account|tax|"
    r"vat group|series|currency|code|number|uom|branch|project|cost cent(?:er|re)|price list|value|key|reference|"
    r"shipment|transfer)"
)
_SUFFIX = r"(?:\s+(?:code|number|no\.?|entry|key|id|value|group))?"
_PERSON_WORD = (
    r"(?:customer|business partner|partner|vendor|supplier|contact(?: person)?|recipient|employee|user|name|"
    r"card ?name|first name|last name|surname|attn|attention)"
)
_PRIVATE_WORD = (
    r"(?:phone|mobile|telephone|tel|fax|cell(?:ular)?|iban|credit card|card|passport|national id|e-?mail(?: address)?|"
    r"zip|postal|post ?code|street|city|county|(?:ship-to|pay-to|bill-to )?address|date of birth|born)"
)
_CREDENTIAL_WORD = (
    r"(?:password|passwd|pwd|token|secret|api[_ -]?key|authorization|b1session|session ?id|routeid|cookie|bearer)"
)
_CAPITALISED = r"[A-ZÀ-ÖØ-Þ][\w'’.-]*"
_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Close|Court|Ct|Square|Sq|Way|Terrace|Place|Pl|Boulevard|Blvd|"
    r"Crescent|Gardens|Row|Hill|Mews)"
)

# The first that matches at a place decides. What is named keep_* stands; of the others the word before the value does.
_SHAPES: Final = re.compile(
    "|".join(
        (
            rf"(?P<keep_id>(?:\A\s*|(?<= - ))(?:\(\d{{1,10}}\)(?=\s)|{_MESSAGE_ID}(?=\s*[-–:]\s|\s+[^\W\d])))",
            r"(?P<keep_column>\[[A-Za-z@][\w@.]{0,60}\]|\[line:\s*\d+\]|\(ODBC -?\d+\)|\(-?\d{1,6}\))",
            r"(?P<keep_key>\b[a-z][a-z_]{2,30}-[A-Z2-7]{26}(?:\.\d+)?\b)",
            rf"(?P<secret>(?P<secret_word>(?i:\b{_CREDENTIAL_WORD}\b)\s*(?i:is\b)?\s*(?i:bearer\b)?\s*)"
            rf"(?:[:=]\s*(?i:bearer\s+)?(?:{_QUOTED}|\S+)|{_QUOTED}|(?=\S*\d)\S+))",
            rf"(?P<private>(?P<private_word>(?i:\b{_PRIVATE_WORD}{_SUFFIX}\b))(?:\s*[:=]\s*[^;,\[\]]+|\s*{_QUOTED}|"
            rf"\s+\+?\(?\d[\d ()./+-]*|\s+[A-Z0-9]*\d[A-Z0-9 ]*\b|\s+{_CAPITALISED}(?: {_CAPITALISED}){{0,3}}))",
            rf"(?P<person>(?P<person_word>(?i:\b{_PERSON_WORD}{_SUFFIX}\b)\s*[:=]?\s*)"
            rf"(?:{_QUOTED}|{_CAPITALISED}(?: {_CAPITALISED}){{0,3}}))",
            rf"(?P<titled>\b(?:Mr|Mrs|Ms|Miss|Dr|Herr|Frau)\b\.?\s+{_CAPITALISED}(?: {_CAPITALISED})?)",
            rf"(?P<keep_property>(?i:\bproperty)\s+{_QUOTED}\s+of\s+{_QUOTED})",
            rf"(?P<named>(?P<named_word>(?i:\b{_CODE_WORD}\b{_SUFFIX})\s*[:#=(]?\s*)"
            rf"(?:{_QUOTED}|(?>[\w./#-]*\d{{7,}}[\w./#-]*)(?!@)|(?>[\w./#-]+)(?!@)(?![ ()-]+\d{{2}})))",
            rf"(?P<referred>(?P<referred_word>(?i:\b{_REFERENCE_WORD}\b{_SUFFIX})\s*[:#=(]?\s*)"
            rf"(?:{_QUOTED}|(?>[\w./#-]*\d{{7,}}[\w./#-]*)(?!@)|(?>[\w./#-]+)(?!@)(?![ ()-]+\d{{2}})))",
            r"(?P<address>[^\s<>\[\]()'\"]+@[^\s<>\[\]()'\"]+|https?://\S+)",
            r"(?P<token>\beyJ[\w-]{8,}(?:\.[\w-]+)*|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|"
            r"\b[0-9a-fA-F]{32,}\b|\b(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,}\b)",
            r"(?P<keep_date>(?<![\d.])(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d\d))(?![\d./-]))",
            r"(?P<keep_decimal>(?<![\d.+])\d{1,13}[.,]\d{1,6}(?![\d.]| \d))",
            rf"(?P<street>\b\d{{1,5}}[a-zA-Z]?,?\s+(?:{_CAPITALISED}\s+){{1,3}}{_STREET}\b\.?|"
            r"\b[A-ZÄÖÜ][a-zäöüß]+(?:straße|strasse|weg|platz|allee|gasse)\s+\d+[a-z]?\b|"
            r"\b[A-Z]{1,2}\d[A-Z\d]?\s+\d[A-Z]{2}\b)",
            r"(?P<number>(?<![\w-])\+?\(?\d(?:[ ()./-]{0,2}\d){6,})",
            rf"(?P<quoted>{_QUOTED})",
        )
    ),
    re.DOTALL,
)
_CODE: Final = re.compile(r"(?=.*\d)[A-Z0-9][A-Z0-9_./#-]{0,49}|[A-Z]{1,3}")
_REFERENCE: Final = re.compile(r"\S*\d\S*|\S{1,3}|[A-Z0-9_./#-]+")
_PHONE: Final = re.compile(r"\+[\d ()./-]{6,}|\(?0\d{1,5}\)?[ ()./-]+\d[\d ()./-]{4,}|\d{1,4}(?:[ ()./-]\d{2,5}){2,}")
_TOKEN: Final = re.compile(r"eyJ[\w-]{8,}\.[\w-]+")
_CARD: Final = re.compile(r"[3-6]\d{14,15}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST: Final = 4_000  # characters that are looked at
_MARKS: Final = range(0xE000, 0xF8FF)  # the private-use area: stands in for words that are known
_MARK: Final = re.compile(f"[{chr(_MARKS.start)}-{chr(_MARKS.stop)}]")


def redact(
    text: str, limit: int = 300, codes: frozenset[str] = frozenset(), personal: frozenset[str] = frozenset()
) -> str:
    """B1's text on one line, at most `limit` characters: our codes in it, and nothing about people.

    Args:
        text: As B1 wrote it.
        limit: Characters.
        codes: Of ours (`codes_of` what was sent): they stand wherever they are.
        personal: What was sent about people (`personal_values_of`): it goes wherever it is.
    """
    text = _MARK.sub(GONE, _CONTROL.sub(" ", text[:_LONGEST]).strip())
    known: list[str] = []

    def mark(found: re.Match[str]) -> str:
        if len(known) == len(_MARKS):
            return GONE
        known.append(found[0] if found["code"] is not None else GONE)
        return chr(_MARKS[len(known) - 1])

    text = _known_words(codes, personal).sub(mark, text)
    text = _SHAPES.sub(_judged, text)
    text = _MARK.sub(lambda found: known[ord(found[0]) - _MARKS.start], text)
    return text if len(text) <= limit else text[: limit - 1] + GONE


def _known_words(codes: frozenset[str], personal: frozenset[str]) -> re.Pattern[str]:
    # Few digits are a code of ours everywhere by chance: in the middle of somebody's number, say
    kept = sorted(code for code in codes if len(code) > 2 and not (code.isdigit() and len(code) < 5))
    gone = sorted(value for value in personal if value not in codes)
    either = [
        "|".join(re.escape(_CONTROL.sub(" ", word).strip()) for word in sorted(words, key=len, reverse=True)) or r"(?!)"
        for words in (kept, gone)
    ]
    return re.compile(rf"(?<!\w)(?:(?P<code>{either[0]})|(?i:{either[1]}))(?!\w)")


def _judged(found: re.Match[str]) -> str:
    whole, kind = found[0], found.lastgroup or ""
    if kind.startswith("keep_"):
        return whole
    if kind == "quoted":
        if "(ODBC " in whole:  # B1 quotes itself
            return whole[0] + _SHAPES.sub(_judged, whole[1:-1]) + whole[-1]
        return whole if _is_code(whole) else f"'{GONE}'"
    if kind in ("named", "referred", "person", "private", "secret"):
        word = found[f"{kind}_word"]
        value = whole[len(word) :]
        is_quoted = value[:1] in _QUOTES
        if (
            (kind == "named" and not _is_personal(value))
            or (kind == "referred" and not _is_personal(value) and (not is_quoted or _is_reference(value)))
            or (kind == "person" and _is_code(value))
        ):
            return whole
        gone = f"'{GONE}'" if value.strip()[:1] in _QUOTES else GONE
        return f"{word.rstrip()} {gone}" + (" " if value.endswith(" ") else "")
    return GONE


_QUOTES: Final = frozenset("'\"`“«")


def _bare(value: str) -> str:
    return value.strip().strip("'\"`“”«»").strip()


def _is_code(value: str) -> bool:
    bare = _bare(value)
    return _MARK.fullmatch(bare) is not None or (_CODE.fullmatch(bare) is not None and not _is_personal(bare))


def _is_reference(value: str) -> bool:
    """Whether a quoted value looks like a number or a code: one word that has a digit, is short or in capitals."""
    bare = _bare(value)
    return _MARK.search(bare) is not None or _REFERENCE.fullmatch(bare) is not None


def _is_personal(value: str) -> bool:
    bare = _bare(value)
    return (
        "@" in bare
        or _TOKEN.match(bare) is not None
        or _PHONE.fullmatch(bare) is not None
        or (_CARD.fullmatch(bare) is not None and _luhn(bare))
    )


def _luhn(digits: str) -> bool:
    """Whether a number's check digit is that of payment cards (ISO/IEC 7812)."""
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0
