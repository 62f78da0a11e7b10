"""Pages: how the API serves templates, stylesheets and scripts.

Everything that people or agents wrote reaches the page as JSON (`GET /board`) and is set as text,
never as HTML.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from athanore.api.page.files import HEADERS, STATIC, Templates, digest


class PageFiles(StaticFiles):
    """Stylesheets, scripts and the icon.

    A page asks for them below a digest of all of them, and so do scripts, which name one another
    by relative addresses.
    """

    def __init__(self) -> None:
        super().__init__(directory=STATIC)
        self._digest = digest()

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
    """Makes our pages as answers, with the policy that allows nothing but our own files."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._templates = Templates()

    def board(self) -> HTMLResponse:
        """The board page."""
        page = _answer(self._templates.board(self._app))
        page.headers["Vary"] = "Accept"
        return page

    def render(self, template: str, **values: object) -> HTMLResponse:
        """A page of ours."""
        return _answer(self._templates.render(template, **values))


def _answer(text: str) -> HTMLResponse:
    return HTMLResponse(text, headers={**HEADERS, "Cache-Control": "no-cache"})
