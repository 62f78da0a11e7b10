"""What our pages are made of: templates, and the stylesheets and scripts that they load.

Nothing here imports FastAPI or Prefect, so that the board page can be shown before either is there.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from athanore.version import __version__

_WEB = Path(__file__).with_name("web")
STATIC = _WEB / "static"

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
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every page: it may load nothing but our own files."""


class Templates:
    """Renders our pages; none holds anything that a caller without a token must not see."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_WEB),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
        )
        self._files = f"/static/{digest()}"
        self._scripts = sorted(p.name for p in STATIC.glob("*.js"))

    def board(self, app: str) -> str:
        """The board page of an app."""
        return self.render("board.html", app=app, scripts=self._scripts)

    def render(self, template: str, **values: object) -> str:
        """A page."""
        found = self._templates.get_template(template)
        return found.render(version=__version__, files=self._files, **values)


def digest() -> str:
    """A digest of the files that the pages load; it stands in their addresses."""
    whole = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]
