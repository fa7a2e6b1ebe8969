"""Messages to people, from the running stack: Airflow's own run, its worker, its connection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.message import Message

import httpx
import pytest

from tests.conftest import Stack, free_ports, triggered, until
from tests.fakes.mailbox import Mailbox


@pytest.fixture
def mailbox(stack: Stack) -> Iterator[Mailbox]:
    """A mail server, and Airflow's connection to it."""
    mailbox = Mailbox(free_ports(1)[0])
    connection = {
        "connection_id": "ee2_smtp", "conn_type": "smtp", "host": "127.0.0.1",
        "port": mailbox.port,
        "extra": '{"from_email": "ee2@example.org", "disable_ssl": true, "disable_tls": true}',
    }  # fmt: skip
    with stack.airflow() as airflow:
        airflow.post("/connections", json=connection).raise_for_status()
        yield mailbox
        airflow.delete("/connections/ee2_smtp").raise_for_status()
    mailbox.stop()


def send(stack: Stack) -> None:
    """One run of ee2_notices, to its end."""
    with stack.airflow() as airflow:
        started = triggered(airflow, "ee2_notices", {"logical_date": None})
        run = started.raise_for_status().json()["dag_run_id"]

        def ended() -> bool | None:
            state = airflow.get(f"/dags/ee2_notices/dagRuns/{run}").json()["state"]
            assert state != "failed"
            return True if state == "success" else None

        until(ended, 120, lambda: f"run {run} of ee2_notices")


def html_of(mail: Message) -> str:
    """The text of a message."""
    part = mail.get_payload()[0]  # type: ignore[index]
    return str(part.get_payload(decode=True).decode())  # type: ignore[union-attr]


def test_a_user_hears_of_the_end_of_a_batch(stack: Stack, mailbox: Mailbox) -> None:
    url = f"{stack.rpc_url}/api/v1/settings/notices"
    mine = {"Authorization": stack.token}
    given = {"events": {"batch_done": ["email"]}, "email": "ana@example.org", "quiet_s": 0}
    httpx.put(url, json=given, headers=mine).raise_for_status()
    send(stack)
    assert len(mailbox.mails) == 1
    code = str(mailbox.mails.pop()["Subject"])[:8]
    httpx.post(f"{url}/confirm", json={"code": code}, headers=mine).raise_for_status()
    job = {"method": "ee2_test.echo", "params": [{}]}
    batch = stack.ee2("run_job_batch", [job, job, job], {})
    stack.wait_batch(batch["batch_id"])

    def about_it() -> list[Message]:
        time.sleep(1)
        send(stack)
        # What ended a moment before the settings were made may be told as well.
        return [m for m in mailbox.mails if batch["batch_id"] in html_of(m)]

    until(lambda: about_it() or None, 120, lambda: "the message")
    (mail,) = about_it()
    assert "batch of ee2_test.echo" in str(mail["Subject"])
    newest = httpx.get(url, headers=mine).json()["newest"][0]
    assert (newest["event"], newest["state"]) == ("batch_done", "sent")
    httpx.put(url, json={}, headers=mine).raise_for_status()
