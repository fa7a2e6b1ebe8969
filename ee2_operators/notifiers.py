"""Sending messages to people by Airflow's notifiers, each at most once.

None of the libraries below may send again by itself, and what may have been taken is not sent again
(`ee2_jobs.notices.sending`). Imported by the worker that sends, and by nobody who only reads DAGs:
the notifiers' libraries are large.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import URLError

from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.slack.notifications.slack import SlackNotifier
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowException
from requests import exceptions as requests_exceptions
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import RetryHandler

from ee2_jobs.model import Document
from ee2_jobs.notices import sending
from ee2_jobs.notices.words import Message, message
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators import airflow_internals

SMTP, SLACK, WEBHOOK = "ee2_smtp", "ee2_slack", "ee2_webhook"
TIMEOUT_S = 20
LONGEST_S = 240.0


def send_now(log: Any) -> str:
    """In a task: send what is due; what came of it, in words."""

    async def work() -> Counter[str]:
        settings = airflow_internals.engine_settings()
        store = Store(airflow_internals.mongo_uri())
        try:
            return await send_due(store, settings, log)
        finally:
            await store.close()

    ends = asyncio.run(work())
    for end, n in ends.items():
        airflow_internals.count(f"ee2.chore.notices.{end}", n)
    return ", ".join(f"{n} {end}" for end, n in sorted(ends.items())) or "nothing to send"


async def send_due(store: Store, settings: Settings, log: Any) -> Counter[str]:
    """Send what is due, one message after the other, for LONGEST_S at most; how many had which end
    (sent, refused, unclear). A channel that does not answer is left alone until the next call."""
    pages_url = f"{(settings.public_url or settings.rpc_url).rstrip('/')}/jobs"
    until = time.monotonic() + LONGEST_S
    ends: Counter[str] = Counter()
    away: set[str] = set()
    while time.monotonic() < until and (notice := await sending.claim(store, away)):
        error = _send(notice, message(notice, pages_url))
        if error is None:
            ends["sent"] += 1
            await sending.sent(store, notice)
        elif not_taken(error):
            ends["refused"] += 1
            log.warning("%s to %s: %s", notice["event"], notice["channel"], _said(error))
            await sending.refused(store, notice, error)
            if not _is_answer(error):
                away.add(notice["channel"])
        else:
            ends["unclear"] += 1
            log.error(
                "%s to %s was perhaps sent, and is not sent again: %s",
                notice["event"], notice["channel"], _said(error),
            )  # fmt: skip
            await sending.unclear(store, notice, error)
    return ends


def _send(notice: Document, text: Message) -> Exception | None:
    try:
        _NOTIFIERS[notice["channel"]](notice, text).notify({})
    except Exception as e:
        return e
    return None


class _SmtpOnce(SmtpHook):
    """Sends once: the hook would send again after any error, also if the first had arrived."""

    @property
    def smtp_retry_limit(self) -> int:
        return 0


class _NeverAgain(RetryHandler):
    """Slack's client would send again when a connection broke."""

    def can_retry(self, **_: Any) -> bool:
        return False


def _email(notice: Document, text: Message) -> BaseNotifier:
    notifier = SmtpNotifier(
        smtp_conn_id=SMTP,
        to=notice["to"],
        subject=text.subject,
        html_content=text.html(),
        # So that mail programs, too, know a message that they have had.
        custom_headers={"X-EE2-Notice": notice["_id"], "Auto-Submitted": "auto-generated"},
    )
    notifier.hook = _SmtpOnce(smtp_conn_id=SMTP)
    try:
        notifier.hook.get_conn()  # what fails here has sent nothing
    except Exception as e:
        raise _NoConnection(e) from e
    return notifier


def _slack(notice: Document, text: Message) -> BaseNotifier:
    return SlackNotifier(
        slack_conn_id=SLACK,
        channel=notice["to"],
        text=text.slack(),
        username="KBase jobs",
        icon_url="",
        timeout=TIMEOUT_S,
        retry_handlers=[_NeverAgain()],
        unfurl_links=False,
        unfurl_media=False,
    )


def _webhook(notice: Document, text: Message) -> BaseNotifier:
    body = {
        "id": notice["_id"],
        "event": notice["event"],
        "user": notice["user"],
        "subject": text.subject,
        "text": "\n".join(text.lines),
        "link": text.link,
        "job": {k: v for k, v in notice["body"].items() if k != "ended_by_owner"},
    }
    return HttpNotifier(
        http_conn_id=WEBHOOK,
        endpoint=notice["to"],
        json=body,
        headers={"Idempotency-Key": notice["_id"]},
        extra_options={"timeout": TIMEOUT_S, "allow_redirects": False},
    )


_NOTIFIERS: Mapping[str, Callable[[Document, Message], BaseNotifier]] = {
    "email": _email,
    "slack": _slack,
    "webhook": _webhook,
}


class _NoConnection(Exception):
    """The mail server was not reached, or did not let us in."""


def not_taken(error: Exception) -> bool:
    """Whether a failed message was certainly not taken: nobody was reached, or the answer was no.
    What broke later may have been taken."""
    if isinstance(error, requests_exceptions.ConnectTimeout):
        return True
    if isinstance(error, requests_exceptions.ConnectionError):
        reason = getattr(error.args[0] if error.args else None, "reason", error)
        return "NewConnectionError" in type(reason).__name__
    if isinstance(error, URLError):
        return isinstance(error.reason, ConnectionRefusedError | socket.gaierror | TimeoutError)
    return isinstance(error, _NoConnection | ConnectionRefusedError) or _is_answer(error)


def _is_answer(error: Exception) -> bool:
    """Whether it was a server's answer, and not that none was reached."""
    return isinstance(
        error,
        smtplib.SMTPResponseException
        | smtplib.SMTPRecipientsRefused
        | smtplib.SMTPNotSupportedError
        | SlackApiError
        | AirflowException,
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


logging.getLogger("slack_sdk").setLevel(logging.WARNING)  # at DEBUG it prints requests
