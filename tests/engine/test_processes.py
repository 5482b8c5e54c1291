"""Several processes against one. The others are real: they meet over gloo, and run `scenes` beside this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import elegan
from elegan import cli, terminal
from elegan.data import Batches, open_data, prepare
from elegan.engine import checkpoint, processes
from elegan.engine.average import Average
from elegan.engine.loop import Listener, Meter
from elegan.engine.processes import ALONE, TORCHRUN, Processes, as_in_memory, help_out, helped, of_torchrun
from elegan.engine.turns import Turns
from elegan.errors import EleganError, NotFiniteError, OptionError, RunError
from elegan.game import Batch
from elegan.networks.layers import BatchNorm2d
from elegan.tasks import job as job_module
from elegan.tasks.job import Job, make_job
from elegan.tasks.train import check_same_data, planned_processes

TWO = Processes(count=2, local_count=2)
ROUNDS = 20
SMALL = {"batch": 8, "precision": "fp32", "mirror": True, "average_half_life": 50.0}
CONVOLUTIONS = {**SMALL, "width": 8, "discriminator_width": 8, "latent": 8, "discriminator_norm": "none"}

GAMES: dict[str, dict[str, Any]] = {
    "wgan_gp": {**CONVOLUTIONS, "model": "wgan_gp", "lr": 1e-3, "discriminator_lr": 1e-3},
    "wgan_gp in micro-batches": {**CONVOLUTIONS, "model": "wgan_gp", "accumulate": 2, "lr": 1e-3, "discriminator_lr": 1e-3},
    "r1": {**CONVOLUTIONS, "model": "cgan", "penalty": "r1", "lr": 1e-3, "discriminator_lr": 1e-3},
    "r1 lazy, in micro-batches": {**CONVOLUTIONS, "model": "cgan", "penalty": "r1", "penalty_interval": 4, "accumulate": 2, "clip": 0.5},
    "ada and lecam": {**CONVOLUTIONS, "model": "cgan", "augment": "ada", "augment_probability": 0.3, "augment_images": 500, "lecam": 0.3},
    "extragradient": {**SMALL, "model": "gan", "update": "extragradient", "augment": "translation+cutout"},
}
"""Games in which each sample's loss stands alone; batch norm is taken out of the generators."""


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of noise in two classes; `make` finds it, in the other processes too."""
    folder = tmp_path_factory.mktemp("data") / "images"
    generator = np.random.default_rng(0)
    for i in range(40):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (8, 8), dtype=np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_PROCESSES_DATA", str(folder))
        yield folder


def make(options: dict[str, Any], mine: Processes) -> Job:
    asked = {"data": os.environ["TEST_PROCESSES_DATA"], "preset": "none", **options}
    return make_job(asked, strict=False, listener=Listener(), processes=mine)


def turns_of(job: Job, *, normed: bool = False) -> Turns:
    gan = job.build()
    if not normed:
        without_batch_norm(gan)
    average = Average(gan, job.recipe.average_half_life)
    return Turns(gan, job.recipe.optimizers, job.settings("fp32"), average)


def without_batch_norm(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNorm2d):
                setattr(parent, name, nn.Identity())


def play(options: dict[str, Any], mine: Processes, *, normed: bool = False) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The weights and their average after some rounds, and the mean readings of those rounds."""
    job = make(options, mine)
    turns, meter = turns_of(job, normed=normed), Meter()
    for step in range(ROUNDS):
        meter.add(turns.round(job.batches().at(step), step))
    meter.average(mine)
    assert turns.average is not None
    weights = {name: weight.detach().clone() for name, weight in turns.gan.named_parameters()}
    averaged = {f"average {name}": weight.clone() for name, weight in turns.average.named_parameters()}
    return weights | averaged, meter.means()


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Of all weights together, relative to their length."""
    assert found.keys() == expected.keys()
    mine, theirs = (torch.cat([weights[name].flatten().float() for name in expected]) for weights in (found, expected))
    return float((mine - theirs).norm() / theirs.norm())


# what all processes do, in this order


def scenes(mine: Processes) -> dict[str, Any]:
    found: dict[str, Any] = {name: play(options, mine) for name, options in GAMES.items()}
    found["batch norm"] = play({**GAMES["r1"], "discriminator_norm": "batch", "penalty": "none"}, mine, normed=True)
    found["told"] = mine.tell({"from": mine.rank, "text": "\u00e4" * 3})
    found["mean"] = mean_of_layouts(mine)
    found["error of one"] = error_in(mine, raise_in_one)
    found["other data"] = error_in(mine, find_other_data)
    found["not finite"] = not_finite_in_one(mine)
    found["signals"] = signal_to_one(mine)
    return found


def layouts(rank: int) -> list[Tensor]:
    """Gradients as they come: channels last, contiguous, transposed, a number."""
    generator = torch.Generator().manual_seed(rank)
    maps = torch.randn(6, 5, 4, 3, generator=generator)
    return [maps.to(memory_format=torch.channels_last), maps.clone(), torch.randn(7, 3, generator=generator).t(), torch.tensor(float(rank))]


def mean_of_layouts(mine: Processes) -> list[Tensor]:
    tensors = layouts(mine.rank)
    mine.average(tensors)
    return tensors


def error_in(mine: Processes, do: Callable[[Processes], None]) -> str:
    try:
        do(mine)
    except EleganError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def raise_in_one(mine: Processes) -> None:
    with mine.together():
        if mine.rank == 1:
            raise OptionError("that is not to be had here.")


def find_other_data(mine: Processes) -> None:
    job = make(GAMES["extragradient"], mine)
    check_same_data(replace(job, data=replace(job.data, fingerprint=f"that of machine {mine.rank}")))


def not_finite_in_one(mine: Processes) -> str:
    """Only the last process sees the bad image."""
    job = make(GAMES["extragradient"], mine)
    turns, batch = turns_of(job), job.batches().at(0)
    if mine.rank == 1:
        batch.real[0] = torch.nan
    try:
        turns.round(batch, 0)
    except NotFiniteError as error:
        return str(error)
    return ""


def signal_to_one(mine: Processes) -> list[bool]:
    """Whether the game is to stop, after each of three rounds; the last process is told before the second."""
    job = make(GAMES["r1"], mine)
    turns, stopping = turns_of(job), []
    for step in range(3):
        turns.signals = ["SIGTERM"] if mine.rank == 1 and step == 1 else []
        turns.round(job.batches().at(step), step)
        stopping.append(turns.stopping)
    return stopping


def play_along(order: dict[str, Any]) -> None:
    """In the other process, which in the end breaks down alone."""
    torch.set_num_threads(1)
    with help_out(order["rank"], order["count"], order["port"]) as mine:
        scenes(mine)
        raise RunError("memory ended.")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What this process saw of the scenes, and the error that the other's end became."""
    try:
        with helped(TWO, "from test_processes import play_along; play_along", {}):
            seen = scenes(TWO)
            TWO.wait()
    except EleganError as error:
        seen["end"] = f"{type(error).__name__}: {error}"
    return seen


