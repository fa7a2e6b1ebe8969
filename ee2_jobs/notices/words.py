"""How messages read: a subject and a few lines, the same for every channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from ee2_jobs.model import Document, Status

_OUTCOMES = (
    (Status.COMPLETED, "completed"),
    (Status.ERROR, "failed"),
    (Status.TERMINATED, "cancelled"),
)


@dataclass(frozen=True)
class Message:
    """One message. link: where to look, None if nowhere."""

    subject: str
    lines: tuple[str, ...]
    link: str | None

    def text(self) -> str:
        """As plain text."""
        return "\n".join((self.subject, "", *self.lines, *([self.link] if self.link else [])))

    def html(self) -> str:
        """As HTML; nothing of a user's text becomes markup."""
        lines = "".join(f"<p>{escape(line)}</p>" for line in self.lines)
        link = f'<p><a href="{escape(self.link)}">{escape(self.link)}</a></p>' if self.link else ""
        return f"<!doctype html><html><body>{lines}{link}</body></html>"

    def slack(self) -> str:
        """As Slack's text, in which three characters have a meaning."""
        text = self.text()
        for raw, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(raw, written)
        return text


def message(notice: Document, pages_url: str) -> Message:
    """The message of a notice. pages_url: the address below which a submission's page is."""
    body = notice["body"]
    link = f"{pages_url.rstrip('/')}/{body['submission']}" if "submission" in body else None
    subject, lines = _WORDS[notice["event"]](body)
    if body.get("user") != notice["user"]:
        lines.append(f"The job is {body['user']}'s and shared with you.")
    return Message(_one_line(subject), tuple(lines), link)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def duration(seconds: float) -> str:
    """A duration for people: `1 h 04 m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def _app(body: Document) -> str:
    return str(body.get("app") or "a job")


def _end(body: Document) -> tuple[str, list[str]]:
    return (
        f"{_app(body)} has completed",
        [f"Your job ran for {duration(body['took_s'])} and has completed."],
    )


def _failure(body: Document) -> tuple[str, list[str]]:
    if body["counts"].get(Status.TERMINATED.value):
        return (
            f"{_app(body)} was cancelled",
            [f"Your job was cancelled after {duration(body['took_s'])}."],
        )
    lines = [f"Your job failed after {duration(body['took_s'])}."]
    if body.get("error"):
        lines.append(f"Reason: {body['error']}")
    return f"{_app(body)} has failed", lines


def _batch(body: Document) -> tuple[str, list[str]]:
    counts = body["counts"]
    total = sum(counts.values())
    said = ", ".join(f"{counts[s.value]} {word}" for s, word in _OUTCOMES if counts.get(s.value))
    failed = counts.get(Status.ERROR.value, 0)
    lines = [f"{total} jobs: {said}, in {duration(body['took_s'])}."]
    if body.get("error"):
        lines.append(f"The first reason: {body['error']}")
    state = f"has ended, {failed} of {total} jobs failed" if failed else "has ended"
    return f"Your batch of {_app(body)} {state}", lines


def _long_wait(body: Document) -> tuple[str, list[str]]:
    many = "" if body["waiting"] == 1 else f" ({body['waiting']} jobs)"
    return (
        f"{_app(body)} still waits",
        [
            f"Your {'job' if not many else 'batch'}{many} has waited for "
            f"{duration(body['took_s'])} and has not started yet. Its page says why."
        ],
    )


def _long_run(body: Document) -> tuple[str, list[str]]:
    return (
        f"{_app(body)} still runs",
        [f"Your job has run for {duration(body['took_s'])}. If that is not as it should be, "
         "look at its log; you can cancel it on its page."],
    )


def _watched(body: Document) -> tuple[str, list[str]]:
    return "A job that you watch has ended", ["Its page says how."]


def _watched_long(body: Document) -> tuple[str, list[str]]:
    return "A job that you watch takes long", ["Its page says how it stands."]


def _test(body: Document) -> tuple[str, list[str]]:
    return "Messages arrive", ["This is the message that you asked for to see whether it arrives."]


def _code(body: Document) -> tuple[str, list[str]]:
    return (
        f"{body['code']} confirms your address",
        [
            f"The user {body['user']} of KBase's execution engine wants messages about jobs sent "
            f"to this address. The code that confirms it: {body['code']} (good for an hour).",
            "If that was not you, ignore this message: nothing more will be sent.",
        ],
    )


_WORDS: dict[str, Callable[[Document], tuple[str, list[str]]]] = {
    "end": _end,
    "failure": _failure,
    "batch_done": _batch,
    "long_wait": _long_wait,
    "long_run": _long_run,
    "watched": _watched,
    "watched_long": _watched_long,
    "test": _test,
    "code": _code,
}
