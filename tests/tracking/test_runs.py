"""`auglens runs`: every finished cell of a real store as one table, questions to it, and what is refused."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from auglens import cli, config
from auglens.commands import runs
from auglens.tracking import CellRecord, FoundRun, Tracker, read_table, store, tabulate
from auglens.tracking.table import FIXED, typed

STUDY, REFERENCE = "5" * 64, "4" * 64
NETWORKS, DATA = ("resnet50", "vgg16"), ("dogs", "cifar100")
METHODS, THRESHOLDS = ("gradcam", "gradcam++"), (0.5, 0.75)
BEST = (
    "select model_name, max(accuracy) as best from runs where maps_method = 'gradcam++' and data_name = 'dogs' "
    "and aug_proxy_attention_proxy_threshold = 0.5 group by model_name order by model_name"
)


def grid() -> list[CellRecord]:
    """Protocol D's factors, two seeds each; the accuracies come in no order."""
    records = []
    factors = itertools.product(NETWORKS, DATA, METHODS, THRESHOLDS, (1, 2))
    for index, (network, data, method, threshold, seed) in enumerate(factors):
        if data == "cifar100" and threshold == 0.75:  # not run on this one
            continue
        keys = {"train_key": f"t{index}", "map_key": f"m{index}", "study_key": STUDY, "cell_key": f"c{index}"}
        params = {
            "aug": "proxy_attention",
            "seed": seed,
            "model.name": network,
            "data.name": data,
            "maps.method": method,
            "maps.target": "predicted",
            "aug.proxy_attention.proxy_threshold": threshold,
            "aug.proxy_attention.steps": str([5, 10]),
            "train.epochs": 30,
            "train.learning_rate": 1e-3,
            "train.schedule": str(None if seed == 1 else "cosine"),
            "train.nesterov": seed == 1,
        }
        record = CellRecord(
            cell=f"proxy_attention-{seed}",
            aug="proxy_attention",
            seed=seed,
            keys=keys,
            reference_train_key=REFERENCE,
            content="0",
            params=params,
            metrics={"accuracy": (index * 37 % 101) / 101, "mad_mean": 1 / (index + 3)},
            curves={"train_loss": [2.0, 1.0 + index]},
            tags={"data": data, "model": network, "variant": f"{method}-predicted"},
        )
        records.append(record)
    return records


