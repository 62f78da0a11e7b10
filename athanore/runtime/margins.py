"""How long things may take before they count as gone wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Margins:
    """The times that an app allows for what normally takes less. Tests give shorter ones."""

    starting: timedelta = timedelta(seconds=60)
    """Between two requests of a healthy run: Pending to Running, Running to the claim."""

    polling: timedelta = timedelta(minutes=15)
    """A poll, or the making of scheduled work, whose worker says nothing of itself."""

    noting: timedelta = timedelta(seconds=5)
    """A start that is younger has most likely just not noted itself; looking closer costs a
    request."""

    recovering: timedelta = timedelta(seconds=30)
    """Whoever marked a run as Crashed sees to its task at once; after this time others do."""

    catching_up: timedelta = timedelta(seconds=10)
    """What agents did while Prefect was away is noted there by then; before, nobody knows of it."""

    returning: timedelta = timedelta(seconds=30)
    """When Prefect is back it may have been restored from a backup: workers hear within this time
    which of their runs it knows nothing of, and have stopped their agents."""

    pausing: timedelta = timedelta(seconds=60)
    """From the mark of a pause to the pause itself it is a few requests."""

    board: timedelta = timedelta(seconds=60)
    """How long a hook waits for a board that is away, at each step."""

    board_access: timedelta = timedelta(minutes=5)
    """How long a refused access to the board is waited for: a person has to act, and may just be
    about to."""

    first_pause: timedelta = timedelta(seconds=0.5)
    """Before the board is asked again for the first time; each further pause is twice as long."""

    pulls: timedelta = timedelta(minutes=2)
    """Between two looks at the open pull requests of an app; more where there are many."""

    booking: timedelta = timedelta(seconds=10)
    """Between two entries of what an agent has used in the record of its run."""

    prefect: timedelta = timedelta(seconds=8)
    """How long Prefect's part of a request to the task API may take."""

    route_change: timedelta = timedelta(seconds=30)
    """The same for the twenty requests to Prefect that a change of a route takes."""
