"""What the documentation shows works: commands, options, code, messages, files."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import prefect.settings
import pytest
import yaml
from prefect.cli._app import _app as prefect_app  # pyright: ignore[reportPrivateUsage]
from prometheus_client.metrics import MetricWrapperBase

from api.reference import reference
from athanore import AgentDispatcher, ScriptedAgent, names
from athanore.api.monitoring.instruments import Metrics
from athanore.api.tools import TOOLS
from athanore.cli import make_app
from athanore.queue_adapters.tracker.tokens import TokenVariables
from athanore.runtime.secrets.inheritance import OF_THE_LAUNCHER, WITHOUT_TERMINAL
from athanore.services.people import notices
from athanore.settings import Settings
from tests.docs.pages import DOCS, GENERATED, ROOT, Block, blocks, commands, pages, shell_blocks

COMPOSE = yaml.safe_load((ROOT / "deployments/docker-compose.yml").read_text())
MANIFESTS = list(yaml.safe_load_all((ROOT / "deployments/kubernetes/athanore.yaml").read_text()))
UNITS = sorted((ROOT / "deployments/systemd").glob("*.service"))
PROGRAMS = {
    "athanore", "prefect", "make", "python", "pip", "cd", "cp", "export", "install", ".",
    "docker", "systemctl", "journalctl", "curl", "gh", "git", "glab", "ssh",
}  # fmt: skip


def parse(app: Any, words: list[str]) -> None:
    """Have a command line read its words, without doing anything."""
    app.parse_args(words, print_error=False, exit_on_error=False)


@pytest.mark.parametrize(("command", "words"), commands("athanore").items(), ids=str)
def test_commands_are_understood(command: str, words: list[str]) -> None:
    if len(words) == 1 and not words[0].startswith("-"):
        assert words[0] in set(make_app())  # prose mentions the command
    else:
        parse(make_app(), words)


@pytest.mark.parametrize(("command", "words"), commands("prefect").items(), ids=str)
def test_prefects_commands_are_understood(command: str, words: list[str]) -> None:
    parse(prefect_app, words)


def test_an_option_that_is_not_there_would_be_found() -> None:
    for app, words in ((make_app(), ["status", "--nope"]), (prefect_app, ["server", "begin"])):
        with pytest.raises(Exception, match=r"Unknown|Unused"):
            parse(app, words)


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_shell_is_shell_and_uses_known_programs(block: Block) -> None:
    subprocess.run(["sh", "-n"], input=block.code, text=True, check=True)
    for line in block.code.splitlines():
        assert line.split()[0] in PROGRAMS, line


@pytest.mark.parametrize("page", pages())
def test_secrets_of_a_page_are_known_to_who_follows_it(page: str) -> None:
    # Made in place, a second terminal and the next start do not have them.
    made = r"^.*(?:KEY|TOKEN|AUTH_STRING|PASSWORD)=\S*\$\((?!cat ).*$"
    assert re.findall(made, pages()[page], re.MULTILINE) == []


def test_who_is_given_the_operators_key_is_told_to_ask_for_tokens() -> None:
    # The compose file sets ATHANORE_API_AUTH itself.
    given = [b for b in shell_blocks() if "ATHANORE_API_KEY=" in b.code and "docker" not in b.code]
    assert len(given) > 1
    assert [str(b) for b in given if "ATHANORE_API_AUTH=token" not in b.code] == []


def test_the_first_app_asks_for_nothing_and_costs_nothing() -> None:
    for page in ("index.md", "README.md"):
        (words,) = re.findall(r"^ *athanore init demo (.*?)(?: &&|$)", pages()[page], re.MULTILINE)
        assert words == "--agent own --board json --name demo"


def test_the_extra_of_the_doubles_has_what_they_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["testing"]]
    has = {re.split(r"[\[<>=~]", line)[0] for line in wanted} | {"cryptography"}  # of pyjwt[crypto]
    known = packages_distributions()
    names: set[str] = set()
    for path in (ROOT / "athanore/testing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    others = names - set(sys.stdlib_module_names) - {"athanore"}
    assert "pytest" in others
    assert {n for n in others if not {d.lower() for d in known[n]} & has} == set()


def test_the_readme_names_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = re.search(r"^The extras are (.*?)\n\n", pages()["README.md"], re.DOTALL | re.MULTILINE)
    assert told is not None
    # The one needs nothing any more, the other is the predecessor of another one.
    there = set(project["optional-dependencies"]) - {"dev", "planka", "claude-code-sdk"}
    assert set(re.findall(r"`([a-z-]+)`", told[1])) == there


def test_labels_are_made_in_a_repository_that_is_named() -> None:
    folders = [*(ROOT / "examples").glob("*/README.md"), *DOCS.glob("*.md")]
    text = "\n".join(p.read_text() for p in folders)
    made = re.findall(r"(?:gh|glab) label create [^`;]*?(?=[`;\n]|$)", text)
    assert len(made) > 5
    assert [line for line in made if " -R" not in line] == []


@pytest.mark.parametrize("target", commands("make"), ids=str)
def test_make_has_the_target(target: str) -> None:
    words = [*shlex.split(target), "-n"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)


def test_every_command_is_in_the_table() -> None:
    page = (DOCS / "deploying.md").read_text()
    named = set(re.findall(r"`athanore ([a-z-]+)", page))
    assert {name for name in make_app() if not name.startswith("-")} <= named


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("claude_code_sdk") is None:
        stand_in = ModuleType("athanore.agent_adapters.claude.adapter")
        vars(stand_in)["ClaudeAgentAdapter"] = lambda **_: ScriptedAgent()  # pyright: ignore[reportUnknownLambdaType]
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples/custom_adapter"), *sys.path])
    script = tmp_path / "run.py"
    script.write_text(block.code)
    found = runpy.run_path(str(script))
    if "dispatcher" in found:
        assert isinstance(found["dispatcher"], AgentDispatcher)


@pytest.mark.parametrize("block", blocks("json", "yaml"), ids=str)
def test_data_can_be_read(block: Block) -> None:
    assert json.loads(block.code) if block.language == "json" else yaml.safe_load(block.code)


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    listed = re.findall(r"[\w-]+\.md", text[text.index("nav:") :])
    assert sorted(listed) == sorted({*pages(), GENERATED} - {"README.md"})


def test_every_example_is_named_on_a_page() -> None:
    text = "\n".join(pages().values())
    folders = [p.parent.name for p in (ROOT / "examples").glob("*/run.py")]
    assert len(folders) > 10
    assert [name for name in folders if f"`examples/{name}`" not in text] == []


@pytest.mark.parametrize("page", [p for p in pages() if p != "README.md"])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", pages()[page]):
        if not target.startswith(("http", "#")):
            name = target.partition("#")[0]
            assert name == GENERATED or (DOCS / name).is_file(), target


def test_the_api_reference_has_every_call_and_shape() -> None:
    document = json.loads((ROOT / "api/openapi.json").read_text())
    page = reference(document)
    calls = [f"{m.upper()} {p}" for p, methods in document["paths"].items() for m in methods]
    assert re.findall(r"^## `(.+)`$", page, re.MULTILINE) == calls
    anchors = {n.lower() for n in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= anchors
    assert anchors == {name.lower() for name in document["components"]["schemas"]}


def test_the_messages_that_are_explained_are_ours() -> None:
    source = "\n".join(p.read_text() for p in (ROOT / "athanore").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*(?:[+] )?f?"', "", source)
    explained = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(explained) > 10
    theirs = {"database is locked", "Input should be"}
    assert [m for m in explained if m not in source and m not in theirs] == []


def test_what_the_webhook_is_told_is_listed() -> None:
    page = (DOCS / "watching.md").read_text().partition("| `type` | ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(athanore\.\S+)`", page)) == {*notices.TOLD, notices.TEST}


def test_all_that_is_kept_in_prefect_is_listed() -> None:
    page = (DOCS / "formats.md").read_text()
    kept: set[str] = set()
    for path in (ROOT / "athanore").rglob("*.py"):
        source = path.read_text()
        if re.search(r"prefect\.keep(_first)?\(|VariableCreate\(", source):
            kept |= set(re.findall(r"\"(athanore[-_][a-z_]+?)[-_]?[\"{]", source))
    assert len(kept) > 10
    assert {name for name in kept if f"`{name}" not in page} == set()
    tags = {value for name, value in vars(names).items() if name.endswith("_TAG")}
    page = (DOCS / "watching.md").read_text().partition("| tag | on |")[2].partition("\n\n")[0]
    assert {tag for tag in tags if f"`{tag}`" not in page} == set()


def test_a_route_is_called_so_in_every_command() -> None:
    text = "\n".join(pages().values())
    named = re.findall(r"athanore (?:pause|resume|dispatch TASK \[?--queue) ([A-Z]+)\b", text)
    assert len(named) > 10 and set(named) == {"ROUTE"}


def test_every_metric_is_told_with_its_labels() -> None:
    cells = re.findall(
        r"^\| (`[a-z_]+(?:\{.*?\})?`.*?) \| ", "\n".join(pages().values()), re.MULTILINE
    )
    told = {
        name.removeprefix("athanore_") for cell in cells for name in re.findall(r"`(.+?)`", cell)
    }
    instruments: list[Any] = [
        v for v in vars(Metrics()).values() if isinstance(v, MetricWrapperBase)
    ]
    there: set[str] = set()
    for instrument in instruments:
        name, labels = instrument._name.removeprefix("athanore_"), ", ".join(instrument._labelnames)
        there.add(f"{name}{{{labels}}}" if labels else name)
    assert len(there) > 30
    assert there - told == set()


def test_the_tools_of_agents_are_told_with_their_arguments() -> None:
    page = (DOCS / "mcp.md").read_text()
    part = page[page.index("## The tools of agents") : page.index("## A person's own client")]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", part, re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", words)) - {"task_id"} for name, words in rows}
    assert told == {
        tool.name: set(tool.arguments.model_fields) - {"task_id"}
        for tool in TOOLS
        if "agents" in tool.given_to
    }


def test_the_agents_environment_is_told() -> None:
    told = re.findall(r"`(ATHANORE_\w+)`", (DOCS / "agents.md").read_text())
    source = (ROOT / "athanore/runtime/secrets/environment.py").read_text()
    given = set(re.findall(r'"(ATHANORE_\w+)"[:\]]', source))
    assert set(told) == given


def test_what_agents_do_not_inherit_is_told() -> None:
    page = (DOCS / "agents.md").read_text()
    part = page[page.index("### What it does not inherit") : page.index("## How it ends")]
    rows = re.findall(r"^\| ([^|]+) \| (`.+`) \|$", part, re.MULTILINE)
    told = {what: tuple(re.findall(r"`([^`]+)`", names)) for what, names in rows}
    assert told == dict(OF_THE_LAUNCHER)
    assert dict(re.findall(r"`(\w+)=(\w+)`", part)) == dict(WITHOUT_TERMINAL)


def test_the_arguments_of_the_claude_adapter_are_told() -> None:
    page = (DOCS / "agents.md").read_text()
    told = re.findall(r"`(\w+)`", page[page.index("Its arguments:") :].partition(". Claude")[0])
    # Without an SDK the module cannot be imported.
    tree = ast.parse((ROOT / "athanore/agent_adapters/claude/adapter.py").read_text())
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    methods = [n for n in classes["ClaudeAgentAdapter"].body if isinstance(n, ast.FunctionDef)]
    (init,) = [n for n in methods if n.name == "__init__"]
    assert told == [a.arg for a in (*init.args.args[1:], *init.args.kwonlyargs)]


def test_the_settings_are_told_with_their_defaults() -> None:
    page = (DOCS / "settings.md").read_text()
    told = re.findall(
        r"^\| `ATHANORE_(\w+)` \| `?([^`|]*?)`? \| (.+?)( \*)? \|$", page, re.MULTILINE
    )
    arguments = inspect.signature(AgentDispatcher).parameters
    assert told == [
        (
            name.upper(),
            "" if field.default is None else str(field.default).replace("False", "false"),
            field.description,
            " *" if name in arguments else "",
        )
        for name, field in Settings.model_fields.items()
    ]


def test_the_credentials_of_boards_are_told() -> None:
    page = (DOCS / "settings.md").read_text().partition("## Credentials")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([A-Z_]+)`", page)) - {"PGPASSWORD"}
    for path in (ROOT / "athanore/queue_adapters").rglob("*.py"):
        if "(TokenVariables)" in path.read_text():
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    kinds = TokenVariables.__subclasses__()
    assert len(kinds) > 4
    assert told == {name.upper() for kind in kinds for name in kind.model_fields}


GRACE = int(Settings.model_fields["shutdown_grace"].default)
AFTER_GRACE = 50
"""Seconds that a worker may need after its agents' time; docs/deploying.md says so."""
DRAINING = 60
"""Seconds that `athanore worker drain` may wait for Prefect before a pod is told to stop."""


