"""Fill a prompt template; run as a program, by `prompt_template`, for each prompt.

Whoever may make routes writes templates, so this runs in a process of its own: with a limit to its
memory and processor time, and with nothing in its environment. It may not load Athanore, which
would take longer than all the rest: it imports the standard library, Jinja and `models.py`.

On standard input comes `{"path", "source", "task", "attempts"}`, on standard output goes
`{"prompt"}`, that of the last attempt, or `{"error"}`, a sentence.
"""

from __future__ import annotations

import importlib.util
import json
import re
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Never, override

if TYPE_CHECKING:
    from jinja2 import Environment

SECONDS = 2
"""Seconds of processor time that a prompt may take."""

MEMORY = 512 * 1024 * 1024
"""Bytes of memory that a prompt may take."""

NESTING = 30
"""How deep brackets and blocks of a template may be nested."""

LONGEST = 1_000_000
"""Characters that a prompt may have."""

_LARGEST = 100_000  # what a template may pass to a filter or method, and repeat a text to
_WIDTH = re.compile(r"%[^a-zA-Z%]*(\d{6,}|\*)")
_BLOCKS = frozenset({"if", "for", "with", "macro", "call", "filter", "raw", "autoescape"})


class TemplateRefused(Exception):
    """A template that is not filled; the message is for whoever wrote it."""


def render(source: str, task: Any, attempts: list[int]) -> str:
    """Fill a template and return the prompt of the last attempt.

    Raises:
        TemplateRefused: it is no template, names something that does not exist, or needs too much.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    environment = make_environment()
    try:
        check_nesting(environment, source)
        check_names(environment, source)
        template = environment.from_string(source)
        prompts = [template.render(task=task, attempt=attempt) for attempt in attempts]
    except TemplateSyntaxError as exc:
        text = (exc.message or "not a template").rstrip(".")
        raise TemplateRefused(f"line {exc.lineno}: {text}.") from exc
    except TemplateError as exc:
        raise TemplateRefused(f"line {_line_of(exc)}: {(exc.message or '').rstrip('.')}.") from exc
    except MemoryError:
        raise TemplateRefused(f"it needs more than {MEMORY >> 20} MB of memory.") from None
    except RecursionError:
        raise TemplateRefused("it is nested too deep, or calls itself without end.") from None
    except TemplateRefused:
        raise
    except Exception as exc:
        text = f"{type(exc).__name__}: {exc}".rstrip(".")
        raise TemplateRefused(f"line {_line_of(exc)}: {text}.") from exc
    if len(prompts[-1]) > LONGEST:
        raise TemplateRefused(f"it has more than {LONGEST} characters.")
    return prompts[-1]


def make_environment() -> Environment:
    """The sandbox: strict, without global names, and with bounds to what may be asked for."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.utils import missing

    class Missing(StrictUndefined):
        """Says what a task or a list has, where a name does not exist."""

        __slots__ = ()

        @property
        @override
        def _undefined_message(self) -> str:
            if self._undefined_obj is missing or not isinstance(self._undefined_name, str):
                return str(super()._undefined_message)
            return _does_not_have(self._undefined_obj, self._undefined_name)

    class Sandbox(ImmutableSandboxedEnvironment):
        """A sandbox in which no single step takes much memory or time."""

        intercepted_binops = frozenset({"**", "*", "%"})

        @override
        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if (why := _too_much(operator, left, right)) is not None:
                raise SecurityError(why)
            return super().call_binop(context, operator, left, right)

        @override
        def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
            _check_numbers((*args, *kwargs.values()), refuse)
            return super().call(__context, __obj, *args, **kwargs)

    def refuse(why: str) -> Never:
        raise SecurityError(why)

    def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            _check_numbers((*args, *kwargs.values()), refuse)
            return function(*args, **kwargs)

        return call

    # Without `optimized=False` Jinja works constants out while it compiles.
    environment = Sandbox(
        undefined=Missing, autoescape=False, keep_trailing_newline=True, optimized=False
    )
    environment.globals.clear()  # a template sees the task and the attempt, and nothing else
    environment.filters.update({n: bounded(f) for n, f in environment.filters.items()})
    return environment


