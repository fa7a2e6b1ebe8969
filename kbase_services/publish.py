"""Publishers: where changes of state are told. Kafka, a webhook, or nobody (`[ee2] notify`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import httpx

from ee2_jobs.errors import InvalidInput
from ee2_jobs.outbox import Publisher, Refused
from ee2_jobs.settings import Settings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

# From the first byte sent to the last answer, s.
TIME_LIMIT_S = 30.0
CONNECT_S = 5.0
# What a receiver says of the content; all other answers may change.
_NEVER = (400, 413, 415, 422)
_MOST_LETTERS = 200

Messages = Sequence[Mapping[str, Any]]


def open_publisher(settings: Settings) -> Publisher:
    """The publisher that the settings ask for; nothing is connected yet. InvalidInput names a
    setting that is missing."""
    if settings.notify == "kafka":
        if not settings.kafka_servers:
            raise InvalidInput("[ee2] notify is kafka, and kafka_servers (host:port,…) is empty")
        return KafkaPublisher(settings.kafka_servers, settings.kafka_topic)
    if settings.notify == "webhook":
        if not settings.webhook_url.startswith(("http://", "https://")):
            raise InvalidInput("[ee2] notify is webhook, and webhook_url is no http(s) address")
        return WebhookPublisher(settings.webhook_url)
    return NoPublisher()


class NoPublisher:
    """Tells nobody."""

    async def publish(self, messages: Messages) -> None:
        """See the port: all are taken, and forgotten."""

    async def aclose(self) -> None:
        """See the port."""


class KafkaPublisher:
    """As EE2 did: each message a JSON value without a key. They keep their order within a partition
    of the topic, which is all that Kafka promises. One producer, connected at first use."""

    def __init__(self, servers: str, topic: str, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._servers = [one.strip() for one in servers.split(",") if one.strip()]
        self._topic = topic
        self._time_limit_s = time_limit_s
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, messages: Messages) -> None:
        """See the port; taken means on all replicas that are in sync."""
        # Not loaded where nobody uses it.
        from aiokafka.errors import MessageSizeTooLargeError

        try:
            async with asyncio.timeout(self._time_limit_s):
                producer = await self._connected()
                waiting = [
                    await producer.send(self._topic, json.dumps(message).encode())
                    for message in messages
                ]
                told = await asyncio.gather(*waiting, return_exceptions=True)
        except MessageSizeTooLargeError as e:
            raise Refused(f"Kafka: {e}") from None
        except BaseException:
            # What may still be under way must not come after what is told next.
            await self.aclose()
            raise
        failed = [one for one in told if isinstance(one, BaseException)]
        if failed and all(isinstance(one, MessageSizeTooLargeError) for one in failed):
            raise Refused(f"Kafka: {failed[0]}")
        if failed:
            await self.aclose()
            raise failed[0]

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            from aiokafka import AIOKafkaProducer

            producer = AIOKafkaProducer(
                bootstrap_servers=self._servers,
                acks="all",
                client_id="ee2",
                request_timeout_ms=round(self._time_limit_s * 500),
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def aclose(self) -> None:
        """See the port."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CONNECT_S):
                    await producer.stop()


class WebhookPublisher:
    """POSTs a JSON array of messages, up to 200 in one request; an answer of 2xx says that all were
    taken. 400, 413, 415 and 422 refuse the content: the messages are then sent one by one, in
    arrays of one, and those that are refused again are tried every hour."""

    def __init__(self, url: str, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._url = url
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(time_limit_s, connect=CONNECT_S))
        self._time_limit_s = time_limit_s

    async def publish(self, messages: Messages) -> None:
        """See the port."""
        async with asyncio.timeout(self._time_limit_s):
            answer = await self._http.post(self._url, json=list(messages))
        if answer.is_success:
            return
        said = f"the webhook answered {answer.status_code} {answer.text[:_MOST_LETTERS]}".strip()
        if answer.status_code in _NEVER:
            raise Refused(said)
        raise ConnectionError(said)

    async def aclose(self) -> None:
        """See the port."""
        await self._http.aclose()
