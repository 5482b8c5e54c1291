from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.engine import checkpoint
from elegan.engine.loop import Training, load_optimizers, optimizer_tensors, stop_signals
from elegan.engine.turns import Turns
from elegan.errors import NotFiniteError, RunError
from elegan.rules.noise import InstanceNoise
from elegan.rules.two_player import Remedies

MakeTraining = Callable[..., tuple[Training, list[str]]]


def steps(training: Training) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoint.checkpoints(training.run.checkpoint_folder)]


def test_saves_come_at_their_interval_and_at_the_end(make_training: MakeTraining) -> None:
    training, _ = make_training(save=3, keep=2)
    assert training.train(7) is None
    assert training.step == 7
    assert steps(training) == [7, 6]
    assert sorted(path.name for path in (training.run.path / "samples").iterdir()) == [f"{n:08d}.png" for n in (3, 6, 7)]
    assert (training.run.path / "samples.png").read_bytes() == (training.run.path / "samples/00000007.png").read_bytes()


def test_the_log_has_means_over_its_interval_and_the_last_step(make_training: MakeTraining) -> None:
    every, _ = make_training(log=1, save=100)
    every.train(5)
    each = every.run.log
    shutil.rmtree(every.run.path)
    training, _ = make_training(log=2, save=100)
    training.train(5)
    assert [line["step"] for line in training.run.log] == [2, 4, 5]
    assert [line["images"] for line in training.run.log] == [16, 32, 40]
    for name in ("discriminator_loss", "generator_loss", "discriminator_gradient", "real_probability"):
        assert training.run.log[0][name] == pytest.approx((each[0][name] + each[1][name]) / 2, rel=1e-5)
        assert training.run.log[2][name] == pytest.approx(each[4][name], rel=1e-5)


def test_readings_of_players_that_rest_are_means_over_their_own_moves(make_training: MakeTraining) -> None:
    training, _ = make_training(log=4, save=100, discriminator_steps=2)
    kept: list[dict[str, Tensor]] = []
    play = training.play
    training.play = lambda: kept.append(play()) or kept[-1]  # type: ignore[method-assign]
    training.train(4)
    losses = [float(readings["generator_loss"]) for readings in kept if "generator_loss" in readings]
    assert len(losses) == 2
    assert training.run.log[0]["generator_loss"] == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_the_listener_hears_of_progress(make_training: MakeTraining) -> None:
    training, _ = make_training(log=2, save=100)
    heard: list[Any] = []
    training.listener.progress = heard.append
    training.train(4)
    assert [(p.step, p.steps, p.images) for p in heard] == [(2, 4, 16), (4, 4, 32)]
    assert heard[0].rate > 0
    assert heard[1].seconds_left == 0
    assert heard[1].seconds >= heard[0].seconds > 0
    assert "generator_loss" in heard[0].readings


def test_a_finished_run_can_be_extended_and_is_else_left_alone(make_training: MakeTraining) -> None:
    training, _ = make_training()
    training.train(2)
    again, _ = make_training()
    again.resume()
    before = {path: path.stat().st_mtime_ns for path in training.run.path.rglob("*.safetensors")}
    again.train(2)
    assert {path: path.stat().st_mtime_ns for path in training.run.path.rglob("*.safetensors")} == before
    again.train(3)
    assert steps(again) == [3, 2]


@pytest.mark.parametrize("when", range(1, 4))
def test_a_stop_at_any_step_loses_nothing(when: int, make_training: MakeTraining) -> None:
    straight, _ = make_training(save=2, average=20.0, normed=True)
    straight.train(4)
    expected, moments = straight.weights(), optimizer_tensors(straight.turns)
    shutil.rmtree(straight.run.path)
    stopped, _ = make_training(save=2, average=20.0, normed=True)
    play, played = stopped.play, []

    def play_and_stop() -> dict[str, Tensor]:
        played.append(1)
        if len(played) == when:
            os.kill(os.getpid(), signal.SIGTERM)
        return play()

    stopped.play = play_and_stop  # type: ignore[method-assign]
    assert stopped.train(4) == "SIGTERM"
    assert steps(stopped)[0] == stopped.step == when
    resumed, _ = make_training(save=2, average=20.0, normed=True)
    resumed.resume()
    assert resumed.train(4) is None
    torch.testing.assert_close(resumed.weights(), expected, rtol=0, atol=0)
    torch.testing.assert_close(optimizer_tensors(resumed.turns), moments, rtol=0, atol=0)
    assert [line["step"] for line in resumed.run.log] == [1, 2, 3, 4]


