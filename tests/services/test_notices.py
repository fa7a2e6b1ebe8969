"""Messages to people: who gets which, once each, by Airflow's notifiers over the real protocols."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from bson import ObjectId

from ee2_jobs.engine import Engine
from ee2_jobs.errors import InvalidInput, WrongState
from ee2_jobs.identity import Caller
from ee2_jobs.notices import collect as collecting
from ee2_jobs.notices import sending, wishes
from ee2_jobs.notices.collect import collect
from ee2_operators.notifiers import send_due
from tests.fakes.mailbox import Mailbox, Posts
from tests.services.conftest import free_port
from tests.services.engines import close_engine, open_engine
from tests.services.rpc_support import Bridge

ALICE, BOB = Caller("alice"), Caller("bob")
ALL = {event: ["slack"] for event in wishes.EVENTS}
log = logging.getLogger(__name__)


@pytest.fixture
async def engine(mongo_uri: str) -> AsyncIterator[Engine]:
    engine = await open_engine(mongo_uri)
    settings = engine.settings.model_copy(update={"notice_channels": "email,slack,webhook"})
    engine = replace(engine, settings=settings)
    assert await collect(engine.store, settings) == 0, "what ended before is not told"
    yield engine
    await close_engine(engine, mongo_uri)


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox(free_port())
    yield mailbox
    mailbox.stop()


@pytest.fixture(scope="module")
def posts() -> Iterator[Posts]:
    posts = Posts()
    yield posts
    posts.stop()


@pytest.fixture
def channels(mailbox: Mailbox, posts: Posts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's connections, as an administrator makes them."""
    mailbox.mails.clear()
    posts.posts.clear()
    smtp = {"from_email": "ee2@example.org", "disable_ssl": True, "disable_tls": True}
    for name, connection in {
        "SMTP": {"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "extra": smtp},
        "SLACK": {"conn_type": "slack", "password": "xoxb-1",
                  "extra": {"base_url": f"http://127.0.0.1:{posts.port}/api/"}},
        "WEBHOOK": {"conn_type": "http", "host": f"http://127.0.0.1:{posts.port}"},
    }.items():  # fmt: skip
        monkeypatch.setenv(f"AIRFLOW_CONN_EE2_{name}", json.dumps(connection))


async def wants(engine: Engine, user: str, **fields: Any) -> None:
    """A user's wishes, all addresses confirmed."""
    given = {"slack": "U024BE7LH", "quiet_s": 0, **fields}
    await wishes.set_wishes(engine.store, engine.settings, Caller(user), given)
    await engine.store.notice_settings.update_one(
        {"_id": user},
        {"$set": {"confirmed": {c: given[c] for c in wishes.TO_CONFIRM if given.get(c)}}},
    )
    await engine.store.notices.delete_many({"event": "code"})


async def submission(
    engine: Engine, user: str = "alice", *, batch: bool = False, tries: int = 1,
    since_s: float = 100, **jobs: int | dict[str, Any],
) -> str:
    """A submission that has ended, with jobs in states: `completed=3`."""
    oid, now = ObjectId(), time.time()
    more = jobs.pop("more", {})
    assert isinstance(more, dict)
    await engine.store.submissions.insert_one(
        {"_id": str(oid), "user": user, "status": "ended", "ended": now,
         "tries": {"submit": {str(n): {} for n in range(1, tries + 1)}},
         **({"batch_id": str(oid)} if batch else {})}
    )
    for status, count in jobs.items():
        for n in range(int(count)):  # type: ignore[arg-type]
            await engine.store.jobs.insert_one(
                {"user": user, "submission": str(oid), "status": status, "index": n,
                 "job_input": {"method": "m.<b>f</b>"}, "queued": now - since_s,
                 "running": now - since_s, "finished": now,
                 **({"errormsg": "no <reads>"} if status == "error" else {}),
                 **({"terminated_code": 0} if status == "terminated" else {}), **more}
            )
    return str(oid)


async def due(engine: Engine) -> list[tuple[str, str, str]]:
    """What waits to be sent: who, event, channel."""
    found = engine.store.notices.find({"state": "due"}).sort("_id", 1)
    return sorted([(n["user"], n["event"], n["channel"]) async for n in found])


async def states(engine: Engine) -> list[str]:
    return sorted([n["state"] async for n in engine.store.notices.find()])


# -------------------------------------------------------------------------- what is told to whom


async def test_one_message_for_a_submission(engine: Engine) -> None:
    await wants(engine, "alice", events=ALL)
    assert await collect(engine.store, engine.settings) == 0
    await submission(engine, completed=1)
    await submission(engine, error=1)
    await submission(engine, batch=True, completed=300, error=2)
    await submission(engine, "bob", completed=1)  # wants nothing
    assert await collect(engine.store, engine.settings, dry_run=True) == 3
    assert await due(engine) == []
    assert await collect(engine.store, engine.settings) == 3
    assert await due(engine) == [
        ("alice", "batch_done", "slack"), ("alice", "end", "slack"), ("alice", "failure", "slack"),
    ]  # fmt: skip
    for _ in range(3):
        assert await collect(engine.store, engine.settings) == 0, "each once, however often asked"


async def test_a_run_that_is_run_again_is_told_again(engine: Engine) -> None:
    await wants(engine, "alice", events={"end": ["slack", "slack"]})
    ended = await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 1
    await engine.store.submissions.update_one(
        {"_id": ended}, {"$set": {"ended": time.time() + 1, "tries.submit.2": {}}}
    )
    assert await collect(engine.store, engine.settings) == 1


async def test_who_cancels_a_job_is_not_told(engine: Engine) -> None:
    await wants(engine, "alice", events=ALL)
    await submission(engine, terminated=1)
    assert await collect(engine.store, engine.settings) == 0
    await submission(engine, terminated=1, more={"terminated_code": 1})
    assert await collect(engine.store, engine.settings) == 1


async def test_short_jobs_are_quiet(engine: Engine) -> None:
    await wants(engine, "alice", events=ALL, quiet_s=60)
    await submission(engine, completed=1, since_s=30)
    assert await collect(engine.store, engine.settings) == 0
    await submission(engine, completed=1, since_s=90)
    assert await collect(engine.store, engine.settings) == 1


async def test_those_whom_a_job_is_shared_with(engine: Engine) -> None:
    await wants(engine, "bob", events=ALL, shared=True)
    await wants(engine, "rob", events=ALL)
    await submission(engine, completed=1, more={"shared": ["bob", "rob"]})
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 1
    assert await due(engine) == [("bob", "end", "slack")]


async def test_long_waits_and_long_runs(engine: Engine) -> None:
    await wants(
        engine, "alice", events={"long_wait": ["slack"], "long_run": ["slack"]},
        long_wait_s=600, long_run_s=3600,
    )
    for status, since_s in (("queued", 700), ("queued", 500), ("running", 3700)):
        oid, now = ObjectId(), time.time()
        times = {"queued": now - since_s, **({"running": now - since_s} if status == "running"
                                             else {})}
        for _ in range(3):
            await engine.store.jobs.insert_one(
                {"user": "alice", "submission": str(oid), "status": status,
                 "job_input": {"method": "m.f"}, **times}
            )
    # A batch of which a job runs does not wait.
    for status in ("queued", "running"):
        await engine.store.jobs.insert_one(
            {"user": "alice", "submission": "x", "status": status,
             "job_input": {"method": "m.f"}, "queued": now - 9000, "running": now - 10}
        )
    assert await collect(engine.store, engine.settings) == 2
    assert await collect(engine.store, engine.settings) == 0
    assert await due(engine) == [("alice", "long_run", "slack"), ("alice", "long_wait", "slack")]


# ------------------------------------------------------------------------------ how it is sent


async def test_by_email(engine: Engine, channels: None, mailbox: Mailbox) -> None:
    await wants(engine, "alice", events={"batch_done": ["email"]}, email="alice@example.org")
    batch = await submission(engine, batch=True, completed=3, error=1)
    await collect(engine.store, engine.settings)
    assert await send_due(engine.store, engine.settings, log) == {"sent": 1}
    assert await send_due(engine.store, engine.settings, log) == {}
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"]) == ("alice@example.org", "ee2@example.org")
    assert "1 of 4 jobs failed" in str(mail["Subject"])
    part = mail.get_payload()[0]  # type: ignore[index]
    html = base64.b64decode(part.get_payload()).decode()  # type: ignore[union-attr,arg-type]
    assert "4 jobs: 3 completed, 1 failed" in html
    assert "no &lt;reads&gt;" in html and "<b>f" not in html, "names are no markup"
    assert f"http://127.0.0.1/services/ee2/jobs/{batch}" in html


async def test_by_slack_and_webhook(engine: Engine, channels: None, posts: Posts) -> None:
    await wants(
        engine, "alice", events={"failure": ["slack", "webhook"]}, webhook="/hooks/7f3a"
    )
    await submission(engine, error=1)
    await collect(engine.store, engine.settings)
    assert await send_due(engine.store, engine.settings, log) == {"sent": 2}
    by_path = {path: (headers, body) for path, headers, body in posts.posts}
    headers, slack = by_path["/api/chat.postMessage"]
    assert headers["authorization"] == "Bearer xoxb-1"
    assert slack["channel"] == "U024BE7LH" and "no &lt;reads&gt;" in slack["text"]
    headers, hook = by_path["/hooks/7f3a"]
    assert hook["event"] == "failure" and hook["job"]["counts"] == {"error": 1}
    assert headers["idempotency-key"] == hook["id"]


async def test_what_was_refused_is_sent_again(
    engine: Engine, channels: None, mailbox: Mailbox, posts: Posts
) -> None:
    await wants(
        engine, "alice", events={"end": ["email", "slack", "webhook"]}, email="a@example.org",
        webhook="/hooks/7f3a",
    )
    await submission(engine, completed=1)
    await collect(engine.store, engine.settings)
    mailbox.replies.append("451 come back later")
    posts.answers += [(200, {"ok": False, "error": "ratelimited"}), (503, {})]
    assert await send_due(engine.store, engine.settings, log) == {"refused": 3}
    assert await send_due(engine.store, engine.settings, log) == {}, "not at once"
    mails, calls = len(mailbox.mails), len(posts.posts)
    assert (mails, calls) == (0, 2), "no library tried again by itself"
    await engine.store.notices.update_many({}, {"$set": {"next": 0}})
    assert await send_due(engine.store, engine.settings, log) == {"sent": 3}
    assert (len(mailbox.mails), len(posts.posts)) == (1, 4)


async def test_what_may_have_arrived_is_not_sent_again(
    engine: Engine, channels: None, mailbox: Mailbox, posts: Posts
) -> None:
    await wants(
        engine, "alice", events={"end": ["email", "slack", "webhook"]}, email="a@example.org",
        webhook="/hooks/7f3a",
    )
    await submission(engine, completed=1)
    await collect(engine.store, engine.settings)
    mailbox.replies.append("drop")
    posts.answers += [None, None]
    assert await send_due(engine.store, engine.settings, log) == {"unclear": 3}
    await engine.store.notices.update_many({}, {"$set": {"next": 0}})
    assert await send_due(engine.store, engine.settings, log) == {}
    assert (len(mailbox.mails), len(posts.posts)) == (1, 2)


async def test_nobody_is_reached(
    engine: Engine, channels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    slack = {"base_url": f"http://127.0.0.1:{port}/"}
    for name, kind, extra in (
        ("SMTP", "smtp", {"from_email": "e@e"}), ("WEBHOOK", "http", {}), ("SLACK", "slack", slack)
    ):  # fmt: skip
        connection = {"conn_type": kind, "host": "127.0.0.1", "port": port, "password": "x",
                      "extra": extra}  # fmt: skip
        monkeypatch.setenv(f"AIRFLOW_CONN_EE2_{name}", json.dumps(connection))
    await wants(
        engine, "alice", events={"end": ["email", "slack", "webhook"]}, email="a@example.org",
        webhook="/hooks/7f3a",
    )
    for _ in range(2):
        await submission(engine, completed=1)
    await collect(engine.store, engine.settings)
    ends = await send_due(engine.store, engine.settings, log)
    assert set(ends) == {"refused"} and 3 <= ends["refused"] <= 4
    await engine.store.notices.update_many(
        {}, {"$set": {"next": 0, "at": time.time() - sending.LAST_TRY_S}}
    )
    await send_due(engine.store, engine.settings, log)
    assert "given_up" in await states(engine)


async def test_a_sender_that_dies(engine: Engine) -> None:
    await wants(engine, "alice", events=ALL)
    await submission(engine, completed=1)
    await collect(engine.store, engine.settings)
    assert await sending.claim(engine.store) is not None
    assert await sending.claim(engine.store) is None, "nobody else takes it"
    assert await sending.settle_forgotten(engine.store) == 0
    await engine.store.notices.update_many({}, {"$set": {"claimed": time.time() - 1000}})
    assert await sending.settle_forgotten(engine.store) == 1
    assert await states(engine) == ["unclear"]


# ------------------------------------------------------------------------------ a user's settings


async def test_an_address_is_confirmed_first(
    engine: Engine, channels: None, mailbox: Mailbox
) -> None:
    given = {"events": {"end": ["email"]}, "email": "alice@example.org", "quiet_s": 0}
    _, confirmed = await wishes.set_wishes(engine.store, engine.settings, ALICE, given)
    assert not confirmed
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 0
    await wishes.set_wishes(engine.store, engine.settings, ALICE, given)  # no second code
    assert await send_due(engine.store, engine.settings, log) == {"sent": 1}
    code = str(mailbox.mails[0]["Subject"])[:8]
    with pytest.raises(WrongState, match="another email address a moment ago"):
        await wishes.set_wishes(
            engine.store, engine.settings, ALICE, {**given, "email": "victim@example.org"}
        )
    await wishes.set_wishes(engine.store, engine.settings, ALICE, given)
    with pytest.raises(InvalidInput, match="not the code"):
        await wishes.confirm(engine.store, ALICE, "email", "00000000")
    with pytest.raises(WrongState):
        await wishes.confirm(engine.store, BOB, "email", code)
    await wishes.confirm(engine.store, ALICE, "email", code)
    assert (await wishes.get_wishes(engine.store, "alice"))[1]
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 2
    await wishes.set_wishes(engine.store, engine.settings, ALICE, {"email": None})
    assert not (await wishes.get_wishes(engine.store, "alice"))[1]


async def test_a_slack_member_is_confirmed_too(
    engine: Engine, channels: None, posts: Posts
) -> None:
    given = {"events": {"end": ["slack"]}, "slack": "U024BE7LH", "quiet_s": 0}
    await wishes.set_wishes(engine.store, engine.settings, ALICE, given)
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 0
    assert await send_due(engine.store, engine.settings, log) == {"sent": 1}
    code = posts.posts[0][2]["text"][:8]
    with pytest.raises(InvalidInput, match="channel must be one of"):
        await wishes.confirm(engine.store, ALICE, "webhook", code)
    await wishes.confirm(engine.store, ALICE, "slack", code)
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 2
    other = {**given, "slack": "U999BE7LH"}
    _, confirmed = await wishes.set_wishes(engine.store, engine.settings, ALICE, other)
    assert not confirmed, "another member has to say so as well"


async def test_a_code_cannot_be_guessed(engine: Engine) -> None:
    given = {"events": {"end": ["email"]}, "email": "alice@example.org"}
    await wishes.set_wishes(engine.store, engine.settings, ALICE, given)
    code = (await engine.store.notices.find_one({"event": "code"}) or {})["body"]["code"]
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    for _ in range(wishes.CODE_TRIES):
        with pytest.raises(InvalidInput):
            await wishes.confirm(engine.store, ALICE, "email", wrong)
    with pytest.raises(WrongState, match="no code to confirm"):
        await wishes.confirm(engine.store, ALICE, "email", code)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "settings: "),
        ({"nothing": 1}, "nothing: "),
        ({"events": {"ende": ["slack"]}, "slack": "U024BE7LH"}, 'there is no "ende"'),
        ({"events": {"end": ["sms"]}}, 'there is no channel "sms"'),
        ({"events": {"end": ["email"]}}, "email is not set"),
        ({"email": "a@b.org, c@d.org"}, "one e-mail address"),
        ({"email": "a@b.org\nBcc: c@d.org"}, "one e-mail address"),
        ({"slack": "https://x"}, "the id of a member"),
        ({"slack": "#general"}, "the id of a member"),
        ({"webhook": "http://169.254.169.254/"}, "without the host"),
        ({"webhook": "//evil.example/x"}, "without the host"),
        ({"webhook": "/a/../../admin"}, "must not have .."),
        ({"long_wait_s": 1}, "long_wait_s: "),
    ],
)
def test_settings_that_make_no_sense(wrong: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says.replace("(", r"\(")):
        wishes.parse_wishes(wrong)


