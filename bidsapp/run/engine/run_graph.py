"""A graph run: nipype's places and plugins, as the run asks for them."""

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
from bidsapp.run.engine.multiproc import MENDED
from bidsapp.run.engine.signals import check_stopped

Progress = Callable[[Any, str], None]


def configure(workflow: pe.Workflow, log: Path, config: Config) -> None:
    """Keep nipype's files in their places, and its crash files readable.

    Parameters
    ----------
    workflow
        The graph.
    log
        Folder for what crashes, and for the drawing of the graph.
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


def run(workflow: pe.Workflow, config: Config, progress: Progress) -> None:
    """Run a graph under the plugin that was asked for.

    Parameters
    ----------
    workflow
        The graph.
    config
        How to run.
    progress
        Is called with each node and what becomes of it.

    Raises
    ------
    KeyboardInterrupt
        If the run is to stop.
    """
    name, arguments = _engine(config)

    def told(node: Any, status: str, *_: Any) -> None:
        check_stopped()
        progress(node, status)

    settings = arguments | {"status_callback": told}
    if name in MENDED:
        workflow.run(plugin=MENDED[name](plugin_args=settings))
    else:
        workflow.run(plugin=name, plugin_args=settings)


def _engine(config: Config) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the nipype plugin that runs the graph."""
    given: dict[str, Any] = {}
    name = "Linear" if config.nprocs == 1 else "MultiProc"
    if config.plugin_file:
        name, given = read_plugin(config.plugin_file)
    if name == "MultiProc":
        resources = {"n_procs": config.nprocs, "memory_gb": config.memory_gb}
        given = resources | {"raise_insufficient": False} | given
    return name, given


def steps(workflow: pe.Workflow) -> list[str]:
    """Return the names of the nodes that are run: all but those that only hand values on."""
    names: list[str] = workflow.list_node_names()
    return [n for n in names if not isinstance(workflow.get_node(n).interface, IdentityInterface)]


def read_plugin(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the name and the arguments of a nipype plugin from YAML.

    Raises
    ------
    UsageError
        If the file names none that nipype has.
    """
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or "plugin" not in settings:
        raise UsageError(f"{path}: must be YAML with the key 'plugin'")
    name = str(settings["plugin"])
    if not hasattr(plugins, f"{name}Plugin"):
        known = sorted(n.removesuffix("Plugin") for n in dir(plugins) if n.endswith("Plugin"))
        raise UsageError(f"{path}: nipype has no plugin {name!r}; it has {', '.join(known)}")
    return name, dict(settings.get("plugin_args") or {})
