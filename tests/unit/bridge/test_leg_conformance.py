"""The leg suite over the media socket with every carrier, whatever the platform makes of `clear` and marks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from tests.conformance.leg import Legs, LegSuite, Rig
from tests.fakes.leg import smartflo_leg, twilio_leg


def rig_of(clear: Literal["honoured", "late", "ignored"], *, echoes: bool, **start: Any) -> Legs:
    @asynccontextmanager
    async def rig() -> AsyncIterator[Rig]:
        async with smartflo_leg(clear, echoes=echoes, **start) as (leg, far):
            yield Rig(leg, far)

    return rig


class TestSmartfloThatHonoursClear(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of("honoured", echoes=True)


class TestSmartfloThatClearsLate(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of("late", echoes=True)


class TestSmartfloThatIgnoresClearAndMarks(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of("ignored", echoes=False)


class TestSmartfloWithLinearAudio(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of("honoured", echoes=True, mediaFormat={"encoding": "slin", "sampleRate": 16000})


def twilio_of(clear: Literal["honoured", "late", "ignored"], *, echoes: bool) -> Legs:
    @asynccontextmanager
    async def rig() -> AsyncIterator[Rig]:
        async with twilio_leg(clear, echoes=echoes) as (leg, far):
            yield Rig(leg, far)

    return rig


class TestTwilioThatHonoursClear(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return twilio_of("honoured", echoes=True)


class TestTwilioThatClearsLate(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return twilio_of("late", echoes=True)


class TestTwilioThatIgnoresClearAndMarks(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return twilio_of("ignored", echoes=False)
