"""What a process keeps is in objects of its apps: no module has state of its own.

The walk reads the code. A table that is written in capitals, has an entry and is changed nowhere in
its module is a constant, and so is what the constructors in `CONSTANTS` make.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "athanore"

REGISTRY = "runtime/registry.py: registry"
"""How a flow finds its app: Prefect calls it with the parameters of its run, and nothing else."""

OF_THE_PROCESS = {
    "processes/supervisor.py: _scanner",
    "processes/supervisor.py: default_reaper",
    "processes/identity.py: host",
    "processes/identity.py: _own",
    "names.py: worker_name",
    "http_client/accounts.py: of_this_process",
}
"""Facts of the process itself. It has one reaper, which adapters of users reach by `supervise()`
without an app at hand, one name among the workers, and one identity; and what a tracker's server
counts of a token, it counts for all adapters that have it, whichever app they are of."""

OF_PREFECTS_SERVER = {
    "launch/prefect/prefect_app.py: _for_good",
    "launch/prefect/prefect_app.py: _turn",
}
"""In the process of the Prefect server, which uvicorn starts by the name of a function."""

OF_THE_CODE = {
    "routing/options/described.py: descriptions",
    "routing/options/option.py: options_of",
}
"""Read once from a class of the code, which does not change while a process runs."""

CONSTANTS = {
    "APIRouter", "EventFilter", "HTTPBearer", "Kind", "Limits", "MappingProxyType", "MetaData",
    "Preset", "Table", "Task", "TypeAdapter", "compile", "exists", "frozenset", "getLogger",
    "format", "getrlimit", "join", "options_of", "timedelta", "with_name", "with_variant", "Path",
    "replace", "Breaking", "Texts", "Parameter", "datetime",
}  # fmt: skip
"""What makes values that are not changed, or are declarations read once, such as a router."""

MUTABLE = {
    "ContextVar", "Counter", "Event", "ExitStack", "LRUCache", "Lock", "OrderedDict", "Queue",
    "RLock", "Semaphore", "TTLCache", "ThreadPoolExecutor", "WeakKeyDictionary",
    "WeakValueDictionary", "defaultdict", "deque", "dict", "list", "set",
}  # fmt: skip
"""What no class may have as an attribute of its own."""

CHANGES = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem",
    "popleft", "remove", "setdefault", "update",
}  # fmt: skip

DISPLAYS = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)


def called(node: ast.AST) -> str:
    """The last name of what a call calls; "" for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The names that a body binds to a value."""
    for node in body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield ast.unparse(target), node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            yield ast.unparse(node.target), node.value


def changed(tree: ast.Module) -> set[str]:
    """The names whose value is changed in place somewhere in a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CHANGES:
                found.add(ast.unparse(node.func.value))
        elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            found.add(ast.unparse(node.value))
        elif isinstance(node, ast.AugAssign):
            found.add(ast.unparse(node.target))
    return found


def is_state(name: str, value: ast.expr, in_place: set[str]) -> bool:
    """Tell whether a module keeps something that can change under a name."""
    if name == "__all__":
        return False
    if isinstance(value, DISPLAYS):
        is_empty = isinstance(value, ast.Dict) and not value.keys
        is_empty = is_empty or (isinstance(value, ast.List | ast.Set) and not value.elts)
        return is_empty or not name.isupper() or name in in_place
    return isinstance(value, ast.Call) and called(value) not in CONSTANTS


def state_of(code: str) -> set[str]:
    """The names under which a module, or a class of it, keeps something that can change."""
    tree = ast.parse(code)
    in_place = changed(tree)
    found = {name for name, value in assigned(tree.body) if is_state(name, value, in_place)}
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        match node:
            case ast.Global():
                found |= set(node.names)
            case ast.Attribute(value=ast.Name(id=name), ctx=ast.Store()) if name in classes:
                found.add(ast.unparse(node))
            case ast.ClassDef():
                for name, value in assigned(node.body):
                    if called(value) in MUTABLE or (
                        isinstance(value, DISPLAYS) and is_state(name, value, in_place)
                    ):
                        found.add(f"{node.name}.{name}")
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in node.decorator_list:
                    name = called(decorator) or ast.unparse(decorator).rpartition(".")[2]
                    if name in ("cache", "lru_cache", "cached"):
                        found.add(node.name)
            case _:
                pass
    return found


def test_no_module_has_state_of_its_own() -> None:
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in PACKAGE.rglob("*.py")
        for name in state_of(path.read_text())
    }
    known = {REGISTRY} | OF_THE_PROCESS | OF_THE_CODE | OF_PREFECTS_SERVER
    assert found - known == set()
    assert known - found == set(), "it is gone: take it off the list"


@pytest.mark.parametrize(
    "planted",
    [
        "_seen = {}",
        "_seen: dict[str, int] = {}",
        "SEEN = []",
        "_table = {1: 2}",
        "TABLE = {1: 2}\ndef f(): TABLE[2] = 3",
        "TABLE = [1]\ndef f(): TABLE.append(2)",
        "_gate = asyncio.Lock()",
        "_pool = ThreadPoolExecutor(1)",
        "_turn = ContextVar[int | None]('turn', default=None)",
        "_app = App()",
        "_count = 0\ndef f():\n    global _count\n    _count += 1",
        "class A:\n    known = {}",
        "class A:\n    class B:\n        known: set[int] = set()",
        "class A:\n    gate = asyncio.Lock()",
        "class A:\n    at = None\n    def f(self): A.at = 1",
        "@cache\ndef f(): ...",
        "@functools.lru_cache(maxsize=1)\ndef f(): ...",
        "class A:\n    @staticmethod\n    @functools.cache\n    def f(): ...",
        "@cached(LRUCache(9))\ndef f(): ...",
    ],
)
def test_each_kind_of_state_is_seen(planted: str) -> None:
    assert state_of(planted)


@pytest.mark.parametrize(
    "fine",
    [
        "TABLE = {1: 2}\nx = TABLE[1]",
        "NAMES = ('a', 'b')",
        "_WORDS = re.compile('a')",
        "class A:\n    names: list[str] = field(default_factory=list)",
        "class A:\n    @cached_property\n    def f(self): ...",
        "class A:\n    def __init__(self): self.known = {}",
    ],
)
def test_a_constant_is_none(fine: str) -> None:
    assert not state_of(fine)
