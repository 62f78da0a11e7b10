"""The endpoint behind the board page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from athanore.api.page.models import BoardModel
from athanore.api.service import ServiceDep

router = APIRouter(tags=["board"])


@router.get(
    "/board",
    response_model=BoardModel,
    responses={304: {"description": "Nothing has changed since the answer with this ETag."}},
)
async def get_board(
    service: ServiceDep,
    if_none_match: Annotated[
        str | None, Header(description="The `ETag` of the answer that you have.")
    ] = None,
) -> Response:
    """Read the whole board: queues, cards, their agents, retries and dead letters.

    Made for looking at it every second or two: it is at most a second old, and costs next to
    nothing while nothing changes, if the `ETag` is sent back as `If-None-Match`.
    """
    snapshot = await service.snapshots.get()
    headers = {"ETag": snapshot.etag, "Cache-Control": "no-cache"}
    if if_none_match == snapshot.etag:
        return Response(status_code=304, headers=headers)
    return Response(snapshot.body, media_type="application/json", headers=headers)
