"""The batch-size finder: the doubling by hand and at random, and the command on real trainings and real limits."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auglens import batch_size
from auglens.batch_size import Attempt, find, is_out_of_memory, predict
from auglens.cli import main
from auglens.commands import batch_size as command
from auglens.commands import memory
from auglens.commands.compose import composed

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000
CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


class Machine:
    """A step of n images holds `base` + n · `each` bytes and takes 1 + n / 100 seconds; `room`: all there is."""

    def __init__(self, base: int, each: int, room: float = float("inf"), error: Exception | None = None) -> None:
        self.base, self.each, self.room, self.error = base, each, room, error
        self.tried: list[int] = []

    def holds(self, size: int) -> int:
        return self.base + size * self.each

    def __call__(self, size: int) -> Attempt:
        self.tried.append(size)
        if self.holds(size) > self.room:
            raise self.error or MemoryError
        return Attempt(1 + size / 100, self.holds(size), self.base)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        RuntimeError(CPU),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_doubles_until_memory_runs_out(error: Exception) -> None:
    machine = Machine(100, 10, room=500, error=error)
    found = find(machine, limit=1024)
    assert machine.tried == [2, 4, 8, 16, 32, 64]
    assert list(found.attempts) == [2, 4, 8, 16, 32]
    assert (found.ended, found.ended_at, found.expected_bytes) == ("memory", 64, None)
    assert (found.largest, found.fastest) == (32, 32)  # 32 / 1.32 s are the most images a second


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory"), KeyError(1)]
)
def test_another_error_is_not_taken_for_the_end_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as caught:
        find(Machine(100, 10, room=150, error=error))
    assert caught.value is error


@pytest.mark.parametrize(("limit", "tried"), [(2, [2]), (3, [2]), (100, [2, 4, 8, 16, 32, 64]), (8, [2, 4, 8])])
def test_tries_nothing_larger_than_the_limit(limit: int, tried: list[int]) -> None:
    machine, told = Machine(100, 10), []
    found = find(machine, limit=limit, on_attempt=lambda size, done: told.append((size, done.peak_bytes)))
    assert machine.tried == tried == list(found.attempts)
    assert (found.ended, found.ended_at) == ("limit", 2 * tried[-1])
    assert told == [(size, machine.holds(size)) for size in tried]


def test_a_limit_below_the_smallest_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^limit: expected 2 images or more, got 1; raise it$"):
        find(Machine(1, 1), limit=1)


def test_nothing_fits() -> None:
    found = find(Machine(100, 10, room=110))
    assert (found.attempts, found.ended, found.ended_at) == ({}, "memory", 2)
    found = find(Machine(100, 10), bound=110)
    assert (found.attempts, found.ended, found.ended_at, found.expected_bytes) == ({}, "bound", 2, 120)


def test_prediction_by_hand() -> None:
    assert predict({}) is None
    # All that the step of 2 held beside the 100 bytes before it, once more.
    assert predict({2: Attempt(1, 130, 100)}) == 160
    # 2 images more were 14 bytes more, so 4 more are 28.
    assert predict({2: Attempt(1, 130, 100), 4: Attempt(1, 144, 100)}) == 172
    # It never shrinks.
    assert predict({2: Attempt(1, 130, 100), 4: Attempt(1, 128, 100)}) == 128
    assert predict({2: Attempt(1, 130, 140)}) == 130


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.floats(0, 3e9))
def test_with_a_bound_exactly_the_sizes_below_it_are_tried(base: int, each: int, bound: float) -> None:
    machine = Machine(base, each)
    found = find(machine, bound=bound)
    fit = [size for size in (2**k for k in range(1, 11)) if machine.holds(size) <= bound]
    assert list(found.attempts) == fit
    assert machine.tried == (fit or [2])
    if fit and found.ended == "bound":
        assert found.expected_bytes == machine.holds(found.ended_at) > bound


def test_a_size_that_held_more_than_was_expected_does_not_fit() -> None:
    """Growth that sets in late: 8 is expected to hold 110, holds 300, and is not recommended."""
    held = {2: 100, 4: 105, 8: 300}
    found = find(lambda size: Attempt(1, held[size], 90), bound=200)
    assert list(found.attempts) == [2, 4]
    assert (found.ended, found.ended_at, found.expected_bytes) == ("bound", 8, 300)


def test_the_fastest_is_not_the_largest_and_of_equals_the_smallest() -> None:
    seconds = {2: 1.0, 4: 0.5, 8: 1.0, 16: 4.0}  # 2, 8, 8, 4 images a second
    found = find(lambda size: Attempt(seconds[size], 1), limit=16)
    assert (found.largest, found.fastest) == (16, 4)


def group(folder: Path, limit: object, held: int, **stat: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first = "limit_in_bytes" in str(limit)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{str(limit).removeprefix('limit_in_bytes ')}\n")
    (folder / names[1]).write_text(f"{held}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stat.items()))


def machine(root: Path, groups: str, kilobytes: int = 8000) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(
        f"MemTotal:       16000 kB\nMemFree:         100 kB\nMemAvailable:    {kilobytes} kB\n"
    )
    (root / "proc/self/cgroup").write_text(groups)
    return root


def test_available_is_the_machine_s_where_no_group_has_a_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/user/mine\n")
    assert memory.available(root) == 8000 * 1024
    group(root / "sys/fs/cgroup/user/mine", "max", 500)
    assert memory.available(root) == 8000 * 1024
    group(root / "sys/fs/cgroup/user/mine", 10**15, 500)
    assert memory.available(root) == 8000 * 1024


def test_available_in_a_group_of_version_2_counts_the_cache_that_gives_way(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/user/mine\n")
    group(root / "sys/fs/cgroup/user/mine", 3_000_000, 1_000_000, anon=1, inactive_file=200_000)
    assert memory.available(root) == 2_200_000
    group(root / "sys/fs/cgroup/user", 1_500_000, 1_000_000)  # a group above it has less left
    assert memory.available(root) == 500_000
    group(root / "sys/fs/cgroup/user", 900_000, 1_000_000)  # lowered after the fact
    assert memory.available(root) == 0


def test_available_in_a_container_whose_group_stands_at_the_top(tmp_path: Path) -> None:
    root = machine(tmp_path, "5:devices:/\n4:cpu,memory:/docker/0123\n1:name=systemd:/\n")
    group(root / "sys/fs/cgroup/memory", "limit_in_bytes 4000000", 1_000_000, total_inactive_file=100_000)
    assert memory.available(root) == 3_100_000


def test_available_without_proc_is_all_there_is(tmp_path: Path) -> None:
    assert memory.available(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_peak_starts_anew_and_sees_what_was_given_back() -> None:
    code = (
        "from auglens.commands.memory import peak, restart_peak\n"
        "held = b'1' * 300_000_000\n"
        "del held\n"
        "before = peak(), restart_peak(), peak()\n"
        "held = b'1' * 200_000_000\n"
        "del held\n"
        "print(*before, peak())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, now, again, last = map(int, result.stdout.split())
    assert first > 300 * MEGABYTE
    assert again < now + 20 * MEGABYTE < 150 * MEGABYTE
    assert 200 * MEGABYTE < last < 300 * MEGABYTE


def step(held: int) -> Attempt:
    return Attempt(float(len(np.ones(held, np.uint8))), os.getpid())


def test_a_process_of_its_own_gives_its_result_and_its_errors_in_one_line() -> None:
    done = command.apart(step, 3)
    assert done.seconds == 3
    assert done.peak_bytes != os.getpid()
    with pytest.raises(ValueError, match=r"^negative dimensions are not allowed$"):
        command.apart(step, -1)
    message = r"^the process that tried it ended with exit code 3; try again$"
    with pytest.raises(ValueError, match=message):
        command.apart(os._exit, 3)


def test_a_process_that_the_system_kills_ran_out_of_memory() -> None:
    with pytest.raises(MemoryError):
        command.apart(signal.raise_signal, signal.SIGKILL)
    with pytest.raises(ValueError, match=f"exit code -{int(signal.SIGTERM)}; try again$"):
        command.apart(signal.raise_signal, signal.SIGTERM)


def test_a_real_allocation_that_fails_is_memory_that_ran_out() -> None:
    with pytest.raises(MemoryError):  # numpy's, on every machine: more than an address space
        command.apart(step, 1 << 60)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with its data prepared."""
    folder = tmp_path_factory.mktemp("project")
    write(folder)
    subprocess.run([sys.executable, "-m", "auglens.cli", "prepare"], cwd=folder, check=True, capture_output=True)
    return folder