def variables() -> set[str]:
    """Every setting that the files in deployments/ make."""
    found = set(
        re.findall(r"^(\w+)=", (ROOT / "deployments/systemd/athanore.env").read_text(), re.M)
    )
    for service in COMPOSE["services"].values():
        found |= set(service.get("environment", {}))
    found |= set(MANIFESTS[0]["data"])
    return {v for v in found if not v.startswith("POSTGRES_")}


@pytest.mark.parametrize("variable", sorted(variables()))
def test_settings_of_the_deployments_exist(variable: str) -> None:
    if variable.startswith("PREFECT_"):
        assert hasattr(prefect.settings, variable)
    else:
        name = variable.removeprefix("ATHANORE_").lower()
        assert name in Settings.model_fields or name == "app"


def test_the_compose_file_holds_together() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    started: list[str] = []
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        if command := service.get("command"):
            program, *words = command.split()
            parse(make_app() if program == "athanore" else prefect_app, words)
            started.append(command)
    assert {"athanore deploy", "athanore worker", "athanore api"} <= set(started)
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > GRACE + AFTER_GRACE
    build = services["worker"]["build"]
    assert (ROOT / "deployments" / build["context"] / build["dockerfile"]).is_file()
    assert '\nENTRYPOINT ["tini", "--"]\n' in (ROOT / build["dockerfile"]).read_text()
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / build["dockerfile"]).read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name


