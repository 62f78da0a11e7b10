"""The same app on a Linear that runs on this machine: python offline.py. Ctrl-C ends both.

It needs the package graphql-core: what the app asks is executed on Linear's published schema.
"""

import os

from athanore.testing.doubles.linear import linear_double
from athanore.testing.doubles.linear.server import STATES, TOKEN

with linear_double("ENG", {**STATES, "Failed": "started"}) as linear:
    os.environ |= {"LINEAR_URL": f"{linear.url}/graphql", "ATHANORE_LINEAR_API_KEY": TOKEN}
    issue = linear.issue("Say hello", "Todo", "The only issue of the team.")

    from run import dispatcher

    dispatcher.run()
    print(f"{issue['identifier']} is in {linear.queue('ENG-1')!r}:", linear.comments("ENG-1"))