@pytest.mark.parametrize("name", GAMES)
def test_two_processes_train_what_one_trains(name: str, found: dict[str, Any]) -> None:
    (weights, readings), (expected, expected_readings) = found[name], play(GAMES[name], ALONE)
    assert distance(weights, expected) < 1e-6
    # Each weight too. A bias whose gradient is the difference of two equal sums learns from rounding, so it needs some room.
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)
    assert readings == pytest.approx(expected_readings, rel=1e-4)


def test_that_distance_sees_a_share_that_is_left_out() -> None:
    """Half of each batch alone is another game, by far."""
    half = replace(TWO, count=2)
    job = make(GAMES["r1"], half)
    turns = Turns(turns_of(job).gan, job.recipe.optimizers, replace(job.settings("fp32"), processes=ALONE))
    for step in range(ROUNDS):
        turns.round(job.batches().at(step), step)
    expected = {name: weight for name, weight in play(GAMES["r1"], ALONE)[0].items() if not name.startswith("average")}
    assert distance(dict(turns.gan.named_parameters()), expected) > 1e-2


def test_a_process_is_to_batch_norm_what_a_micro_batch_is(found: dict[str, Any]) -> None:
    weights, _ = found["batch norm"]
    expected, _ = play({**GAMES["r1"], "discriminator_norm": "batch", "penalty": "none", "accumulate": 2}, ALONE, normed=True)
    assert distance(weights, expected) < 1e-4


def test_the_mean_comes_back_in_each_tensors_own_layout(found: dict[str, Any]) -> None:
    for mean, one, other in zip(found["mean"], layouts(0), layouts(1), strict=True):
        torch.testing.assert_close(mean, (one + other) / 2)
        assert mean.stride() == one.stride()


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (4, 1, 5, 1), (1, 3, 1, 1)])
def test_a_dense_tensor_lies_end_to_end_without_a_copy(shape: tuple[int, ...]) -> None:
    tensor = torch.rand(shape).to(memory_format=torch.channels_last)
    assert as_in_memory(tensor).flatten().data_ptr() == tensor.data_ptr()


