"""Headers of records: old formats stay readable, and records of promises are legible in the file."""

from metering.store import headers

WALK = {
    "kind": "walk",
    "at": "2026-10-05T00:30:00Z",
    "data": {"walk": 7, "endpoint": "history", "organization": "org-a", "reason": ""},
}


def test_a_header_of_polling_that_was_written_with_the_first_dictionary_is_read():
    written = bytes.fromhex("2075d50000407b303533303761220500216419c3121073bf3d65354c982c04")
    assert headers.unpack(written) == WALK


def test_what_was_promised_stays_text_and_comes_back():
    data = {"month": "2026-09", "allow_incomplete": "agreed on the phone"}
    packed = headers.pack("close", "2026-10-05T00:30:00Z", data)
    assert b"agreed on the phone" in packed
    assert headers.unpack(packed) == {"kind": "close", "at": "2026-10-05T00:30:00Z", "data": data}
