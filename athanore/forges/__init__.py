"""Where the work of agents is published: pull requests of a forge."""

from athanore.forges.base import Forge, PullRequest, PullRequestState
from athanore.forges.feedback import (
    Feedback,
    FeedbackKind,
    Heard,
    HearsOfPulls,
    PullRequestNews,
    TellsFeedback,
)
from athanore.forges.texts import PullRequestTask

__all__ = [
    "Feedback",
    "FeedbackKind",
    "Forge",
    "Heard",
    "HearsOfPulls",
    "PullRequest",
    "PullRequestNews",
    "PullRequestState",
    "PullRequestTask",
    "TellsFeedback",
]
