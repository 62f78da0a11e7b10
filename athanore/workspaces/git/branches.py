"""What the branch of a task is called."""

from __future__ import annotations

import re
import string

from athanore.errors import ConfigurationError
from athanore.workspaces.places import Place, component, slug

# What `git check-ref-format` refuses, and a name that begins with a dash.
_ILLEGAL = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|\.(/|$)|^[-/.]|/$|^@$")


def check_template(template: str) -> None:
    """Refuse a template that gives no branch of its own to each task.

    Raises:
        ConfigurationError: it has another field than `task_id` and `slug`, lacks the first, or
            gives what git takes for no branch.
    """
    try:
        fields = [(f, spec, conv) for _, f, spec, conv in string.Formatter().parse(template)]
    except ValueError as exc:
        raise ConfigurationError(f"branch={template!r} is no template: {exc}.") from None
    named = {field for field, *_ in fields if field is not None}
    formats = any(spec or conv for _, spec, conv in fields)
    if named - {"task_id", "slug"} or "task_id" not in named or formats:
        raise ConfigurationError(
            f"branch={template!r} must have {{task_id}}, may have {{slug}}, and no other field."
        )
    if _ILLEGAL.search(template.format(task_id="1", slug="a")):
        raise ConfigurationError(f"branch={template!r} gives no name that git takes for a branch.")


def branch_name(template: str, task_id: str, task_name: str) -> str:
    """The branch of a task, by a template that was checked."""
    name = template.format(task_id=component(task_id), slug=slug(task_name))
    return re.sub(r"(?<!-)-+(?=/|$)", "", name)


def refs_of(place: Place) -> str:
    """Where the mirror keeps what belongs to the folder of a task."""
    return f"refs/athanore/{place.home.parent.name}/{place.home.name}"