def write(folder: Path, *overrides: str) -> None:
    source = f"data.source={ROOT / 'src/auglens/data/sources/shapes.py'}"
    small = [source, "data.train=60", "data.test=20", "train.threads=1", "model.image_size=32"]
    (folder / "params.yaml").write_text(composed([*small, *overrides], ROOT / "conf"))


def run(folder: Path, *arguments: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """`auglens batch-size` in `folder`; limit: bytes of address space that it and its processes have each."""

    def bind() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "auglens.cli", "batch-size", *arguments],
        cwd=folder, capture_output=True, text=True, preexec_fn=bind, timeout=500,
    )  # fmt: skip


def rows(output: str) -> dict[int, tuple[str, str]]:
    """{batch size: (images/s, peak memory)} of the table."""
    found = re.findall(r"^ *(\d+)  +(\S+)  +(–|\S+ [GM]B)(?: does not fit)?$", output, re.MULTILINE)
    return {int(size): (rate, held) for size, rate, held in found}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_the_command_on_a_real_training(prepared: Path) -> None:
    write(prepared)
    before = state(prepared)
    result = run(prepared, "--limit", "9")
    assert (result.returncode, result.stderr) == (0, "")
    head, columns, *table, last = result.stdout.splitlines()
    assert re.fullmatch(
        r"batch-size: test_resnet at 32 pixels, fp32, up to 0\.8 of the [\d.]+ [GM]B available", head
    )
    assert columns.split() == ["batch", "size", "images/s", "peak", "memory"]
    assert list(rows(result.stdout)) == [2, 4, 8] == [int(line.split()[0]) for line in table]
    rates = {size: float(rate) for size, (rate, _) in rows(result.stdout).items()}
    fastest = max(rates, key=lambda size: rates[size])
    assert last == (
        f"batch-size: largest that fits 8 (no larger one tried: --limit 9), fastest {fastest}"
        f" ({rates[fastest]} images/s): -S train.batch_size={fastest}"
    )
    assert state(prepared) == before


