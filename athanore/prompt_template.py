"""Prompts as templates: what a route that was made over HTTP has instead of a function.

A template is Jinja, sandboxed and strict. What it names is checked when it is made, against the
values that it will get (`task`, `attempt`), so that a mistake is found before an agent is started;
what only the rendering can tell ends the attempt. A prompt with a gap in it is never used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from jinja2 import StrictUndefined, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from athanore.errors import RouteError
from athanore.models import ChecklistItem, Comment, Task

_environment = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
)
_environment.globals.clear()  # a template sees the task and the attempt, and nothing else

_SAME_LIST = {"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"}
_ONE_OF_LIST = {"first", "last", "max", "min", "random"}


class PromptTemplate:
    """A prompt function made of a template.

    Args:
        source: Jinja, with the variables `task` (a `Task`) and `attempt` (from 1).

    Raises:
        RouteError: it is no template, or names something that does not exist; the message says what
            does.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            tree = _environment.parse(source)
            _Check().run(tree)
            self._template = _environment.from_string(tree)
        except TemplateSyntaxError as exc:
            raise RouteError(
                f"prompt: line {exc.lineno}: {(exc.message or 'not a template').rstrip('.')}."
            ) from exc

    def __call__(self, task_id: str, task_name: str, task: Task, attempt: int) -> str:
        """Write the prompt of one attempt.

        Raises:
            jinja2.TemplateError: the template cannot be filled for this task.
        """
        return self._template.render(task=task, attempt=attempt)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What is known of a value: its type, and of a list the type of its items."""

    kind: type
    item: type | None = None


_UNKNOWN = None
_VARIABLES = {"task": _Shape(Task), "attempt": _Shape(int)}
_ITEMS: dict[tuple[type, str], type] = {
    (Task, "comments"): Comment,
    (Task, "tasks"): ChecklistItem,
    (Task, "labels"): str,
    (Task, "assignees"): str,
}
_NAMES: dict[type, str] = {Task: "a task", Comment: "a comment", ChecklistItem: "a checklist item"}
_FIELDS = {kind: [f.name for f in fields(kind)] for kind in (Task, Comment, ChecklistItem)}

type _Scope = dict[str, _Shape | None]


class _Check:
    """Walks a template with the shapes of its variables."""

    def run(self, tree: nodes.Template) -> None:
        self._visit(tree, dict(_VARIABLES))
        unknown = sorted(meta.find_undeclared_variables(tree) - set(_VARIABLES))
        if unknown:
            line = next((n.lineno for n in tree.find_all(nodes.Name) if n.name in unknown), 1)
            raise RouteError(
                f"prompt: line {line}: there is no variable {', '.join(map(repr, unknown))}; "
                f"a prompt has {_listed(_VARIABLES)}."
            )

    def _visit(self, node: nodes.Node, scope: _Scope) -> None:
        match node:
            case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends():
                raise RouteError(
                    f"prompt: line {node.lineno}: a prompt template stands alone; it cannot "
                    "include, import or extend another."
                )
            case nodes.For():
                self._visit(node.iter, scope)
                inner = {**scope, "loop": _UNKNOWN} | self._targets(node.target, None)
                listed = self._shape(node.iter, scope)
                if isinstance(node.target, nodes.Name) and listed and listed.item:
                    inner[node.target.name] = _Shape(listed.item)
                for child in (*([node.test] if node.test else ()), *node.body):
                    self._visit(child, inner)
                for child in node.else_:
                    self._visit(child, scope)
                return
            case nodes.Assign():
                self._visit(node.node, scope)
                scope |= self._targets(node.target, self._shape(node.node, scope))
                return
            case nodes.Macro() | nodes.CallBlock():
                inner = {**scope, **{a.name: _UNKNOWN for a in node.args}}
                for child in node.iter_child_nodes(exclude=("args",)):
                    self._visit(child, inner)
                return
            case nodes.With():
                inner = dict(scope)
                for target, value in zip(node.targets, node.values, strict=True):
                    self._visit(value, scope)
                    inner |= self._targets(target, self._shape(value, scope))
                for child in node.body:
                    self._visit(child, inner)
                return
            case nodes.AssignBlock():
                scope |= self._targets(node.target, None)
            case nodes.Filter() | nodes.Test():
                known = _environment.filters if isinstance(node, nodes.Filter) else (
                    _environment.tests
                )  # fmt: skip
                if node.name not in known:
                    kind = "filter" if isinstance(node, nodes.Filter) else "test"
                    raise RouteError(
                        f"prompt: line {node.lineno}: there is no {kind} {node.name!r}; "
                        f"there are: {_listed(known)}."
                    )
            case nodes.Getattr() | nodes.Getitem():
                self._shape(node, scope)
            case _:
                pass
        for child in node.iter_child_nodes():
            self._visit(child, scope)

    def _targets(self, target: nodes.Node, shape: _Shape | None) -> _Scope:
        """The names that are bound; what several get at once is not known."""
        if isinstance(target, nodes.Name):
            return {target.name: shape}
        return {n.name: _UNKNOWN for n in target.find_all(nodes.Name)}

    def _shape(self, node: nodes.Node, scope: _Scope) -> _Shape | None:
        match node:
            case nodes.Name():
                return scope.get(node.name)
            case nodes.Getattr():
                return self._member(self._shape(node.node, scope), node.attr, node.lineno)
            case nodes.Getitem():
                owner = self._shape(node.node, scope)
                if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                    return self._member(owner, node.arg.value, node.lineno)
                if owner is None or owner.item is None or isinstance(node.arg, nodes.Slice):
                    return owner if owner and owner.item else _UNKNOWN
                return _Shape(owner.item)
            case nodes.Filter() if node.node is not None:
                owner = self._shape(node.node, scope)
                if owner is None or owner.item is None:
                    return _UNKNOWN
                if node.name in _ONE_OF_LIST:
                    return _Shape(owner.item)
                return owner if node.name in _SAME_LIST else _UNKNOWN
            case _:
                return _UNKNOWN

    def _member(self, owner: _Shape | None, name: str, line: int) -> _Shape | None:
        if owner is None:
            return _UNKNOWN
        if owner.item is not None:
            raise RouteError(
                f"prompt: line {line}: a list has no {name!r}; loop over it "
                "({% for item in task.comments %}) or take one of it ({{ task.comments[0] }})."
            )
        if (existing := _FIELDS.get(owner.kind)) is not None:
            if name not in existing:
                raise RouteError(
                    f"prompt: line {line}: {_NAMES[owner.kind]} has no {name!r}; "
                    f"it has {_listed(existing)}."
                )
            if (item := _ITEMS.get((owner.kind, name))) is not None:
                return _Shape(tuple, item)
            return _Shape(str) if owner.kind is Task else _UNKNOWN
        if name.startswith("_") or not hasattr(owner.kind, name):
            what = "a text" if owner.kind is str else "a number"
            raise RouteError(f"prompt: line {line}: {what} has no {name!r}.")
        return _UNKNOWN


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
