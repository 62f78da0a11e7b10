"""From an app's routes to Prefect's work pools, queues, deployments and schedules."""

from athanore.deployments.app_record import check_app_record, claim_app
from athanore.deployments.deploy import Deployed, deploy, deploy_route, planned, poll_now
from athanore.deployments.plan import Plan
from athanore.deployments.pools import make_pools
from athanore.deployments.undeploy import Holdings, holdings, undeploy

__all__ = [
    "Deployed",
    "Holdings",
    "Plan",
    "check_app_record",
    "claim_app",
    "deploy",
    "deploy_route",
    "holdings",
    "make_pools",
    "planned",
    "poll_now",
    "undeploy",
]