@pytest.fixture(scope="module")
def filled(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder whose store holds the grid."""
    root = tmp_path_factory.mktemp("grid")
    shutil.copy(migrated, root / "mlflow.db")
    with Tracker.connect(f"sqlite:///{root}/mlflow.db", "auglens", root) as tracker:
        tracker.publish_all(grid())
    return root


@pytest.fixture
def project(filled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(filled)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    settings = types.SimpleNamespace(tracking=config.TrackingConfig(uri=None, experiment="auglens", live=False))
    monkeypatch.setattr(config, "load", lambda: settings)
    return filled


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[int], None]:
    def pretend(columns: int) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return pretend


def refusal(sql: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a question ends, after exit code 2."""
    assert cli.main(["runs", "--sql", sql, "--to", "never.csv"]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("auglens runs: --sql: ")
    assert error.count("\n") == 1
    assert not list(Path.cwd().glob("*never*"))
    return error.removeprefix("auglens runs: --sql: ").rstrip("\n")


# --- the table


def test_every_finished_cell_is_a_row(project: Path) -> None:
    table = read_table(None, "auglens", project)
    names = [column.name for column in table.columns]
    assert len(table.rows) == len(grid()) == 24
    assert names[: len(FIXED)] == list(FIXED)
    assert all(list(row) == names for row in table.rows)
    assert [row["seed"] for row in table.rows] == [1] * 12 + [2] * 12
    by_key = {row["cell_key"]: row for row in table.rows}
    for record in grid():
        row = by_key[record.keys["cell_key"]]
        assert (row["cell"], row["aug"], row["experiment"]) == (record.cell, "proxy_attention", "auglens")
        assert (row["data"], row["model"]) == (record.params["data.name"], record.params["model.name"])
        assert (row["method"], row["target"]) == (record.params["maps.method"], "predicted")
        assert row["accuracy"] == record.metrics["accuracy"]  # to the last digit
        assert row["train_loss"] == record.curves["train_loss"][-1]
        assert row["aug_proxy_attention_proxy_threshold"] == record.params["aug.proxy_attention.proxy_threshold"]
        assert row["train_schedule"] == (None if record.seed == 1 else "cosine")
        assert row["aug_proxy_attention_steps"] == "[5, 10]"
        assert isinstance(row["started"], datetime)
    kinds = {column.name: (column.kind, column.type, column.source, column.filled) for column in table.columns}
    assert kinds["train_epochs"] == ("parameter", "integer", "train.epochs", 24)
    assert kinds["train_learning_rate"] == ("parameter", "number", "train.learning_rate", 24)
    assert kinds["train_nesterov"] == ("parameter", "boolean", "train.nesterov", 24)
    assert kinds["train_schedule"] == ("parameter", "text", "train.schedule", 12)
    assert kinds["accuracy"] == ("metric", "number", "accuracy", 24)
    assert kinds["undefined_metrics"] == ("metric", "number", "undefined_metrics", 24)
    assert "param_aug" not in kinds


def test_running_deleted_foreign_and_second_runs_are_no_rows(
    tracker: Tracker, make_record: Any, root: Path
) -> None:
    kept = tracker.publish(make_record("noise-1"))
    gone = tracker.publish(make_record("noise-2"))
    client, experiment = tracker.store.client, tracker.store.experiment_id
    client.delete_run(gone.run_id)
    with tracker.live(make_record("noise-3")):
        pass
    client.set_terminated(client.create_run(experiment).info.run_id)  # somebody's own
    again = client.create_run(experiment, tags=client.get_run(kept.run_id).data.tags)  # another machine's copy
    client.set_terminated(again.info.run_id)
    assert [row["run_id"] for row in read_table(None, "auglens", root).rows] == [kept.run_id]


def test_other_experiments_when_asked(tracker: Tracker, make_record: Any, root: Path) -> None:
    tracker.publish(make_record("noise-1"))
    with Tracker.connect(None, "other", root) as other:
        other.publish(make_record("noise-2"))
    assert [row["cell"] for row in read_table(None, "auglens", root).rows] == ["noise-1"]
    rows = read_table(None, "auglens", root, every=True).rows
    assert [(row["experiment"], row["cell"]) for row in rows] == [("auglens", "noise-1"), ("other", "noise-2")]


def test_all_pages_are_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAGE", 7)
    assert len({row["run_id"] for row in read_table(None, "auglens", project).rows}) == 24


def test_more_runs_than_mlflow_returns_at_once(tracker: Tracker, root: Path, make_record: Any) -> None:
    """1,203 runs, copied in the database from one published by us."""
    run_id = tracker.publish(make_record(files={})).run_id
    with sqlite3.connect(root / "mlflow.db") as connection:
        for table in ("runs", "tags", "params", "latest_metrics"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            picked = ", ".join(":id" if name == "run_uuid" else name for name in names)
            connection.executemany(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {picked} FROM {table} WHERE run_uuid = :old",
                [{"id": f"{index:032x}", "old": run_id} for index in range(1, 1203)],
            )
        connection.execute("UPDATE tags SET value = run_uuid WHERE key = 'auglens.cell_key'")
    answer = runs.ask(runs.arrow(read_table(None, "auglens", root)), "select count(*) n, sum(epochs) e from runs")
    assert runs.frame(answer).to_dict("records") == [{"n": 1203, "e": 3609.0}]


def test_nothing_is_made_by_asking(tmp_path: Path, root: Path, project: Path) -> None:
    with pytest.raises(ValueError, match="no such file") as caught:
        read_table(None, "auglens", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'mlflow.db'}: no such file; run `dvc repro`: its last stages publish every run"
    )
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(ValueError, match="finished cell") as caught:
        read_table(None, "mine", root)
    assert str(caught.value) == (
        "runs: expected a finished cell in experiment 'mine', got none; run `dvc repro`, or try --all"
    )
    with sqlite3.connect(root / "mlflow.db") as connection:
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'mine'").fetchone() == (0,)
    before = (project / "mlflow.db").read_bytes()
    read_table(None, "auglens", project, every=True)
    assert (project / "mlflow.db").read_bytes() == before


def found(params: dict[str, str], metrics: dict[str, float] | None = None, seed: int = 1) -> tuple[str, FoundRun]:
    keys = {"train_key": "t", "map_key": "m", "study_key": "s", "cell_key": f"c{seed}"}
    return "e", FoundRun(f"r{seed}", f"noise-{seed}", "noise", seed, keys, "", "", {}, metrics or {}, seed, params)


def test_names_that_collide_are_told_apart() -> None:
    params = {"a.b": "1", "a_b": "2", "A.B": "3", "param_a_b": "4", "data": "5", "2d": "6", "sp ace-x/y": "7"}
    table = tabulate([found({**params, "aug": "noise", "seed": "1"}, {"a_b": 0.5, "SEED": 0.25})])
    columns = {column.source: column.name for column in table.columns if column.kind == "parameter"}
    assert columns == {
        "2d": "param_2d",
        "A.B": "A_B",
        "a.b": "param_a_b",
        "a_b": "param_a_b_2",
        "data": "param_data",
        "param_a_b": "param_param_a_b",
        "sp ace-x/y": "sp_ace_x_y",
    }
    (row,) = table.rows
    assert (row["metric_a_b"], row["metric_SEED"], row["seed"]) == (0.5, 0.25, 1)
    names = [name.casefold() for name in row]
    assert len(set(names)) == len(names) == len(table.columns)
    answer = runs.ask(runs.arrow(table), 'select "param_a_b", a_b, metric_a_b from runs').to_pylist()
    assert answer == [{"param_a_b": 1, "A_B": 3, "metric_a_b": 0.5}]


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", "-20", None], "integer", [1, -20, None]),
        (["1", "0.5", "1e-05", "None"], "number", [1.0, 0.5, 1e-5, None]),
        (["True", "False", ""], "boolean", [True, False, None]),
        (["True", "1"], "text", ["True", "1"]),
        (["007", "1.5"], "number", [7.0, 1.5]),
        (["1" * 30], "number", [float("1" * 30)]),
        (["1_000"], "text", ["1_000"]),
        (["١"], "text", ["١"]),
        (["[0.5, 1.5]", "3"], "text", ["[0.5, 1.5]", "3"]),
        ([None, "None"], "text", [None, None]),
        (["inf", "2"], "number", [float("inf"), 2.0]),
    ],
)
def test_text_becomes_the_narrowest_type(texts: list[str | None], kind: str, values: list[Any]) -> None:
    got = typed(texts)
    assert got == (kind, values)
    assert [type(value) for value in got[1]] == [type(value) for value in values]


