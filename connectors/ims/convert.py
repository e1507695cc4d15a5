"""Single values of a file to what JSON lines have in their place, by a mapping. Nothing of them gets into a message."""

import re
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from connectors.ims.records import RECORDS
from connectors.ims.settings import CsvSettings, MappingSettings, value_type

_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})


class Converter:
    """One mapping's values, times and numbers."""

    def __init__(self, mapping: MappingSettings, fields: tuple[str, ...]) -> None:
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.timezone) if mapping.timezone is not None else None
        self._types = {field: value_type(RECORDS[mapping.event], field) for field in fields}
        self._number = _written(mapping) if isinstance(mapping, CsvSettings) else None

    def text(self, field: str, text: str) -> object:
        """What a text is for a field.

        Raises:
            ValueError: Nothing; the message goes on after the field's name.
        """
        values = self._mapping.values.get(field)
        if values is not None:
            if text not in values:
                raise ValueError("has a value that the mapping lacks; add it to the mapping, or mend it at the source")
            text = values[text]
        kind = self._types[field]
        if kind is datetime:
            return self._moment(text)
        if kind is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        if kind in (Decimal, int) and self._number is not None and values is None:
            return self._number.plain(text)
        return text

    def _moment(self, text: str) -> str:
        try:
            if self._mapping.time_format is not None:
                moment = datetime.strptime(text, self._mapping.time_format)  # noqa: DTZ007 -- the zone is added below
            else:
                moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"is not a time written as {self._mapping.time_format or 'ISO 8601'}") from None
        if moment.tzinfo is None and self._zone is not None:
            moment = moment.replace(tzinfo=self._zone)
        return moment.isoformat()


class _Written:
    """How numbers are written; what is written otherwise is refused, not guessed: 1.500 is 1.5 to some, 1500 to others."""

    def __init__(self, decimal: str, thousands: str) -> None:
        point, group = re.escape(decimal), re.escape(thousands)
        whole = f"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if thousands else "[0-9]+"
        self._pattern = re.compile(f"[+-]?{whole}(?:{point}[0-9]+)?")
        self._decimal, self._thousands = decimal, thousands
        example = f"1{thousands}234{decimal}50"
        self._told = f'is not a number written as "{example}"; mend it at the source, or decimal and thousands'

    def plain(self, text: str) -> str:
        if self._thousands == " ":
            text = text.translate(_BLANKS)
        if not self._pattern.fullmatch(text):
            raise ValueError(self._told)
        if self._thousands:
            text = text.replace(self._thousands, "")
        return text.replace(self._decimal, ".")


def _written(mapping: CsvSettings) -> _Written | None:
    """None: as the records have it, which is checked there."""
    if mapping.decimal == "." and not mapping.thousands:
        return None
    return _Written(mapping.decimal, mapping.thousands)
