"""What is asked of Linear, in GraphQL. Every document is valid on Linear's published schema."""

from __future__ import annotations

from typing import Final

_CARD: Final = """
fragment Card on Issue {
  id identifier title description url priorityLabel sortOrder createdAt updatedAt
  archivedAt trashed snoozedUntilAt labelIds
  team { id } state { id type } assignee { id displayName } delegate { id displayName }
  creator { displayName }
  inverseRelations(first: 20) {
    nodes { type issue { id state { type } } } pageInfo { hasNextPage } }
}"""

_COMMENTS: Final = """{
    nodes { id body createdAt parent { id } quotedText
      user { displayName active app isMe } botActor { name } externalUser { name } }
    pageInfo { hasNextPage endCursor }
  }"""

TEAM: Final = """
query Team($key: String!) {
  viewer { id displayName app }
  teams(first: 1, filter: {key: {eqIgnoreCase: $key}}) { nodes { id key name
    states(first: 100) { nodes { id name type position } }
    members(first: 250) { nodes { id displayName app } } } }
}"""

LABELS: Final = """
query Labels($key: String!, $after: String) {
  issueLabels(first: 250, after: $after,
    filter: {or: [{team: {key: {eqIgnoreCase: $key}}}, {team: {null: true}}]}) {
    nodes { id name isGroup } pageInfo { hasNextPage endCursor } }
}"""

ISSUES: Final = f"""
query Issues($filter: IssueFilter!, $all: Boolean!, $after: String) {{
  issues(first: 100, after: $after, filter: $filter, includeArchived: $all,
    sort: [{{manual: {{order: Ascending}}}}]) {{
    nodes {{ ...Card }} pageInfo {{ hasNextPage endCursor }} }}
}}{_CARD}"""

ISSUE: Final = f"""
query Issue($id: String!) {{ issue(id: $id) {{ ...Card }} }}{_CARD}"""

WHOLE: Final = f"""
query Whole($id: String!) {{
  issue(id: $id) {{ ...Card comments(first: 100) {_COMMENTS} }}
}}{_CARD}"""

COMMENTS: Final = f"""
query Comments($id: String!, $after: String) {{
  issue(id: $id) {{ comments(first: 100, after: $after) {_COMMENTS} }}
}}"""

RELATIONS: Final = """
query Relations($id: String!, $after: String) {
  issue(id: $id) { inverseRelations(first: 100, after: $after) {
    nodes { type issue { id state { type } } } pageInfo { hasNextPage endCursor } } }
}"""

COMMENT: Final = "query Comment($id: String!) { comment(id: $id) { id } }"

UPDATE: Final = f"""
mutation Update($id: String!, $input: IssueUpdateInput!) {{
  issueUpdate(id: $id, input: $input) {{ success issue {{ ...Card }} }}
}}{_CARD}"""

MAY_WRITE: Final = """
mutation MayWrite($id: String!) { issueUpdate(id: $id, input: {}) { success } }"""

CREATE: Final = f"""
mutation Create($input: IssueCreateInput!) {{
  issueCreate(input: $input) {{ success issue {{ ...Card }} }}
}}{_CARD}"""

ADD_COMMENT: Final = """
mutation AddComment($input: CommentCreateInput!) { commentCreate(input: $input) { success } }"""

ADD_LABEL: Final = """
mutation AddLabel($input: IssueLabelCreateInput!) { issueLabelCreate(input: $input) { success } }"""

ADD_STATE: Final = """
mutation AddState($input: WorkflowStateCreateInput!) {
  workflowStateCreate(input: $input) { success }
}"""

RENAME_STATE: Final = """
mutation RenameState($id: String!, $input: WorkflowStateUpdateInput!) {
  workflowStateUpdate(id: $id, input: $input) { success }
}"""

ARCHIVE_STATE: Final = """
mutation ArchiveState($id: String!) { workflowStateArchive(id: $id) { success } }"""