def test_over_rest(bridge: Bridge) -> None:
    def call(verb: str, path: str = "", who: str = "alice", **body: Any) -> Any:
        url = f"{bridge.url}/api/v1/settings/notices{path}"
        headers = {"Authorization": bridge.token(who) or ""}
        return bridge.http.request(verb, url, headers=headers, **body)

    first = call("GET").json()
    assert first["settings"]["events"] == {}
    assert first["channels"] == ["page", "email", "slack", "webhook"]
    given = {"events": {"end": ["slack"]}, "slack": "U024BE7LH"}
    set_ = call("PUT", json=given).json()
    assert set_["settings"]["events"] == {"end": ["slack"]}
    assert call("GET", who="bob").json()["settings"]["slack"] is None
    assert call("POST", "/test", json={"channel": "slack"}).status_code == 400, "not confirmed"
    hooked = {**given, "webhook": "/hooks/7"}
    assert call("PUT", json=hooked).json()["confirmed"] == []
    assert call("POST", "/test", json={"channel": "webhook"}).json()["newest"][0]["event"] == "test"
    assert call("POST", "/test", json={"channel": "webhook"}).status_code == 409
    assert call("POST", "/test", json={"channel": "sms"}).status_code == 400
    # In the page, who has never saved anything, too.
    assert call("POST", "/test", json={"channel": "page"}, who="bob").status_code == 200
    assert call("POST", "/test", json={"channel": "page"}, who="bob").status_code == 409
    assert call("POST", "/confirm", json={"code": "1"}).status_code == 409
    wrong = call("PUT", json={"events": {"end": ["webhook"]}})
    assert wrong.status_code == 400 and "webhook is not set" in wrong.json()["error"]["message"]


async def test_more_ends_at_once_than_are_read_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cancels thousands of jobs must not stop everybody's messages for ever."""
    monkeypatch.setattr(collecting, "MOST_SUBMISSIONS", 3)
    await wants(engine, "alice", events=ALL)
    for _ in range(7):
        await submission(engine, "bob", completed=1)
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 1
    assert await due(engine) == [("alice", "end", "slack")]
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 1
    same = time.time()
    await engine.store.submissions.update_many({}, {"$set": {"ended": same}})
    await submission(engine, completed=1)
    assert await collect(engine.store, engine.settings) == 1
