"""What the code has that an operator can set, read and be woken by: the other side of docs/operations.md."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import click
from prometheus_client import Metric

from ringkv.cli import main
from tests.support.data import ROOT

Entry = tuple[str, ...]

PACKAGES: Final = ("client", "cluster", "dataset", "deploy", "process", "resp", "ringkv", "router", "shard")

LEVELS: Final = {
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
    "log": "info or warning",
}
"""The level that is told for each of a logger's methods; `log` is given one when it is called."""


def options(commands: Iterable[click.Command] | None = None) -> Iterator[Entry]:
    """Each option as command, name, default and environment variable."""
    if commands is None:
        context = click.Context(main)
        found = [main.get_command(context, name) for name in main.list_commands(context)]
        commands = [command for command in found if command is not None]
    for command in commands:
        yield from _options(f"ringkv {command.name}", command)


def _options(name: str, command: click.Command) -> Iterator[Entry]:
    for option in command.params:
        if isinstance(option, click.Option):
            yield name, option.opts[0], _default(option), str(option.envvar or "")
    if isinstance(command, click.Group):
        for part in command.commands.values():
            yield from _options(f"{name} {part.name}", part)


def _default(option: click.Option) -> str:
    """In words where there is no value: those of the option's help, if it has any."""
    if option.required:
        return "required"
    if option.is_flag:
        return "flag, off"
    if isinstance(option.default, str | int | float):
        return str(option.default)
    said = re.search(r"\[default: (.+)]", option.help or "")
    return said[1] if said else "none"


def compose_variables(text: str) -> Iterator[Entry]:
    """Each variable that the file takes from the environment, with its default."""
    defaults = set(re.findall(r"\$\{(\w+):-([^}]+)}", text))
    yield from sorted(defaults)
    handed_on = [name for names in re.findall(r"environment: \[(.+)]", text) for name in names.split(", ")]
    handed_on += re.findall(r"^\s+([A-Z_]+):$", text, re.MULTILINE)
    handed_on += re.findall(r"\$\{(\w+):(?:\+|-})", text)
    yield from ((name, "none") for name in sorted({*handed_on} - {name for name, _ in defaults}))


def log_lines(root: Path = ROOT) -> Iterator[Entry]:
    """Each line from info on that a package of the tree logs: format string, level and logger."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            logger = _logger(tree)
            for node in ast.walk(tree):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name("log" | "logger" | "logging"), attr=method)):
                        if method in LEVELS:
                            where = f"{path.relative_to(root)}:{node.lineno}"
                            yield _format(node, method, where), LEVELS[method], logger


def _logger(tree: ast.Module) -> str:
    """The name that the module gives its logger."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(str(name))]):
                return name
    return ""


def _format(call: ast.Call, method: str, where: str) -> str:
    match call.args[1 if method == "log" else 0]:
        case ast.Constant(str(text)):
            return text
    raise AssertionError(f"{where}: what is logged is no plain format string, so that nobody can look it up")


def metrics(router: Iterable[Metric], shard: Iterable[Metric]) -> Iterator[Entry]:
    """Each metric of two scrapes: its name as Prometheus shows it, its type, its labels and who tells it."""
    told = {"router": set(map(_metric, router)), "shard": set(map(_metric, shard))}
    both = told["router"] & told["shard"]
    yield from ((*metric, "both") for metric in sorted(both))
    for process, found in told.items():
        yield from ((*metric, process) for metric in sorted(found - both))


def _metric(family: Metric) -> tuple[str, str, str]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    name = f"{family.name.removesuffix(suffix)}{suffix}"
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    return name, "info" if suffix == "_info" else family.type, ", ".join(sorted(labels))


def alerts(text: str) -> list[str]:
    return re.findall(r"- alert: (\w+)", text)


def runbooks(text: str) -> list[str]:
    """The places in the document to which alerts point."""
    return re.findall(r"runbook: docs/operations\.md#(\S+)", text)
