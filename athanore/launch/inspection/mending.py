"""What `athanore doctor --fix` puts right: what nobody has to decide."""

from __future__ import annotations

from athanore.dispatcher import AgentDispatcher
from athanore.queue_adapters.base import SupportsLook
from athanore.routing.route_rules import wrong_queues


def make_queues(dispatcher: AgentDispatcher) -> list[str]:
    """Make the queues that routes name and the board has not; return their names.

    A name that is like one of the board's is most likely mistyped, and left for a person.

    Raises:
        AthanoreError: there is no board, or it cannot be changed.
    """
    board = dispatcher.board
    if isinstance(board, SupportsLook) and not board.exists():
        return []  # the first start makes it, with all of them
    made: list[str] = []
    for route in dispatcher.routes.values():
        for wrong in wrong_queues(route, board, board.list_queues()):
            if wrong.why == "missing" and not wrong.is_like_another and wrong.wanted not in made:
                board.create_queue(wrong.wanted)
                made.append(wrong.wanted)
    return made
