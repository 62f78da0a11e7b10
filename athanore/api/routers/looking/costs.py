"""The endpoint that says what agents have cost."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from athanore.api.service import ServiceDep
from athanore.services.showing.cost_views import By
from athanore.services.status.costs import MOST_DAYS

router = APIRouter(tags=["status"])


class CostsModel(BaseModel):
    """What some attempts of agents have cost."""

    key: str = Field(description="Whose: a task's id, a route, an agent, a model or a day.")
    tasks: int
    attempts: int
    cost_usd: float | None = Field(description="As far as it is known; null if nothing is.")
    estimated_usd: float = Field(description="How much of that was estimated from tokens.")
    unmeasured: int = Field(description="Of how many attempts nobody knows the cost.")
    input_tokens: int | None = Field(description="Null if nobody knows.")
    output_tokens: int | None = Field(description="Null if nobody knows.")
    seconds: float = Field(
        description="How long agents worked, in the whole runs that these attempts belong to."
    )


class CostReportModel(BaseModel):
    """What the agents of the app have cost."""

    by: By
    since: datetime = Field(description="A midnight of the app's `budget_time_zone`.")
    rows: list[CostsModel] = Field(description="The most expensive first; of days the newest.")
    total: CostsModel
    is_partial: bool = Field(description="There were too many runs; the newest are counted.")
    done: int = Field(description="Tasks whose last run ended well.")
    given_up: int = Field(description="Tasks whose last run failed for good.")


@router.get("/costs")
async def get_costs(
    service: ServiceDep,
    by: Annotated[By, Query(description="What each row is about.")] = "route",
    days: Annotated[int, Query(ge=1, le=MOST_DAYS, description="1 is today.")] = 7,
) -> CostReportModel:
    """Tell what agents have cost, as far as their adapters know; as it was 15 s ago at most."""
    report = await service.costs.get((by, days))
    return CostReportModel.model_validate(asdict(report))
