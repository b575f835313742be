"""The command line: `auglens <stage>` and the tools around it. Imports a stage only when it runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

STAGES = {
    "prepare": "images → split, statistics, arrays in data/splits",
    "plan": "parameters → one spec per cell in data/cells",
    "augs": "a picture of every aug on sample images",
    "train": "train one cell",
    "explain": "explain every test image under one cell's model",
    "measure": "measure how one cell's maps moved against the reference's",
    "score": "score one cell's explanations against masks and by faithfulness",
    "collect": "publish all cells to MLflow, then fetch every finished run of the study",
    "compare": "tables and figures of the whole study",
    "analyse": "intervals, noise floor, clusters and the open questions",
    "report": "reports/index.html",
}
PER_CELL = ("train", "explain", "measure", "score")
TOOLS = {
    "compose": "write params.yaml from conf/ (arguments as for Hydra: data=cifar10 seeds=[1,2])",
    "check": "this study's metric report against reports/expected.json (exit code 1: regressed, 2: unusable)",
    "publish": "this study's tables and figures into reports/published/NAME, to be committed",
    "search": "the trials of a file in conf/search (without a name: list them), as docs/search.md says",
    "influence": "what each factor did to accuracy and explanations, over the runs of the MLflow store",
    "runs": "all finished runs of the MLflow store as one table (columns and examples: docs/runs.md)",
    "batch-size": "how many images a training step can take on this machine, and with how many it is fastest",
    "study": "run a study inside `mlflow run`: compose, reproduce, summarise",
    "ui": "the MLflow UI on loopback",
}


CHECK_FLAGS = {
    "--update": "take this study's report as the expected one",
    "--any-study": "compare although data, model or training differ",
    "--verbose": "every value, not just those that moved",
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="auglens", description=__doc__.splitlines()[0] if __doc__ else "")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (STAGES | TOOLS).items():
        command = commands.add_parser(name, help=text, description=text)
        if name in PER_CELL:
            command.add_argument("cell", help="reference, or an aug and its seed: equalize-1")
        if name in ("compose", "study"):
            command.add_argument("overrides", nargs="*", help="group=option or key=value")
        if name == "check":
            for flag in ("--update", "--any-study", "--verbose"):
                command.add_argument(flag, action="store_true", help=CHECK_FLAGS[flag])
            command.add_argument("--markdown", metavar="FILE", help="the table for people, as GitHub shows it")
            command.add_argument("--junit", metavar="FILE", help="the table for CI, as JUnit XML")
            command.add_argument("--report", default="reports", metavar="FOLDER")
            command.add_argument("--expected", default="reports/expected.json", metavar="FILE")
        if name == "influence":
            command.add_argument("--to", metavar="FOLDER", default="reports/influence")
            command.add_argument("--all", dest="every", action="store_true", help="the runs of every experiment")
            command.add_argument("--where", metavar="CONDITION", help="SQL over the columns of `auglens runs`")
            help_text = "a cell_key, or a condition that the runs of one configuration meet"
            command.add_argument("--baseline", metavar="KEY", help=help_text)
            command.add_argument("--no-curves", dest="curves", action="store_false", help="fetch no curves")
        if name == "runs":
            command.add_argument("--sql", metavar="QUERY", help="one SELECT over the table runs")
            command.add_argument("--to", metavar="FILE", help="write to a .parquet or .csv file")
            command.add_argument("--all", dest="every", action="store_true", help="the runs of every experiment")
            help_text = "a,b or '*'; without names: list what there is"
            command.add_argument("--columns", nargs="?", const="", metavar="NAMES", help=help_text)
        if name == "search":
            command.add_argument("name", nargs="?", help="a file in conf/search; without it, list them")
            text = "group=option or key=value of every trial, as of `dvc exp run`; may be given again"
            command.add_argument(
                "-S", dest="overrides", metavar="KEY=VALUE", action="append", default=[], help=text
            )
            command.add_argument("--size", default="full", help="full, or another that the file has, as quick")
        if name == "batch-size":
            command.add_argument("--limit", type=int, metavar="N", default=1024, help="images: none larger")
            help_text = "of the memory available (of a GPU's, of all) that a step may hold; 0.8 unless told"
            command.add_argument("--memory", type=float, metavar="SHARE", default=0.8, help=help_text)
        if name == "publish":
            command.add_argument("name", help="a folder in reports/published")
        if name == "ui":
            command.add_argument("--port", type=int, default=5000)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where `check` finds a regression; 2 with one line for unusable input; 130: interrupted."""
    given = parser().parse_args(arguments)
    room = "stages" if given.command in STAGES else "commands"
    values = {name: value for name, value in vars(given).items() if name != "command"}
    try:
        module = given.command.replace("-", "_")
        code = importlib.import_module(f"auglens.{room}.{module}").run(**values)
    except (ValueError, OSError) as error:
        if os.environ.get("AUGLENS_TRACEBACK"):
            raise
        print(f"auglens {given.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"auglens {given.command}: interrupted; the next run goes on from here", file=sys.stderr)
        return 130
    return int(code or 0)


if __name__ == "__main__":
    sys.exit(main())
