"""Filter words of lists, and what they become in MongoDB."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from ee2_jobs.browse.counts import today
from ee2_jobs.browse.query import Part, Place, Reach, branches
from ee2_jobs.browse.words import WORDS, Filter, parse
from ee2_jobs.errors import InvalidInput

MINE = Reach("mine", [Part({"user": "ana"}, "user")])
EVERYTHING = Reach("all", [Part({}, "all")])


def test_nothing_is_sought() -> None:
    for words in ({}, {word: " " for word in WORDS}, {"colour": "blue", "$where": "1"}):
        assert parse(words) == Filter()
    assert parse({"status": "live,completed,error,terminated"}) == Filter()


def test_values() -> None:
    found = parse(
        {"status": " live , error", "ws": "48213", "from": "1727185950123",
         "to": "2026-09-24T14:00:00 02:00", "min_wait": "1.5h", "batch": "A" * 24, "q": " x "}
    )  # fmt: skip
    assert found.live == {"created", "estimating", "queued", "running"}
    assert found.ended == {"error"} and found.ws == 48213 and found.q == "x"
    assert found.from_s == 1727185950.123 and found.batch == "a" * 24
    # A + in an address is a blank.
    assert found.to_s == datetime(2026, 9, 24, 12, tzinfo=UTC).timestamp()
    assert found.min_wait_s == 5400


@pytest.mark.parametrize("word", WORDS)
def test_no_word_takes_what_cannot_be_seen(word: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{word} must be"):
        parse({word: "a\0b"})


def test_the_same_filter_has_the_same_name() -> None:
    one, two = parse({"status": "error,running"}), parse({"status": "running,error"})
    assert str(one) == str(two) != str(parse({"status": "error"}))


@pytest.mark.parametrize(
    ("words", "sort", "hints"),
    [
        ({}, "-created", ["list_user"]),
        ({"status": "live"}, "-created", ["live_user"]),
        ({"status": "error"}, "-finished", ["list_user_ended", "list_user_batch_end"]),
        ({"app": "a/b"}, "finished", ["list_user_ended"]),
    ],
)
def test_hints(words: dict[str, str], sort: str, hints: list[str]) -> None:
    found = branches(MINE, parse(words), sort, now_s=0.0)  # type: ignore[arg-type]
    assert [branch.hint for branch in found] == hints
    # Rights are in every query, and so is what the partial indexes hold.
    assert all(b.query["user"] == "ana" and b.query["batch_id"] is None for b in found)


def test_text_is_no_pattern() -> None:
    (branch,) = branches(EVERYTHING, parse({"q": "a.b(", "module": "x|y"}), "-created", now_s=0.0)
    text = repr(branch.query)
    assert repr(re.escape("a.b(")) in text and repr("^x\\|y\\.") in text


def test_places() -> None:
    oid = ObjectId()
    later = branches(
        EVERYTHING, parse({"status": "error"}), "-finished", Place(5.0, oid), now_s=0.0
    )[0]
    text = repr(later.query)
    for part in ({"$lte": 5.0}, [{"finished": {"$lt": 5.0}}, {"_id": {"$lt": oid}}]):
        assert repr(part) in text
    back = branches(EVERYTHING, Filter(), "-created", Place(0.0, oid, back=True), now_s=0.0)[0]
    assert back.query["_id"] == {"$gt": oid}
    assert back.order("-created", back=True) == [("_id", 1)]


def test_today() -> None:
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert today("UTC", noon) == datetime(2026, 3, 29, tzinfo=UTC).timestamp() * 1000
    # The clocks went forward in the morning.
    assert today("Europe/Berlin", noon) == datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp() * 1000
    assert today("Pacific/Auckland", noon) > today("UTC", noon)
    for wrong in ("", "Mars/Olympus", "/etc/passwd", "../x", "a\0b"):
        with pytest.raises(InvalidInput, match="IANA"):
            today(wrong)
