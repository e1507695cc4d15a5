import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sap_b1.change_set import (
    CONTENT_TYPE,
    B1Answer,
    B1Request,
    IncompleteError,
    decimal_of,
    decode_json,
    encode_change_set,
    encode_json,
    encode_reads,
    parse_change_set,
    parse_reads,
)

KIND = "multipart/mixed; boundary=outer"


def part(status: int, body: object = None, content_id: int | None = None) -> str:
    text = "" if body is None else json.dumps(body)
    named = "" if content_id is None else f"Content-ID: {content_id}\r\n"
    return (
        f"Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n{named}\r\n"
        f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    )


def multipart(boundary: str, *parts: str) -> str:
    return "".join(f"--{boundary}\r\n{one}\r\n" for one in parts) + f"--{boundary}--\r\n"


def change_set(*parts: str) -> bytes:
    inner = multipart("inner", *parts)
    return multipart("outer", f"Content-Type: multipart/mixed; boundary=inner\r\n\r\n{inner}").encode()


class TestEncoding:
    def test_a_change_set_has_an_unquoted_boundary_and_a_content_id_for_every_request(self) -> None:
        text = encode_change_set(
            [B1Request("POST", "U_STREAMS_CLAIM", {"Code": "k"}), B1Request("POST", "Orders(1)/Cancel")], "/b1s/v2"
        ).decode()
        assert '"' not in CONTENT_TYPE
        assert "multipart/mixed;boundary=changeset_b1streams\r\n" in text
        assert "Content-ID: 1\r\n\r\nPOST /b1s/v2/U_STREAMS_CLAIM HTTP/1.1\r\n" in text
        assert "Content-ID: 2\r\n\r\nPOST /b1s/v2/Orders(1)/Cancel HTTP/1.1\r\n\r\n" in text
        assert text.endswith("--changeset_b1streams--\r\n--batch_b1streams--\r\n")

    def test_a_get_has_two_blank_lines_after_its_request_line_and_blanks_in_its_path_are_encoded(self) -> None:
        text = encode_reads(["Items?$filter=ItemCode eq 'A'"], "/b1s/v2").decode()
        assert "GET /b1s/v2/Items?$filter=ItemCode%20eq%20'A' HTTP/1.1\r\n\r\n\r\n" in text

    @pytest.mark.parametrize("path", ["Orders\r\nHost: x", "Orders\x00", "Orders\n"])
    def test_a_path_with_control_characters_is_never_sent(self, path: str) -> None:
        with pytest.raises(ValueError, match="control characters"):
            encode_change_set([B1Request("POST", path, {})], "/b1s/v2")

    def test_numbers_keep_every_digit_and_are_no_text(self) -> None:
        body = {"a": Decimal("9999999999999.123456"), "b": Decimal("1E-6"), "c": [Decimal("1.50"), 3, True, None]}
        assert encode_json(body) == '{"a":9999999999999.123456,"b":0.000001,"c":[1.50,3,true,null]}'

    def test_a_date_is_written_without_a_time(self) -> None:
        assert encode_json(date(2026, 11, 2)) == '"2026-11-02"'

    @pytest.mark.parametrize("value", [1.5, {"x": 0.1}, datetime(2026, 1, 1, tzinfo=UTC), b"x", {1, 2}])
    def test_what_has_no_exact_json_is_refused(self, value: object) -> None:
        with pytest.raises(TypeError):
            encode_json(value)

    @pytest.mark.parametrize("text", ["NaN", "Infinity"])
    def test_a_number_that_is_not_finite_is_refused_both_ways(self, text: str) -> None:
        with pytest.raises(ValueError, match="no JSON number"):
            encode_json(Decimal(text))
        with pytest.raises(ValueError, match="no JSON number"):
            decode_json(text.encode())

    @given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
    def test_every_amount_survives_the_way_there_and_back(self, amount: Decimal) -> None:
        assert decode_json(encode_json([amount]).encode()) == [amount]

    @given(st.text())
    def test_every_text_survives_on_one_line(self, text: str) -> None:
        encoded = encode_json({"x": text})
        assert "\n" not in encoded
        assert "\r" not in encoded
        assert decode_json(encoded.encode()) == {"x": text}


