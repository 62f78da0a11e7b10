"""The double answers each recorded request of Planka 2.1.1 as the real server did."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from athanore.testing.doubles.planka.server import ADMIN_KEY, STRANGER_KEY, planka_double

RECORDINGS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("recordings.json").read_text("utf-8")
)
KEYS = {
    "admin": {"X-Api-Key": ADMIN_KEY},
    "a user without membership": {"X-Api-Key": STRANGER_KEY},
    "a wrong key": {"X-Api-Key": "wrong"},
    "nobody": {},
}
ID = re.compile(r"\d{19}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Translation:
    """The recorded ids, and what they are called on the double."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    def apply(self, text: str) -> str:
        return ID.sub(lambda m: self.ids.get(m[0], m[0]), text)

    def check(self, where: str, recorded: Any, actual: Any) -> None:
        """Compare two answers: keys, types and values, and learn ids that are new."""
        assert type(actual) is type(recorded), f"{where}: {actual!r}, recorded {recorded!r}"
        if isinstance(recorded, dict):
            pairs = cast("dict[str, Any]", recorded)
            assert sorted(actual) == sorted(pairs), where
            for key, value in pairs.items():
                self.check(f"{where}.{key}", value, actual[key])
        elif isinstance(recorded, list):
            items = cast("list[Any]", recorded)
            assert len(actual) == len(items), where
            for n, value in enumerate(items):
                self.check(f"{where}[{n}]", value, actual[n])
        elif isinstance(recorded, str) and ID.fullmatch(recorded):
            assert ID.fullmatch(actual), where
            assert self.ids.setdefault(recorded, actual) == actual, where
        elif isinstance(recorded, str) and TIME.fullmatch(recorded):
            assert TIME.fullmatch(actual) and datetime.fromisoformat(actual), where
        elif recorded != "<secret>":
            expected = self.apply(recorded) if isinstance(recorded, str) else recorded
            assert actual == expected, where


def test_every_recorded_exchange_is_what_the_double_answers() -> None:
    translation = Translation()
    with planka_double(lists=()) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        for recording in RECORDINGS:
            request, response = recording["request"], recording["response"]
            body = request["json"]
            actual = client.request(
                request["method"],
                translation.apply(request["path"]),
                headers=KEYS[recording["as"]],
                json=None if body is None else json.loads(translation.apply(json.dumps(body))),
            )
            name = recording["name"]
            assert actual.status_code == response["status"], f"{name}: {actual.text}"
            assert actual.headers["content-type"].startswith("application/json"), name
            translation.check(name, response["json"], actual.json())


def test_the_comparison_sees_a_difference() -> None:
    same = {"id": "1914079840026232484", "at": "2026-11-22T17:02:45.108Z", "n": [1, None]}
    Translation().check("same", same, {**same, "at": "2027-01-01T00:00:00.000Z"})
    for change in ({"n": [1]}, {"n": [1, "x"]}, {"at": "soon"}, {"id": "7"}, {"more": 1}):
        with pytest.raises(AssertionError):
            Translation().check("other", same, {**same, **change})


def test_all_recordings_are_there() -> None:
    assert len(RECORDINGS) == 44
