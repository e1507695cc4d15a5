"""Single values of a file to what JSON lines have in their place, by a mapping. Nothing of them gets into a message."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from connectors.ims.fields import value_type
from connectors.ims.mappings import CsvSettings, MappingSettings
from connectors.ims.records import RECORDS
from connectors.ims.values import invisible_in

_BLANKS = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " "})


class Converter:
    """One mapping's values, times and numbers."""

    def __init__(self, mapping: MappingSettings, fields: tuple[str, ...]) -> None:
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.timezone) if mapping.timezone is not None else None
        self._types = {field: value_type(RECORDS[mapping.event], field) for field in fields}
        self._number = _number_format(mapping) if isinstance(mapping, CsvSettings) else None

    def text(self, field: str, text: str) -> object:
        """What a text is for a field.

        Raises:
            ValueError: Nothing; the message goes on after the field's name.
        """
        values = self._mapping.values.get(field)
        if values is not None:
            if text not in values:
                unseen = invisible_in(text)
                found = f"a value with {unseen}, which" if unseen is not None else "a value that"
                raise ValueError(f"has {found} the mapping lacks; add it to the mapping, or fix it at the source")
            text = values[text]
        kind = self._types[field]
        if kind is datetime:
            return self._moment(text)
        if kind in (Decimal, int) and self._number is not None and values is None:
            return self._number.plain(text)
        return self.constant(field, text)

    def constant(self, field: str, text: str) -> object:
        """What a text is for a field that is already written as in JSON lines."""
        return {"true": True, "false": False}.get(text.lower(), text) if self._types[field] is bool else text

    def _moment(self, text: str) -> str:
        try:
            if self._mapping.time_format is not None:
                moment = datetime.strptime(text, self._mapping.time_format)  # noqa: DTZ007 -- the zone is added below
            else:
                moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"is not a time written as {self._mapping.time_format or 'ISO 8601'}") from None
        if moment.tzinfo is None and self._zone is not None:
            moment = self._in_zone(moment, self._zone)
        return moment.isoformat()

    def _in_zone(self, local: datetime, zone: ZoneInfo) -> datetime:
        """The time with its offset; a clock change leaves out some times and has others twice (PEP 495)."""
        first, second = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
        if first.utcoffset() == second.utcoffset():
            return first
        if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
            raise ValueError(f"is a time that does not exist in {zone.key}: the clocks were put forward; fix it there")
        if self._mapping.repeated_hour == "refuse":
            raise ValueError(
                f"is a time that exists twice in {zone.key}: the clocks were put back; write it with its offset, or "
                "set "
                "repeated_hour"
            )
        return first if self._mapping.repeated_hour == "first" else second


class _NumberFormat:
    """How numbers are written; what is written otherwise is refused, not guessed.

    1.500 is 1.5 to some, 1500 to others.
    """

    def __init__(self, decimal: str, thousands: str, negative: str) -> None:
        point, group = re.escape(decimal), re.escape(thousands)
        whole = f"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if thousands else "[0-9]+"
        number = f"{whole}(?:{point}[0-9]+)?"
        forms = {
            "-5": f"(?:(?P<minus>-)|\\+)?(?P<digits>{number})",
            "5-": f"\\+?(?P<digits>{number})(?P<minus>-)?",
            "(5)": f"(?:(?P<minus>\\()|\\+)?(?P<digits>{number})(?(minus)\\))",
        }
        self._pattern = re.compile(forms[negative])
        self._decimal, self._thousands = decimal, thousands
        example = f"1{thousands}234{decimal}50"
        below = {"-5": "", "5-": f' and "{example}-"', "(5)": f' and "({example})"'}[negative]
        self._problem = (
            f'is not a number written as "{example}"{below}; fix it at the source, or decimal, thousands and negative'
        )

    def plain(self, text: str) -> str:
        """The number as JSON lines have it.

        Raises:
            ValueError: It is written otherwise.
        """
        if self._thousands == " ":
            text = text.translate(_BLANKS)
        found = self._pattern.fullmatch(text)
        if found is None:
            raise ValueError(self._problem)
        digits = found["digits"].replace(self._thousands, "") if self._thousands else found["digits"]
        return f"{'-' if found['minus'] else ''}{digits.replace(self._decimal, '.')}"


def _number_format(mapping: CsvSettings) -> _NumberFormat | None:
    """None: as the records have it, which is checked there."""
    if (mapping.decimal, mapping.thousands, mapping.negative) == (".", "", "-5"):
        return None
    return _NumberFormat(mapping.decimal, mapping.thousands, mapping.negative)
