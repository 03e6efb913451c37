"""How the shards of a run share this machine's processors."""

from thebes.model import Plan, TaskKind
from thebes.plan import ProjectInput
from thebes.run.machine import processors

from .workspace import Workspace

AUTO_WORKERS = "PYTEST_XDIST_AUTO_NUM_WORKERS"  # read by pytest-xdist for `-n auto`


def at_most(parallel: int | None, workspace: Workspace, inputs: list[ProjectInput]) -> str | None:
    """The number of workers that `--parallel` makes of more than that; None: they are as configured."""
    if parallel is None:
        return None
    wanted = workspace.config.workers
    few = processes(wanted, inputs, processors()) <= parallel or wanted == "auto"
    return None if few else str(parallel if parallel > 1 else 0)


def share_processors(workspace: Workspace, plan: Plan, inputs: list[ProjectInput], each: int, room: int) -> int:
    """Where the project's own options ask for as many workers as there are processors, shards beside each other get
    their share of them. Returns the processes that each shard will start."""
    shards = sum(task.kind == TaskKind.PYTEST for task in plan.tasks)
    wanted = {project.discovery.options.workers for project in inputs}
    if shards < 2 or AUTO_WORKERS in workspace.environment or not wanted & {"auto", "logical"}:
        return each
    share = max(1, room // shards)
    workspace.environment[AUTO_WORKERS] = str(share)
    return share


def processes(asked: str | None, inputs: list[ProjectInput], room: int) -> int:
    """Processes that each shard will start, as far as can be told before. `room`: how many processors there are."""
    numbers = {asked} if asked else {project.discovery.options.workers for project in inputs}
    known = [room if number in {"auto", "logical"} else int(number or 1) for number in numbers]
    return max([1, *known])
