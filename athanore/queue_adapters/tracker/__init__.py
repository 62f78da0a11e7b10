"""What the boards over HTTP have in common: GitHub, GitLab, Jira and the like.

None of it knows a single tracker. An adapter of one puts these parts together.
"""