class TestParsing:
    def test_a_change_set_that_was_applied_has_one_answer_per_request(self) -> None:
        body = change_set(part(201, {"Code": "k"}, 1), part(201, {"DocEntry": 7, "DocTotal": 1.10}, 2))
        claim, document = parse_change_set(2, KIND, body)
        assert claim == B1Answer(201, {"Code": "k"}, claim.headers)
        assert document.body == {"DocEntry": 7, "DocTotal": Decimal("1.1")}

    def test_answers_in_another_order_are_put_back_by_their_content_id(self) -> None:
        body = change_set(part(201, {"DocEntry": 7}, 2), part(201, {"Code": "k"}, 1))
        assert [answer.body for answer in parse_change_set(2, KIND, body)] == [{"Code": "k"}, {"DocEntry": 7}]

    def test_a_failed_change_set_is_one_part(self) -> None:
        error = {"error": {"code": "-2035", "message": "This entry already exists"}}
        body = multipart("outer", part(400, error)).encode()
        assert [answer.error for answer in parse_change_set(2, KIND, body)] == [("-2035", "This entry already exists")]

    def test_a_failed_part_among_good_ones_fails_the_whole(self) -> None:
        body = change_set(part(201, {"Code": "k"}, 1), part(400, {"error": {"code": "-10", "message": "no"}}, 2))
        assert [answer.status for answer in parse_change_set(2, KIND, body)] == [400]

    def test_the_v1_shape_of_an_error_is_read_as_well(self) -> None:
        error = {"error": {"code": -10, "message": {"lang": "en-us", "value": "no"}}}
        body = multipart("outer", part(400, error)).encode()
        assert parse_change_set(1, KIND, body)[0].error == ("-10", "no")

    def test_fewer_answers_than_requests_are_not_whole(self) -> None:
        with pytest.raises(IncompleteError):
            parse_change_set(2, KIND, change_set(part(201, {"Code": "k"}, 1)))

    def test_answers_with_other_content_ids_are_not_whole(self) -> None:
        with pytest.raises(IncompleteError):
            parse_change_set(2, KIND, change_set(part(201, {}, 1), part(201, {}, 1)))

    def test_an_answer_cut_off_anywhere_is_never_taken_for_whole(self) -> None:
        body = change_set(part(201, {"Code": "k"}, 1), part(201, {"DocEntry": 7}, 2))
        whole = body.rindex(b"--outer--") + len(b"--outer--")
        for length in range(whole):
            with pytest.raises(IncompleteError):
                parse_change_set(2, KIND, body[:length])

    @pytest.mark.parametrize(("counted_more", "whole"), [(0, True), (2, True), (4, True), (5, False)])
    def test_a_part_may_count_the_line_ends_behind_its_body_and_nothing_else(
        self, counted_more: int, whole: bool
    ) -> None:
        body = '{"error":{"code":"-10","message":"no"}}'
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body) + counted_more}\r\n\r\n"
        raw = multipart("outer", f"Content-Type: application/http\r\n\r\n{head}{body}").encode()
        if whole:
            assert parse_change_set(2, KIND, raw)[0].error == ("-10", "no")
        else:
            with pytest.raises(IncompleteError):
                parse_change_set(2, KIND, raw)

    def test_an_answer_that_is_not_multipart_is_not_whole(self) -> None:
        with pytest.raises(IncompleteError):
            parse_change_set(1, "application/json", b"{}")

    def test_reads_stop_at_the_first_that_fails(self) -> None:
        body = multipart("outer", part(200, {"value": []}), part(404, {"error": {"code": "-2028", "message": "x"}}))
        assert [answer.status for answer in parse_reads(KIND, body.encode())] == [200, 404]

    def test_reads_in_another_order_are_put_back(self) -> None:
        body = multipart("outer", part(200, {"value": [2]}, 2), part(200, {"value": [1]}, 1))
        assert [a.body for a in parse_reads(KIND, body.encode())] == [{"value": [1]}, {"value": [2]}]

    def test_a_count_stands_under_value(self) -> None:
        assert parse_reads(KIND, multipart("outer", part(200, 12)).encode())[0].body == {"value": 12}

    def test_a_refusal_without_json_is_still_a_refusal(self) -> None:
        text = "Content-Type: application/http\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n<html>no</html>"
        assert parse_reads(KIND, multipart("outer", text).encode())[0] == B1Answer(404, None, {})

    def test_line_feeds_alone_and_a_quoted_boundary_are_read_too(self) -> None:
        body = multipart("outer", part(200, {"value": []})).replace("\r\n", "\n").encode()
        assert parse_reads('multipart/mixed; boundary="outer"', body)[0].ok

    @given(st.binary(), st.sampled_from([b"", b"--outer\r\n", b"--outer\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"]))
    def test_nonsense_is_never_more_than_not_whole(self, noise: bytes, start: bytes) -> None:
        for tail in (b"", b"\r\n--outer--"):
            try:
                parse_reads(KIND, start + noise + tail)
            except IncompleteError:
                continue

    @pytest.mark.parametrize("text", ["[" * 100_000, "1" * 10_000, "1e99999999999999999999", "{", "\xff"])
    def test_json_beyond_reason_is_no_json(self, text: str) -> None:
        with pytest.raises(ValueError):
            decode_json(text.encode("latin-1"))

    @pytest.mark.parametrize(
        ("value", "number"),
        [
            (1, Decimal(1)),
            ("1.50", Decimal("1.5")),
            (Decimal("2.5"), Decimal("2.5")),
            (None, None),
            ("", None),
            ("x", None),
            (True, None),
        ],
    )
    def test_numbers_of_an_answer_are_decimals_also_when_b1_writes_them_as_text(
        self, value: object, number: Decimal | None
    ) -> None:
        assert decimal_of(value) == number
