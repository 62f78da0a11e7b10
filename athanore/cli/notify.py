"""Commands about what people are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App, Group

from athanore.cli.context import AppOption, user, with_app
from athanore.cli.output import say, warn
from athanore.errors import reason

if TYPE_CHECKING:
    from athanore.runs.prefect_store import PrefectRunStore
    from athanore.runtime import apps


def notify_app(group: Group) -> App:
    """Put the commands together."""
    app = App(name="notify", group=group, help="Try whether messages of the app arrive.")
    app.command(try_out, name="test")
    return app


def try_out(*, app: AppOption = None) -> int:
    """Send a test message to each block of notify= and to the webhook; say what came of each."""

    async def action(_: PrefectRunStore, found: apps.App) -> int:
        from athanore.services.people import notices

        there, failed = notices.channels(found), 0
        if not there:
            warn(
                'The app tells nobody: give the dispatcher notify=["slack-webhook/team"], or set '
                "ATHANORE_NOTIFY_WEBHOOK_URL and ATHANORE_NOTIFY_WEBHOOK_SECRET."
            )
            return 1
        for channel in there:
            try:
                await channel.send(notices.test_message(found, user()))
            except Exception as exc:
                failed += 1
                warn(f"{channel.name}: not sent: {found.redactor.text(reason(exc))}")
            else:
                say(f"{channel.name}: sent")
        return 1 if failed else 0

    return with_app(app, action)
