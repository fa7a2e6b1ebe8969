"""The contract of the port Publisher, for each implementation that speaks to something."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ee2_jobs.errors import InvalidInput
from ee2_jobs.outbox import Publisher, Refused
from ee2_jobs.settings import Settings
from kbase_services.publish import (
    KafkaPublisher,
    NoPublisher,
    WebhookPublisher,
    open_publisher,
)
from tests.services.conftest import free_port

MESSAGES = [{"job_id": f"{n:024x}", "new_status": "queued", "error": False} for n in range(250)]


class Receiver:
    """What a publisher tells, and how the receiver answers."""

    def publisher(self) -> Publisher:
        """A publisher that tells this receiver."""
        raise NotImplementedError

    def got(self) -> list[dict[str, Any]]:
        """All messages that were taken, by job id."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop listening."""
        raise NotImplementedError


@dataclass
class Webhook(Receiver):
    """An HTTP server that takes what is posted, or answers `status`."""

    taken: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    status: int = 204
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.requests += 1
                threading.Event().wait(hook.pause_s)
                if hook.status == 204 and self.headers["content-type"] == "application/json":
                    hook.taken += json.loads(body)
                self.send_response(hook.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def publisher(self) -> Publisher:
        return WebhookPublisher(f"http://127.0.0.1:{self.server.server_port}/hook", 2)

    def got(self) -> list[dict[str, Any]]:
        return self.taken

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Kafka(Receiver):
    """librdkafka's own mock of a Kafka cluster: brokers on TCP ports that speak the protocol."""

    def __init__(self) -> None:
        self._cluster: Producer | None = Producer(
            {"test.mock.num.brokers": 1, "log_level": 0}
        )
        (broker,) = self._cluster.list_topics(timeout=10).brokers.values()
        self.servers = f"{broker.host}:{broker.port}"

    def publisher(self) -> Publisher:
        return KafkaPublisher(self.servers, "ee2", 10)

    def got(self) -> list[dict[str, Any]]:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "t", "log_level": 0})
        try:
            found = consumer.list_topics("ee2", timeout=10).topics["ee2"].partitions
            ends = {p: consumer.get_watermark_offsets(TopicPartition("ee2", p))[1] for p in found}
            consumer.assign([TopicPartition("ee2", p, 0) for p in found])
            got = []
            while len(got) < sum(ends.values()):
                (message,) = consumer.consume(1, 10)
                assert message.key() is None and message.error() is None
                got.append(json.loads(message.value() or b""))
            return sorted(got, key=lambda message: message["job_id"])
        finally:
            consumer.close()

    def stop(self) -> None:
        self._cluster = None  # the brokers end with their client


@pytest.fixture(params=[Webhook, Kafka])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    receiver: Receiver = request.param()
    yield receiver
    receiver.stop()


@pytest.fixture
async def publisher(receiver: Receiver) -> AsyncIterator[Publisher]:
    publisher = receiver.publisher()
    yield publisher
    await publisher.aclose()


async def got(receiver: Receiver) -> list[dict[str, Any]]:
    return await asyncio.to_thread(receiver.got)


async def test_all_messages_arrive_as_they_are(receiver: Receiver, publisher: Publisher) -> None:
    await publisher.publish(MESSAGES[:200])
    await publisher.publish(MESSAGES[200:249])
    await publisher.publish([{**MESSAGES[249], "error_message": "Größe ≠ 0"}])
    assert await got(receiver) == [*MESSAGES[:249], {**MESSAGES[249], "error_message": "Größe ≠ 0"}]


async def test_it_can_be_used_after_it_was_closed_and_twice_closed(receiver: Receiver) -> None:
    publisher = receiver.publisher()
    await publisher.aclose()
    await publisher.aclose()


async def test_what_nobody_takes_is_an_error(receiver: Receiver, publisher: Publisher) -> None:
    """The receiver goes away after the first message; no success is told of the second."""
    await publisher.publish(MESSAGES[:1])
    await asyncio.to_thread(receiver.stop)
    with pytest.raises(Exception) as e:
        await publisher.publish(MESSAGES[1:2])
    assert not isinstance(e.value, Refused)
    receiver.stop = lambda: None  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", [KafkaPublisher, WebhookPublisher])
async def test_nobody_listens(kind: Any) -> None:
    port = free_port()
    if kind is KafkaPublisher:
        publisher: Publisher = KafkaPublisher(f"127.0.0.1:{port}", "ee2", 3)
    else:
        publisher = WebhookPublisher(f"http://127.0.0.1:{port}", 3)
    for _ in range(2):
        with pytest.raises(Exception) as e:
            await publisher.publish(MESSAGES[:1])
        assert not isinstance(e.value, Refused)
    await publisher.aclose()


async def test_what_is_too_large_is_refused() -> None:
    kafka, large = Kafka(), {"job_id": "1" * 24, "error_message": "x" * 2_000_000}
    publisher = kafka.publisher()
    with pytest.raises(Refused):
        await publisher.publish([large])
    await publisher.publish(MESSAGES[:1])
    assert await got(kafka) == MESSAGES[:1]
    await publisher.aclose()


@pytest.mark.parametrize(
    ("status", "refused"), [(400, True), (413, True), (422, True), (404, False), (401, False),
                            (429, False), (500, False), (302, False)]
)  # fmt: skip
async def test_answers_of_a_webhook(status: int, refused: bool) -> None:
    hook = Webhook(status=status)
    publisher = hook.publisher()
    with pytest.raises(Exception, match=str(status)) as e:
        await publisher.publish(MESSAGES[:2])
    assert isinstance(e.value, Refused) is refused and hook.requests == 1
    hook.status = 204
    await publisher.publish(MESSAGES[:2])
    assert hook.taken == MESSAGES[:2]
    await publisher.aclose()
    hook.stop()


async def test_a_webhook_that_does_not_answer() -> None:
    hook = Webhook(pause_s=5)
    publisher = hook.publisher()
    began = asyncio.get_running_loop().time()
    with pytest.raises(Exception):  # noqa: B017
        await publisher.publish(MESSAGES[:1])
    assert asyncio.get_running_loop().time() - began < 4
    await publisher.aclose()
    hook.server.shutdown()


async def test_none() -> None:
    publisher = NoPublisher()
    await publisher.publish(MESSAGES)
    await publisher.aclose()


def test_what_the_settings_ask_for() -> None:
    plain = Settings(
        rpc_url="http://h/services/ee2", secret_key="k" * 32, stage_dir="/s", apps_dir="/a",
        artifacts_url="file:///a", client_groups="", runner="/r",
    )  # fmt: skip

    def opened(**more: Any) -> Publisher:
        return open_publisher(plain.model_copy(update=more))

    assert isinstance(opened(), NoPublisher)
    assert isinstance(opened(notify="kafka", kafka_servers="h:9092"), KafkaPublisher)
    assert isinstance(opened(notify="webhook", webhook_url="http://h/x"), WebhookPublisher)
    for notify, url in (("kafka", ""), ("webhook", ""), ("webhook", "h")):
        with pytest.raises(InvalidInput, match=notify):
            opened(notify=notify, webhook_url=url)