def test_a_second_signal_ends_at_once_and_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def stop_twice() -> None:
        with stop_signals() as received:
            os.kill(os.getpid(), signal.SIGINT)
            assert received == ["SIGINT"]
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        stop_twice()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_training_works_in_a_thread_that_may_set_no_handlers(make_training: MakeTraining) -> None:
    training, _ = make_training()
    thread = threading.Thread(target=training.train, args=(2,))
    thread.start()
    thread.join()
    assert steps(training) == [2]


def test_after_a_number_that_is_not_finite_the_last_good_save_stands(make_training: MakeTraining) -> None:
    training, _ = make_training(save=2)
    batches = training.batches
    training.batches = lambda step: batches(step) if step < 3 else poisoned(batches(step))
    with pytest.raises(NotFiniteError, match=r"at step 3 .* last good state is step 2, saved in .*checkpoints\. Lower the learning rates"):
        training.train(5)
    assert steps(training) == [2]
    checkpoint.load(training.run.checkpoint_folder / "step-00000002")
    assert not list(training.run.checkpoint_folder.glob(".*"))


def poisoned(batch: Any) -> Any:
    batch.real.fill_(torch.nan)
    return batch


def test_a_save_has_the_statistics_of_its_own_average(make_training: MakeTraining) -> None:
    """Batch norm statistics of the average are estimated for each save, from the averaged network's own samples."""
    training, _ = make_training(save=100, average=20.0, normed=True)
    training.train(2)
    files, _ = checkpoint.load(training.run.checkpoint_folder / "step-00000002")
    saved = files["weights"]["average.networks.generator.norm.running_mean"]
    network = training.turns.average.networks["generator"]  # type: ignore[union-attr]
    noise = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(0))
    true_mean = network.first(noise.view(-1, 3, 1, 1)).mean((0, 2, 3))
    torch.testing.assert_close(saved, true_mean, atol=0.25, rtol=0)
    assert not torch.allclose(saved, files["weights"]["gan.generator.norm.running_mean"])


def test_moments_come_back_in_the_memory_layout_of_their_weights(make_turns: Callable[..., Turns], batches: Any) -> None:
    first, second = make_turns(), make_turns()
    for turns in (first, second):
        weight = nn.Parameter(torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last))
        turns.weights = {"generator": [weight]}
        turns.optimizers = {"generator": torch.optim.Adam([weight], lr=0.1, fused=True)}
        weight.grad = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    first.optimizers["generator"].step()
    with torch.no_grad():
        second.weights["generator"][0].copy_(first.weights["generator"][0])
    load_optimizers(second, {name: value.clone(memory_format=torch.contiguous_format) for name, value in optimizer_tensors(first).items()})
    for turns in (first, second):
        turns.optimizers["generator"].step()
    assert torch.equal(first.weights["generator"][0], second.weights["generator"][0])
    moment = second.optimizers["generator"].state[second.weights["generator"][0]]["exp_avg"]
    assert moment.stride() == second.weights["generator"][0].stride()


def test_moments_of_other_weights_are_refused(make_training: MakeTraining) -> None:
    """The fused step would read beyond them."""
    training, _ = make_training()
    training.train(1)
    tensors = optimizer_tensors(training.turns)
    name = next(name for name, value in tensors.items() if value.dim())
    with pytest.raises(RunError, match=r"the saved optimizer of the .* does not fit its weights"):
        load_optimizers(training.turns, {**tensors, name: tensors[name][:1]})


def test_the_picture_of_what_is_seen_is_of_this_moment(make_training: MakeTraining) -> None:
    """With instance noise that falls to nothing, so that at the end there is none in it."""
    training, _ = make_training(remedies=Remedies(augment=lambda images, random, stream: images, instance_noise=InstanceNoise(2.0)))
    seen: list[float] = []
    views = training.gan.views
    training.gan.views = lambda batch: seen.append(batch.progress) or views(batch)  # type: ignore[func-returns-value, method-assign]
    training.train(4)
    assert seen == [0.5, 1.0]


def test_a_player_that_has_not_moved_has_no_moments_after_a_resume_either(make_training: MakeTraining) -> None:
    training, _ = make_training(save=100, discriminator_steps=5)
    training.train(2)
    resumed, _ = make_training(save=100, discriminator_steps=5)
    resumed.resume()
    assert resumed.turns.updates == {"discriminator": 2, "generator": 0}
    assert not resumed.turns.optimizers["generator"].state
    assert {name.split(".")[0] for name in optimizer_tensors(resumed.turns)} == {"discriminator"}
