"""Requests that must be under way at the same time, without a clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rasteret_sql.testing.serving import Serving

if TYPE_CHECKING:
    import pytest


def answers_wait_for_each_other(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let a `RangeServer` with latency answer once `count` requests wait; a client that makes fewer at a time hangs."""
    waiting, all_wait = [], asyncio.Event()

    async def delay(serving: Serving) -> None:
        waiting.append(serving)
        if len(waiting) == count:
            all_wait.set()
        await all_wait.wait()

    monkeypatch.setattr(Serving, "_delay", delay)
