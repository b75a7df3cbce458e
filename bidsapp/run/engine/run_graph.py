"""Configure nipype and run a graph with the plugin of the configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nipype
import yaml
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline import engine as pe
from nipype.pipeline import plugins

from bidsapp.config import Config
from bidsapp.errors import UsageError
from bidsapp.run.engine.multiproc import PATCHED_PLUGINS
from bidsapp.run.engine.signals import check_stopped

NodeCallback = Callable[[Any, str], None]
"""Takes a node and its new state: start, end or exception."""


def configure(workflow: pe.Workflow, log: Path, config: Config) -> None:
    """Set nipype's folders, quiet its logging and make its crash files text.

    Parameters
    ----------
    workflow
        The graph.
    log
        Folder for crash files and the drawing of the graph.
    config
        How to run.
    """
    log.mkdir(parents=True, exist_ok=True)
    settings = {
        "logging": {
            "workflow_level": "CRITICAL",
            "interface_level": "CRITICAL",
            "utils_level": "ERROR",
        },
        "execution": {
            "crashdump_dir": str(log),
            "crashfile_format": "txt",
            "stop_on_first_crash": str(config.stop_on_first_crash).lower(),
            "remove_unnecessary_outputs": "false",
            "check_version": "false",
            "poll_sleep_duration": "0.2",
        },
        "monitoring": {"enabled": str(config.resource_monitor).lower()},
    }
    nipype.config.update_config(settings)
    nipype.logging.update_logging(nipype.config)
    workflow.config = {**workflow.config, **{k: dict(v) for k, v in settings.items()}}
    if config.write_graph:
        workflow.write_graph(str(log / "graph.dot"), graph2use="colored", simple_form=True)


def run(workflow: pe.Workflow, config: Config, progress: NodeCallback) -> None:
    """Run a graph with the plugin of the configuration.

    Parameters
    ----------
    workflow
        The graph.
    config
        How to run.
    progress
        Is called at each change of a node's state.

    Raises
    ------
    KeyboardInterrupt
        If the run was stopped by a signal.
    """
    name, arguments = _engine(config)

    def report_status(node: Any, status: str, *_: Any) -> None:
        check_stopped()
        progress(node, status)

    settings = arguments | {"status_callback": report_status}
    if name in PATCHED_PLUGINS:
        workflow.run(plugin=PATCHED_PLUGINS[name](plugin_args=settings))
    else:
        workflow.run(plugin=name, plugin_args=settings)


def _engine(config: Config) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the nipype plugin that runs the graph."""
    arguments: dict[str, Any] = {}
    name = "Linear" if config.nprocs == 1 else "MultiProc"
    if config.plugin_file:
        name, arguments = read_plugin(config.plugin_file)
    if name == "MultiProc":
        resources = {"n_procs": config.nprocs, "memory_gb": config.memory_gb}
        arguments = resources | {"raise_insufficient": False} | arguments
    return name, arguments


def step_names(workflow: pe.Workflow) -> list[str]:
    """Return the names of the nodes that do work: all but those that only pass values on."""
    names: list[str] = workflow.list_node_names()
    return [n for n in names if not isinstance(workflow.get_node(n).interface, IdentityInterface)]


def read_plugin(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the name and the arguments of a nipype plugin from YAML.

    Raises
    ------
    UsageError
        If nipype has no plugin of that name.
    """
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or "plugin" not in settings:
        raise UsageError(f"{path}: must be YAML with the key 'plugin'")
    name = str(settings["plugin"])
    if not hasattr(plugins, f"{name}Plugin"):
        known = sorted(n.removesuffix("Plugin") for n in dir(plugins) if n.endswith("Plugin"))
        raise UsageError(f"{path}: nipype has no plugin {name!r}; it has {', '.join(known)}")
    return name, dict(settings.get("plugin_args") or {})
