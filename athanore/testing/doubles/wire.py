"""What lies between a client and a double: the requests so far, faults, and limits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from fastapi.responses import JSONResponse, Response

type Kind = Literal["lost", "cut", "page"] | int


@dataclass
class Fault:
    """What to do to the next requests.

    A status: that error, and nothing is done. `lost`: it is done, and the answer is status 502.
    `cut`: it is done, and the connection breaks off. `page`: a proxy's page, with status 200.
    """

    method: str
    path: str
    kind: Kind
    times: int


@dataclass(kw_only=True)
class Wire[L: str]:
    """What happens between the client and the tables; `L` are the kinds of limits.

    Attributes:
        log: the requests so far, as `METHOD /path`, or as the double writes them.
        counted: how many of them count towards the limit.
        before: what somebody else does right before a request, once; by its line of the log.
        violations: what was wrong with requests, or with answers of the double.
        limited_until: in seconds of `time.monotonic`.
    """

    log: list[str] = field(default_factory=list[str])
    counted: int = 0
    faults: list[Fault] = field(default_factory=list[Fault])
    before: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])
    violations: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)
    limit: L | None = None
    limited_until: float = 0.0

    def clear(self) -> None:
        """Forget the requests, and let all that come pass."""
        self.log.clear()
        self.faults.clear()
        self.before.clear()
        self.violations.clear()
        self.limit, self.counted = None, 0

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that a request is to meet, if any."""
        found = next((f for f in self.faults if f.method == method and f.path in path), None)
        if found is not None:
            found.times -= 1
            if found.times == 0:
                self.faults.remove(found)
        return found

    def interfere(self, request: str) -> None:
        """Have somebody else do what is to be done right before this request."""
        change = self.before.pop(request, None)
        if change is not None:
            change()

    def refuse_for(self, kind: L, seconds: float) -> None:
        """Begin a rate limit."""
        self.limit, self.limited_until = kind, monotonic() + seconds


def broken(fault: Fault) -> Response:
    """The answer to a request that was done, and whose answer is lost."""
    if fault.kind == "lost":
        return JSONResponse({"message": "Server Error"}, 502)
    if fault.kind == "page":
        return Response("<html>a proxy's page</html>", media_type="text/html")
    # With less than was announced: the server then cuts the connection.
    return Response(b"", headers={"content-length": "1000"})
