"""Artifacts of a run in Prefect, one of a kind: made once, and brought up to date after that.

They have no key: one with a key would be listed among all artifacts, and these belong to their run.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from athanore.runs.prefect_store import PrefectRunStore


async def newest(prefect: PrefectRunStore, run_id: UUID, kind: str) -> Artifact | None:
    """The newest artifact of a kind that a run has."""
    found = await prefect.read_artifacts(
        artifact_filter=ArtifactFilter(
            type=ArtifactFilterType(any_=[kind]),
            flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return found[0] if found else None


async def put(
    prefect: PrefectRunStore,
    run_id: UUID,
    kind: str,
    *,
    over: UUID | None,
    data: Any,
    description: str,
    metadata: dict[str, str] | None = None,
) -> UUID:
    """Renew an artifact of a run, or make one; return its id.

    Args:
        over: the id of the one that is there.
    """
    if over is not None:
        update = ArtifactUpdate(data=data, description=description, metadata_=metadata)
        await prefect.update_artifact(over, update)
        return over
    new = ArtifactCreate(
        type=kind, data=data, description=description, metadata_=metadata, flow_run_id=run_id
    )
    return (await prefect.create_artifact(new)).id