# --- questions


def test_the_example_question_of_protocol_d(project: Path, tmp_path: Path) -> None:
    expected = []
    for network in NETWORKS:
        wanted = {"model.name": network, "data.name": "dogs", "maps.method": "gradcam++"}
        wanted["aug.proxy_attention.proxy_threshold"] = 0.5  # type: ignore[assignment]
        scores = [r.metrics["accuracy"] for r in grid() if wanted.items() <= r.params.items()]
        assert len(scores) == 2
        expected.append({"model_name": network, "best": max(scores)})
    out = tmp_path / "best.parquet"
    assert cli.main(["runs", "--sql", BEST, "--to", str(out)]) == 0
    assert pd.read_parquet(out).to_dict("records") == expected
    # One number over all networks.
    overall = (
        "select max(accuracy) a from runs where method = 'gradcam++' and data = 'dogs' and "
        + BEST.split(" and ")[-1].partition(" group")[0]
    )
    answer = runs.ask(runs.arrow(read_table(None, "auglens", project)), overall).to_pylist()
    assert answer == [{"a": max(row["best"] for row in expected)}]


def test_files_hold_all_or_the_answer(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("all.parquet", "all.csv"):
        assert cli.main(["runs", "--to", str(tmp_path / name)]) == 0
    parquet, csv = pd.read_parquet(tmp_path / "all.parquet"), pd.read_csv(tmp_path / "all.csv")
    assert list(parquet) == list(csv)
    assert len(parquet) == len(csv) == 24
    dtypes = {name: str(parquet[name].dtype) for name in ("seed", "train_epochs", "train_nesterov", "started")}
    assert dtypes == {
        "seed": "Int64",
        "train_epochs": "Int64",
        "train_nesterov": "boolean",
        "started": "datetime64[ms]",
    }
    pd.testing.assert_series_equal(parquet["accuracy"], csv["accuracy"], rtol=1e-9)
    capsys.readouterr()
    assert cli.main(["runs", "--columns", "cell, accuracy", "--to", str(tmp_path / "two.csv")]) == 0
    assert capsys.readouterr().out == f"runs: 24 rows, 2 columns: {tmp_path / 'two.csv'}\n"
    assert list(pd.read_csv(tmp_path / "two.csv")) == ["cell", "accuracy"]


def test_results_of_every_kind_can_be_saved(project: Path, tmp_path: Path) -> None:
    sql = (
        "select list(seed order by seed)[1:2] l, {'a': 1} s, 1.5::decimal(4, 2) d, sum(train_epochs) e, "
        "interval 1 day i, uuid() u, null n, count(*) c, max(started) t, bool_or(train_nesterov) b from runs"
    )
    out = tmp_path / "kinds.parquet"
    assert cli.main(["runs", "--sql", sql, "--to", str(out)]) == 0
    (row,) = pd.read_parquet(out).to_dict("records")
    assert (row["l"], row["d"], row["e"], row["c"], row["b"]) == ("[1, 1]", 1.5, 24 * 30, 24, True)
    assert isinstance(row["t"], pd.Timestamp)


def test_a_terminal_shows_what_fits(
    project: Path, on_terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(200)
    assert cli.main(["runs"]) == 0
    head, first, *_, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["cell", "data", "model", "method", "target", "accuracy", "mad_mean", "started"]
    assert first.split()[:3] == ["proxy_attention-1", "dogs", "resnet50"]
    assert first.split()[5] == "0"
    total = len(read_table(None, "auglens", project).columns)
    assert last == f"24 runs, 8 of {total} columns: --columns '*' shows all, --columns lists them"
    on_terminal(60)
    assert cli.main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines[:-1]) <= 60
    assert lines[0].split() == ["cell", "data", "model", "method", "target"]
    assert cli.main(["runs", "--columns", "*"]) == 0
    assert len(capsys.readouterr().out.splitlines()[0].split()) == total
    assert cli.main(["runs", "--sql", "select seed, count(*) n from runs group by seed order by seed"]) == 0
    assert capsys.readouterr().out == "seed   n\n   1  12\n   2  12\n2 rows\n"


def test_another_program_gets_csv(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["runs", "--sql", "select seed, avg(train_epochs) e from runs group by seed order by seed"]) == 0
    )
    assert capsys.readouterr().out == "seed,e\n1,30\n2,30\n"
    assert cli.main(["runs", "--columns"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "column,type,of,runs,in MLflow"
    assert "aug_proxy_attention_proxy_threshold,number,parameter,24,aug.proxy_attention.proxy_threshold" in lines
    assert "accuracy,number,metric,24,accuracy" in lines


def test_no_control_character_reaches_the_terminal() -> None:
    lines, shown = runs.aligned(
        pd.DataFrame({"a": ["\x1b[31mred\n", "x" * 50], "n": [0.123456, float("nan")]}), None
    )
    assert lines == [
        "a" + " " * 39 + "       n",
        "?[31mred?" + " " * 31 + "  0.1235",
        "x" * 39 + "…",
    ]
    assert shown == 2


# --- refusals

FILES = (
    "expected a SELECT that reads the table runs alone, got one that reaches for files or extensions, which is "
    "refused; --to saves results"
)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('/etc/passwd')",
        "select * from read_csv_auto('secret.csv')",
        "select * from read_parquet('secret.parquet')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from read_json('secret.json')",
        "select * from glob('/etc/*')",
        "select * from sniff_csv('secret.csv')",
        "select * from parquet_metadata('secret.parquet')",
        "select * from 'secret.csv'",
        'select * from "secret.parquet"',
        "select * from 's3://bucket/runs.parquet'",
        "select * from 'https://example.org/runs.csv'",
        "select aug from runs where aug in (select content from read_text('/etc/passwd'))",
        "with x as (copy (select 1) to 'never.csv') select * from x",
        "select * from query('select * from read_text(''/etc/passwd'')')",
    ],
)
def test_files_are_out_of_reach(project: Path, capsys: pytest.CaptureFixture[str], sql: str) -> None:
    for name in ("secret.csv", "secret.json"):
        Path(name).write_text("1")
    pd.DataFrame({"a": [1]}).to_parquet("secret.parquet")
    assert refusal(sql, capsys) == FILES