def check_nesting(environment: Environment, source: str) -> None:
    """Count how deep a template is nested, before anything is called that recurses over it.

    Raises:
        TemplateRefused: deeper than `NESTING`.
        jinja2.TemplateSyntaxError: it is no template.
    """
    brackets = blocks = 0
    at_block = False
    for line, kind, value in environment.lex(source):
        if kind == "operator":
            brackets += (value in "([{") - (value in ")]}")
        elif kind == "block_begin":
            at_block = True
            continue
        elif kind == "name" and at_block:
            blocks += (value in _BLOCKS) - (value.startswith("end"))
        if kind != "whitespace":
            at_block = False
        if brackets > NESTING or blocks > NESTING:
            raise TemplateRefused(f"line {line}: it is nested deeper than {NESTING}.")


def check_names(environment: Environment, source: str) -> None:
    """Find variables that do not exist, also in branches that a rendering does not take.

    Raises:
        TemplateRefused: there is one, or the template needs another.
        jinja2.TemplateSyntaxError: it is no template.
    """
    from jinja2 import meta, nodes

    tree = environment.parse(source)
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise TemplateRefused(
            f"line {node.lineno}: a prompt template stands alone; it cannot include, import or "
            "extend another."
        )
    unknown = sorted(meta.find_undeclared_variables(tree) - {"task", "attempt"})
    if unknown:
        line = next((n.lineno for n in tree.find_all(nodes.Name) if n.name in unknown), 1)
        names = ", ".join(map(repr, unknown))
        raise TemplateRefused(
            f"line {line}: there is no variable {names}; a prompt has task, attempt."
        )


def _does_not_have(owner: object, name: str) -> str:
    fields: dict[str, Any] | None = getattr(owner, "__dataclass_fields__", None)
    if fields is not None:
        kinds = {"Task": "a task", "ChecklistItem": "a checklist item"}
        kind = kinds.get(type(owner).__name__, f"a {type(owner).__name__.lower()}")
        return f"{kind} has no {name!r}; it has {', '.join(fields)}"
    if isinstance(owner, list | tuple):
        return (
            f"a list has no {name!r}; loop over it ({{% for item in task.comments %}}) or take "
            "one of it ({{ task.comments[0] }})"
        )
    kinds = {"str": "a text", "int": "a number"}
    return f"{kinds.get(type(owner).__name__, type(owner).__name__)} has no {name!r}"


def _too_much(operator: str, left: object, right: object) -> str | None:
    """Say why an operation is refused; None if it is not."""
    if operator == "%" and isinstance(left, str) and _WIDTH.search(left):
        return "the width in a % format is too large"
    if operator == "**" and not (_small(left, _LARGEST) and _small(right, 64)):
        return f"** takes numbers up to {_LARGEST}, and exponents up to 64"
    if operator == "*":
        for text, count in ((left, right), (right, left)):
            if isinstance(text, str | list | tuple) and isinstance(count, int):
                size = len(text)  # pyright: ignore[reportUnknownArgumentType]
                if size * count > _LARGEST:
                    return f"a text or list may be repeated to {_LARGEST} characters or items"
        if (
            isinstance(left, int)
            and isinstance(right, int)
            and not (left.bit_length() + right.bit_length() <= 4096)
        ):
            return "the numbers are too large"
    return None


def _small(value: object, limit: int) -> bool:
    return isinstance(value, int | float) and abs(value) <= limit


def _check_numbers(values: tuple[object, ...], refuse: Callable[[str], Never]) -> None:
    for value in values:
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and not (_small(value, _LARGEST))
        ):
            refuse(f"filters and methods take numbers up to {_LARGEST}")


def _line_of(error: BaseException) -> int:
    """The line of the template that an error comes from; Jinja puts it into the traceback."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _models() -> ModuleType:
    """`models.py` on its own: to import it as a part of Athanore would import Athanore."""
    name = "athanore_models"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _task(data: dict[str, Any]) -> Any:
    models = _models()
    comments = [
        models.Comment(**{**c, "created_at": _time(c["created_at"])}) for c in data["comments"]
    ]
    items = [models.ChecklistItem(**item) for item in data["tasks"]]
    lists = {k: tuple(data[k]) for k in ("labels", "assignees")}
    times = {k: _time(data[k]) for k in ("created_at", "updated_at")}
    parts = {"comments": tuple(comments), "tasks": tuple(items)}
    return models.Task(**{**data, **lists, **times, **parts})


def _time(value: dict[str, str] | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value["at"])


def main() -> None:
    """Answer the one request on standard input."""
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS has no limit that holds
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        task = _task(request["task"])
        answer = {"prompt": render(request["source"], task, request["attempts"])}
    except TemplateRefused as exc:
        answer = {"error": str(exc)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