def test_the_manifests_hold_together() -> None:
    (config,) = [m for m in MANIFESTS if m["kind"] == "ConfigMap"]
    services = {m["metadata"]["name"]: m["spec"] for m in MANIFESTS if m["kind"] == "Service"}
    pods = {
        m["metadata"]["name"]: m["spec"]["template"]["spec"]
        for m in MANIFESTS
        if m["kind"] == "Deployment"
    }
    for pod in pods.values():
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            program, *words = container["args"]  # `command` would leave out tini
            parse(make_app() if program == "athanore" else prefect_app, words)
    assert set(services) < set(pods)
    for variable in ("ATHANORE_API_URL", "PREFECT_API_URL"):
        url = urlsplit(str(config["data"][variable]))
        assert url.hostname is not None
        (port,) = services[url.hostname]["ports"]
        assert port["port"] == url.port
    (worker,) = pods["athanore-worker"]["containers"]
    *_, drain = worker["lifecycle"]["preStop"]["exec"]["command"]
    parse(make_app(), shlex.split(drain)[1:])
    assert [v["name"] for v in worker["env"]] == ["ATHANORE_WORKER_LIMIT"]
    assert worker["env"][0]["valueFrom"]["resourceFieldRef"]["resource"] == "limits.memory"
    grace = pods["athanore-worker"]["terminationGracePeriodSeconds"]
    assert grace >= int(config["data"]["ATHANORE_SHUTDOWN_GRACE"]) + AFTER_GRACE + DRAINING
    (server,) = pods["prefect"]["containers"]
    ui = COMPOSE["services"]["prefect"]["environment"]["PREFECT_UI_API_URL"]
    assert {"name": "PREFECT_UI_API_URL", "value": ui} in server["env"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_the_units_are_valid(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    (command,) = re.findall(r"^ExecStart=/srv/athanore/\.venv/bin/(.+)$", text, re.MULTILINE)
    program, *words = command.split()
    parse(make_app() if program == "athanore" else prefect_app, words)
    assert "\nRestart=always\n" in text  # `athanore workers restart` ends a worker with code 0
    if program == "athanore" and words == ["worker"]:
        (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
        assert int(stop) > GRACE + AFTER_GRACE
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for other in UNITS:
        here = other.read_text().replace(
            "/srv/athanore/.venv/bin/", f"{Path(sys.executable).parent}/"
        )
        (tmp_path / other.name).write_text(here.replace("/srv/athanore", str(tmp_path)))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)],
        capture_output=True, text=True, env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