@pytest.mark.parametrize(
    ("sql", "got"),
    [
        ("copy runs to 'never.csv'", "COPY"),
        ("copy (select 1) to 'never.parquet'", "COPY"),
        ("export database 'never'", "EXPORT"),
        ("attach 'mlflow.db'", "ATTACH"),
        ("install httpfs", "LOAD"),
        ("load httpfs", "LOAD"),
        ("pragma database_list", "PRAGMA"),
        ("set threads = 1", "SET"),
        ("set enable_external_access = true", "SET"),
        ("create table never as select 1", "CREATE"),
        ("create secret s (type s3)", "CREATE"),
        ("insert into runs select * from runs", "INSERT"),
        ("delete from runs", "DELETE"),
        ("drop view runs", "DROP"),
        ("call pragma_version()", "CALL"),
        ("select 1; select 2", "SELECT, SELECT"),
        ("select 1; copy runs to 'never.csv'", "SELECT, COPY"),
        ("", "none"),
        ("-- nothing", "none"),
    ],
)
def test_only_one_select_is_run(project: Path, capsys: pytest.CaptureFixture[str], sql: str, got: str) -> None:
    assert refusal(sql, capsys) == f"expected one SELECT over the table runs, got {got}; --to saves results"


@pytest.mark.parametrize(
    ("sql", "start"),
    [
        ("select * from '/etc/passwd'", "no table '/etc/passwd'; the nearest is runs, the only one"),
        ("with x as (insert into runs (aug) values ('a') returning aug) select * from x", "runs is not a"),
        ("with x as (delete from runs returning *) select * from x", "Can only delete from base table"),
        ("select getenv('HOME')", "Scalar Function with name getenv does not exist!"),
        ("select * from sqlite_scan('mlflow.db', 'runs')", "Table Function with name "),
        (
            "select * from table_that_python_has",
            "no table 'table_that_python_has'; the nearest is runs, the only one",
        ),
        ("select * from force_checkpoint()", "Cannot FORCE CHECKPOINT"),
    ],
)
def test_ways_around_are_refused(project: Path, capsys: pytest.CaptureFixture[str], sql: str, start: str) -> None:
    table_that_python_has = pd.DataFrame({"a": [1]})
    assert len(table_that_python_has) == 1
    assert refusal(sql, capsys).startswith(start)