def faked(monkeypatch: pytest.MonkeyPatch, folder: Path, room: float = float("inf")) -> None:
    """The command in `folder`, on a machine that holds `room` bytes instead of trainings."""
    fake = Machine(250 * MEGABYTE, MEGABYTE, room)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(command, "apart", lambda function, settings, splits, size, share: fake(size))


def test_no_batch_is_larger_than_the_training_images(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(prepared)
    faked(monkeypatch, prepared)
    assert main(["batch-size"]) == 0
    said = capsys.readouterr().out
    assert rows(said)[32] == ("24.2", "282 MB")
    assert list(rows(said)) == [2, 4, 8, 16, 32]
    assert said.endswith(
        "batch-size: largest that fits 32 (no larger one tried: training images 48), fastest 32 (24.2 images/s):"
        " -S train.batch_size=32\n"
    )


def test_on_a_gpu_its_own_memory_ends_the_doubling_and_not_the_processor_s(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(prepared, "train.device=auto")
    faked(monkeypatch, prepared, room=260 * MEGABYTE)
    monkeypatch.setattr(command, "_device", lambda name: "cuda")
    monkeypatch.setattr(command, "available", lambda: 1)
    assert main(["batch-size", "--memory", "0.7"]) == 0
    head, _, *table, last = capsys.readouterr().out.splitlines()
    assert head == "batch-size: test_resnet at 32 pixels, fp32, up to 0.7 of the GPU's memory"
    assert [line.split() for line in table] == [
        ["2", "2.0", "252", "MB"],
        ["4", "3.8", "254", "MB"],
        ["8", "7.4", "258", "MB"],
        ["16", "–", "–", "does", "not", "fit"],
    ]
    assert last == "batch-size: largest that fits 8, fastest 8 (7.4 images/s): -S train.batch_size=8"


def test_the_bound_is_kept(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real steps whose memory grows by tens of megabytes an image: none is tried that would pass the bound."""
    write(prepared, "model.image_size=256")
    monkeypatch.chdir(prepared)
    tried: dict[int, Attempt] = {}
    apart = command.apart

    def watched(function: object, settings: object, splits: str, size: int, share: float) -> Attempt:
        tried[size] = apart(command.attempt, settings, splits, size, share)
        return tried[size]

    monkeypatch.setattr(command, "apart", watched)
    assert main(["batch-size", "--limit", "8"]) == 0
    assert list(tried) == [2, 4, 8]
    four, eight = tried[4].peak_bytes, tried[8].peak_bytes
    assert eight - four > 40 * MEGABYTE
    tried.clear()
    capsys.readouterr()
    monkeypatch.setattr(command, "available", lambda: four + eight)  # half of it lies between the two
    assert main(["batch-size", "--limit", "8", "--memory", "0.5"]) == 0
    assert list(tried) == [2, 4]
    assert all(done.peak_bytes <= (four + eight) / 2 for done in tried.values())
    said = capsys.readouterr().out
    assert re.search(r"^ +8 +– +\d+ MB does not fit$", said, re.MULTILINE)
    assert re.search(r"^batch-size: largest that fits 4, fastest [24] \(", said, re.MULTILINE)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS counts on Linux alone")
def test_an_allocation_that_fails_ends_the_doubling(prepared: Path) -> None:
    """The system refuses memory in the midst of a step, as it does without memory to overcommit."""
    write(prepared, "model.image_size=512")
    result = run(prepared, limit=1600 * MEGABYTE)
    assert (result.returncode, result.stderr) == (0, "")
    found = rows(result.stdout)
    *fit, failed = found
    assert fit
    assert failed < 64
    assert found[failed] == ("–", "–")
    assert f"batch-size: largest that fits {fit[-1]}, fastest " in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS counts on Linux alone")
def test_a_network_of_which_not_even_two_images_fit(prepared: Path) -> None:
    write(prepared, "model.image_size=1024", "model.output_stride=8")
    result = run(prepared, limit=1000 * MEGABYTE)
    assert result.returncode == 2
    assert re.fullmatch(
        r"auglens batch-size: train\.batch_size: not even 2 images fit into 0\.8 of the [\d.]+ [GM]B available;"
        r" choose a smaller model\.image_size or model\.name, a machine with more memory, or raise --memory\n",
        result.stderr,
    )


def test_a_segmentation_is_tried_with_its_own_network_masks_and_loss(tmp_path: Path) -> None:
    write(tmp_path, "model=unet", "model.image_size=32", "data.task=segmentation", "aug=none")
    subprocess.run([sys.executable, "-m", "auglens.cli", "prepare"], cwd=tmp_path, check=True, capture_output=True)
    result = run(tmp_path, "--limit", "2")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("batch-size: unet at 32 pixels, fp32, up to ")
    assert list(rows(result.stdout)) == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "1"], "--limit: expected 2 images or more, got 1; raise it"),
        (["--memory", "0"], "--memory: expected a share in (0, 1], got 0; correct it"),
        (["--memory", "1.5"], "--memory: expected a share in (0, 1], got 1.5; correct it"),
        (["--memory", "nan"], "--memory: expected a share in (0, 1], got nan; correct it"),
        ([], "data/splits: no prepared data; run `dvc repro prepare`"),
    ],
)
def test_refusals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["batch-size", *arguments]) == 2
    assert capsys.readouterr().err == f"auglens batch-size: {message}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_what_the_network_cannot_do_is_said_in_one_line(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(prepared, "model.name=resnet81")
    monkeypatch.chdir(prepared)
    assert main(["batch-size"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("auglens batch-size: model.name: expected a timm model, got 'resnet81'; did you mean ")
    assert said.count("\n") == 1


def test_the_command_line_has_the_numbers_of_the_module() -> None:
    assert (batch_size.LARGEST, command.SHARE) == (1024, 0.8)
    from auglens.cli import parser

    given = parser().parse_args(["batch-size"])
    assert (given.limit, given.memory) == (batch_size.LARGEST, command.SHARE)