def test_what_the_first_tells_all_know(found: dict[str, Any]) -> None:
    assert found["told"] == {"from": 0, "text": "\u00e4" * 3}


def test_an_error_of_one_process_is_an_error_of_all_that_says_whose(found: dict[str, Any]) -> None:
    assert found["error of one"] == "OptionError: process 2 of 2: that is not to be had here."


def test_other_data_on_another_machine_is_refused(found: dict[str, Any]) -> None:
    assert found["other data"].startswith("DataError: process 2 of 2: ")
    assert found["other data"].endswith("holds other data here than for the first process. Give every machine the same.")


def test_a_number_that_is_not_finite_in_one_process_stops_all(found: dict[str, Any]) -> None:
    assert "no longer finite at step 0" in found["not finite"]


def test_a_signal_to_one_process_stops_all_after_the_same_round(found: dict[str, Any]) -> None:
    assert found["signals"] == [False, True, False]


def test_what_ended_another_process_is_said(found: dict[str, Any]) -> None:
    assert found["end"] == "RunError: process 2 of 2: memory ended."


# the shares of a batch


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_shares_of_a_batch_join_to_the_whole(count: int, data: Path) -> None:
    images, device = prepare(open_data(data)), torch.device("cpu")

    def parts(shares: Sequence[range | None]) -> list[Batch]:
        return [Batches(images, batch=12, seed=3, mirror=True, part=part, device=device).at(200) for part in shares]

    (whole,) = parts([None])
    shares = parts([Processes(rank, count).part(12) for rank in range(count)])
    assert torch.equal(torch.cat([share.real for share in shares]), whole.real)
    assert torch.equal(torch.cat([share.condition for share in shares if share.condition is not None]), whole.condition)
    for draw in ("normal", "uniform"):
        drawn = [getattr(share.random, draw)("z", 5) for share in shares]
        assert torch.equal(torch.cat(drawn), getattr(whole.random, draw)("z", 5))
    assert all(share.random.total == 12 for share in shares)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(OptionError, match="--batch: 8 images cannot be shared out to 3 processes; choose a multiple of 3"):
        make(GAMES["r1"], Processes(count=3))
    with pytest.raises(OptionError, match="2 processes x 3 micro-batches; choose a multiple of 6"):
        make({**GAMES["r1"], "batch": 9, "accumulate": 3}, TWO)


def test_each_of_several_processes_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    third = Processes(3, 4, local_rank=1, local_count=2)
    assert third.device(torch.device("cuda")) == torch.device("cuda", 1)
    assert third.device(torch.device("cpu")) == torch.device("cpu")
    assert ALONE.device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    monkeypatch.setattr(job_module, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionError, match=r"--device: got cuda:1 for 2 processes, which take a GPU each\. Give cuda"):
        make({**GAMES["r1"], "device": "cuda:1"}, TWO)
    with pytest.raises(OptionError, match="--device: 2 processes and 1 GPUs on this machine"):
        make({**GAMES["r1"], "device": "cuda"}, TWO)