def test_the_seal_holds_without_the_check_of_statements(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two locks: what DuckDB itself refuses, were anything else than a SELECT let through."""
    import duckdb

    with duckdb.connect(":memory:", config=runs.SEALED) as connection:
        connection.execute("SET lock_configuration = true")
        connection.execute("BEGIN TRANSACTION READ ONLY")
        for sql in (
            "copy (select 1) to 'never.csv'",
            "attach 'never.db'",
            "export database 'never'",
            "install httpfs",
            "load httpfs",
            "set enable_external_access = true",
            "set lock_configuration = false",
            "create table t as select 1",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)
            connection.execute("ROLLBACK")
            connection.execute("BEGIN TRANSACTION READ ONLY")
        assert connection.execute("select * from duckdb_secrets()").fetchall() == []
    assert not list(Path.cwd().glob("never*"))


ALL = "(all of them: `auglens runs --columns`)"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "select aug, max(accurcy) from runs group by aug",
            f"no column 'accurcy'; the nearest are accuracy {ALL}",
        ),
        ("select r.Accurcy from runs r", f"no column 'Accurcy'; the nearest are accuracy {ALL}"),
        (
            "select * from runs where maps_metod = 'x'",
            f"no column 'maps_metod'; the nearest are maps_method, maps_target, method {ALL}",
        ),
        ("select * exclude (zzzzz) from runs", f"no column 'zzzzz'; none is near {ALL}"),
        (
            'select * from runs where data = "dogs"',
            f"no column 'dogs'; none is near {ALL}; text goes in single quotes",
        ),
        (
            "select aug from runs order by train_epoch",
            f"no column 'train_epoch'; the nearest are train_epochs, train_key, train_loss {ALL}",
        ),
        ("select * from run", "no table 'run'; the nearest is runs, the only one"),
        ("select maps.method from runs", "'maps.method' is the column maps_method"),
        (
            "select aug.proxy_attention.proxy_threshold from runs",
            "'aug.proxy_attention.proxy_threshold' is the column aug_proxy_attention_proxy_threshold",
        ),
        ("select model.name from runs", "'model.name' is the column model_name"),
        (
            "selec aug from runs",
            'syntax error at or near "selec"; correct the query (columns: `auglens runs --columns`)',
        ),
        (
            "select * from runs where",
            'syntax error at or near "where"; correct the query (columns: `auglens runs --columns`)',
        ),
        (
            "select cast(cell as integer) from runs",
            "Could not convert string 'proxy_attention-1' to INT32 when casting from source column cell; correct "
            "the query (columns: `auglens runs --columns`)",
        ),
        (
            "select aug, aug from runs",
            "expected each column once, got 'aug' again; name one with AS",
        ),
    ],
)
def test_mistakes_get_one_line(project: Path, capsys: pytest.CaptureFixture[str], sql: str, message: str) -> None:
    assert refusal(sql, capsys) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "runs.xlsx"], "--to runs.xlsx: expected a file that ends in .parquet or .csv; rename it"),
        (["--columns", "cell,acuracy"], f"--columns: no column 'acuracy'; the nearest are accuracy {ALL}"),
        (
            ["--sql", "select 1", "--columns", "a"],
            "--columns: expected alone, got it with --sql; name the columns in the SELECT",
        ),
    ],
)
def test_other_mistakes(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["runs", *arguments]) == 2
    assert capsys.readouterr().err == f"auglens runs: {message}\n"


def test_what_stood_there_survives_a_failure(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs.csv"
    out.write_text("before")

    def half(self: pd.DataFrame, path: Path, **_: Any) -> None:
        Path(path).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    assert cli.main(["runs", "--to", str(out)]) == 2
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]
