"""Pages: templates, stylesheets, scripts, and a strict policy for them.

Everything that people or agents wrote reaches the page as JSON (`GET /board`) and is set as text,
never as HTML.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from athanore.api.prefect.agent_runs import prefect_ui
from athanore.version import __version__

_WEB = Path(__file__).with_name("web")
_STATIC = _WEB / "static"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class PageFiles(StaticFiles):
    """Stylesheets, scripts and the icon.

    A page asks for them below a digest of all of them, and so do scripts, which name one another
    by relative addresses.
    """

    def __init__(self) -> None:
        super().__init__(directory=_STATIC)
        self._digest = _digest()

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file that may be kept for a day if its address changes with it."""
        digest, _, name = path.partition("/")
        response = await super().get_response(name or path, scope)
        headers = MutableHeaders(raw=response.raw_headers)
        current = bool(name) and digest == self._digest
        headers["Cache-Control"] = "public, max-age=86400" if current else "no-cache"
        headers["X-Content-Type-Options"] = "nosniff"
        return response


class Pages:
    """Makes our pages; none holds anything that a caller without a token must not see."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._templates = Environment(
            loader=FileSystemLoader(_WEB),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        self._files = f"/static/{_digest()}"
        self._scripts = sorted(p.name for p in _STATIC.glob("*.js"))

    def board(self) -> HTMLResponse:
        """The board page."""
        page = self.render(
            "board.html", app=self._app, prefect_ui=prefect_ui(), scripts=self._scripts
        )
        page.headers["Vary"] = "Accept"
        return page

    def render(self, template: str, **values: object) -> HTMLResponse:
        """A page of ours, with the policy that allows nothing but our own files."""
        found = self._templates.get_template(template)
        text = found.render(version=__version__, files=self._files, **values)
        return HTMLResponse(text, headers={**_HEADERS, "Cache-Control": "no-cache"})


def _digest() -> str:
    """A digest of the files that the page loads."""
    whole = hashlib.sha256()
    for path in sorted(_STATIC.iterdir()):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]
