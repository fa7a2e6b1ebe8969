"""What a process that answers questions about the queue keeps: one reader and the pages made of
what it reads."""

from __future__ import annotations

from ee2_jobs.engine import Engine
from ee2_jobs.queue.figures import FiguresReader
from ee2_jobs.queue.overview import OverviewPage
from ee2_jobs.queue.status import StatusPage


class Desk:
    """One per process and engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.figures = FiguresReader(engine.store)
        self.status = StatusPage(engine, self.figures)
        self.overview = OverviewPage(engine, self.figures)