def test_the_threads_of_a_machine_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 9)
    assert [Processes(count=n, local_count=n).threads() for n in (1, 2, 4, 16)] == [9, 4, 2, 1]
    assert Processes(count=2, local_count=1).threads() == 9  # on two machines
    pretend_torchrun(monkeypatch, 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(processes, "num_cores", lambda: 8)
    assert TWO.threads() == 4


def pretend_torchrun(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    for name, value in zip(TORCHRUN, ("1", str(count), "1", "127.0.0.1"), strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))


def test_torchrun_is_recognised_and_not_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_torchrun() is None
    monkeypatch.setenv("RANK", "1")  # other programs set one of them
    assert of_torchrun() is None
    pretend_torchrun(monkeypatch, 4)
    assert of_torchrun() == planned_processes(1) == Processes(1, 4, 1, 4)
    with pytest.raises(OptionError, match="--processes: got 2, but torchrun has started 4 already"):
        planned_processes(2)


def test_processes_count_from_one() -> None:
    with pytest.raises(OptionError, match="--processes counts from 1; got 0"):
        elegan.train("digits", processes=0)


# whole trainings

TRAINING = ["--model", "gan", "--width", "16", "--batch", "16", "--precision", "fp32", "--save-every", "10"]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: Path
) -> Callable[..., tuple[int, str]]:
    """command(*words): exit code and standard error of a training in a folder of its own, in this process and those it starts."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["elegan", "train", str(data), *TRAINING, *words])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    started: list[subprocess.Popen[bytes]] = []
    start = processes.start_helper

    def start_and_keep(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(processes, "start_helper", start_and_keep)
    return started


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def when_saved(do: Callable[[], None]) -> threading.Thread:
    """Do it as soon as something is saved in ./runs."""

    def wait() -> None:
        for _ in range(6000):
            if any(Path("runs").glob("*/checkpoints/step-*")):
                do()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def run_in(folder: Path | str) -> elegan.Run:
    """The only run there, all of whose saves are whole."""
    (path,) = Path(folder).iterdir()
    run = elegan.Run(path)
    for save in checkpoint.checkpoints(run.checkpoint_folder):
        checkpoint.load(save)
    return run


def weights_of(run: elegan.Run) -> dict[str, Tensor]:
    files, _ = checkpoint.load(checkpoint.checkpoints(run.checkpoint_folder)[0])
    return files["weights"]


def test_a_stopped_training_of_two_processes_goes_on_with_one(
    command: Callable[..., tuple[int, str]], helpers: list[subprocess.Popen[bytes]], two_threads: None
) -> None:
    thread = when_saved(lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, said = command("--steps", "5000", "--processes", "2")
    thread.join()
    assert code == 143
    assert "2 processes, about" in said
    stopped = run_in("runs")
    assert f"SIGTERM: saved at step {stopped.step} of 5000" in said
    assert [helper.returncode is not None for helper in helpers] == [True]
    assert 10 <= stopped.step < 5000
    assert (stopped.record["threads"], stopped.record["processes"]) == (1, 2)
    assert torch.get_num_threads() == 2
    steps = stopped.step + 20
    code, said = command("--steps", str(steps))
    assert code == 0
    assert "begun with --processes 2; with 1 it is the same" in said
    assert command("--steps", str(steps), "--out", "alone")[0] == 0
    assert run_in("runs").step == steps
    assert distance(weights_of(run_in("runs")), weights_of(run_in("alone"))) < 1e-3


def test_a_process_that_is_killed_ends_the_training_with_one_line(
    command: Callable[..., tuple[int, str]], helpers: list[subprocess.Popen[bytes]]
) -> None:
    thread = when_saved(lambda: helpers[0].kill())
    code, said = command("--steps", "5000", "--processes", "2")
    thread.join()
    assert code == 2
    assert said.strip().splitlines()[-1] == (
        "elegan: process 2 of 2 was ended by SIGKILL, perhaps for want of memory. The same command goes on from the last save."
    )
    assert "Traceback" not in said
    assert run_in("runs").step >= 10


def test_helpers_end_with_the_process_that_started_them() -> None:
    work = "from elegan.engine.processes import end_with_parent; end_with_parent(); import time; time.sleep(100); print"
    helper = processes.start_helper(work, {})
    assert os.getsid(helper.pid) == helper.pid  # Ctrl-C does not reach it
    assert helper.stdin is not None
    helper.stdin.close()
    assert helper.wait(60) == -signal.SIGKILL


PROGRAM = """
import os
from elegan.cli import main
main()
if os.path.exists("/proc"):
    names = [open(f"/proc/self/task/{thread}/comm").read() for thread in os.listdir("/proc/self/task")]
    assert not any("gloo" in name for name in names), names
"""
"""The command line. None of gloo's threads may outlive the training: at the end of Python they would abort the process."""


def test_torchrun_goes_on_with_a_run_as_one_process_would(command: Callable[..., tuple[int, str]], data: Path, tmp_path: Path) -> None:
    assert command("--steps", "6")[0] == 0
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(program)]
    done = subprocess.run([*torchrun, "train", str(data), *TRAINING, "--steps", "12"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Samples: ") == done.stderr.count("goes on from step 6 to 12") == 1
    for steps in ("6", "12"):
        assert command("--steps", steps, "--out", "alone")[0] == 0
    run, alone = run_in("runs"), run_in("alone")
    assert distance(weights_of(run), weights_of(alone)) < 1e-5
    assert [entry["step"] for entry in run.log] == [6, 12]
    readings = [name for name in alone.log[1] if name not in ("seconds", "images_per_second")]
    assert [run.log[1][name] for name in readings] == pytest.approx([alone.log[1][name] for name in readings], rel=1e-4)


def test_what_is_not_the_first_says_nothing_and_lets_the_first_speak(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    pretend_torchrun(monkeypatch, 2)
    monkeypatch.setattr(time, "sleep", waited.append)
    assert command("--dry-run") == (0, "")
    assert command("--processes", "2") == (2, "")
    assert waited == [terminal.LAST_WORD]
