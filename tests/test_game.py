from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import turn
from elegan.networks.layers import BatchNorm2d
from elegan.randomness import BatchRandomness, Randomness, SeedRandomness, key

SPEC = Spec(1, 2, 2, ("a", "b"))


class Pair(GAN):
    """Two players, one of them with a batch norm of elegan's and one of PyTorch's own."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.generator = nn.Sequential(nn.Conv2d(1, 1, 1), BatchNorm2d(1), nn.BatchNorm2d(1))
        self.helper = nn.Linear(2, 2)
        self.discriminator = nn.Sequential(nn.Conv2d(1, 1, 1), BatchNorm2d(1))

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"discriminator": (self.discriminator,), "generator": (self.generator, self.helper)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        yield from ()

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        images: Tensor = self.generator(random.normal("latent", 1, 2, 2))
        return images

    def learning(self) -> dict[str, set[bool]]:
        """What each player's weights ask for and its batch norms do: one answer, or a mixture."""
        return {
            name: {p.requires_grad for network in networks for p in network.parameters()}
            | {m.track_running_stats for network in networks for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
            for name, networks in self.players.items()
        }


def whole(total: int = 12, seed: int = 3, step: int = 5) -> BatchRandomness:
    return BatchRandomness(seed, step, 0, total, total)


def batch(size: int = 12) -> Batch:
    return Batch(torch.randn(size, *SPEC.shape), torch.arange(size), whole(size))


@pytest.mark.parametrize("draw", ["normal", "uniform"])
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 12])
def test_the_parts_of_a_batch_draw_the_numbers_of_the_whole(parts: int, draw: str) -> None:
    pieces = [getattr(part.random, draw)("latent", 3, 2) for part in batch().split(parts)]
    assert torch.equal(torch.cat(pieces), getattr(whole(), draw)("latent", 3, 2))


def test_parts_of_parts_draw_the_numbers_of_the_whole() -> None:
    pieces = [small.random.normal("latent", 3) for part in batch().split(2) for small in part.split(3)]
    assert torch.equal(torch.cat(pieces), whole().normal("latent", 3))


@pytest.mark.parametrize("other", [whole(seed=4), whole(step=6)])
def test_other_seeds_and_steps_draw_other_numbers(other: BatchRandomness) -> None:
    assert not torch.isclose(other.normal("latent", 3), whole().normal("latent", 3)).any()


def test_streams_share_no_numbers_and_the_same_stream_repeats() -> None:
    random = whole()
    assert not torch.isclose(random.normal("latent", 3), random.normal("other", 3)).any()
    assert torch.equal(random.normal("latent", 3), random.normal("latent", 3))


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    whole().normal("latent", 3)
    SeedRandomness((1, 2)).uniform("latent", 3)
    assert torch.equal(torch.rand(3), expected)


def test_numbers_have_the_distribution_they_are_named_for() -> None:
    random = whole(20_000)
    normal, uniform = random.normal("latent", 1), random.uniform("latent", 1)
    assert float(normal.mean()) == pytest.approx(0, abs=0.03)
    assert float(normal.std()) == pytest.approx(1, abs=0.03)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_a_row_depends_on_its_own_seed_alone(draw: str) -> None:
    rows = getattr(SeedRandomness((7, 3, 7, 11)), draw)("latent", 4)
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[1:2], getattr(SeedRandomness((3,)), draw)("latent", 4))
    assert not torch.isclose(rows[0], rows[1]).any()
    assert not torch.isclose(rows, getattr(SeedRandomness((7, 3, 7, 11)), draw)("other", 4)).any()


def test_keys_are_the_same_on_every_machine_and_tell_their_parts_apart() -> None:
    assert key(0, 1, "latent") == key(0, 1, "latent") == 3355025766186441002
    assert len({key(1, 2), key(2, 1), key(12), key("1", "2", ""), key()}) == 5
    assert all(0 <= key(i) < 2**63 for i in range(100))


@pytest.mark.parametrize("parts", [2, 3])
def test_split_cuts_images_and_conditions_alike(parts: int) -> None:
    original = batch()
    pieces = original.split(parts)
    assert [len(piece) for piece in pieces] == [12 // parts] * parts
    assert torch.equal(torch.cat([piece.real for piece in pieces]), original.real)
    assert torch.cat([piece.condition for piece in pieces if piece.condition is not None]).tolist() == list(range(12))
    assert not any(piece.whole for piece in pieces)


def test_a_batch_in_one_part_is_the_batch() -> None:
    original = batch()
    assert original.split(1) == [original]
    assert original.whole


def test_split_keeps_the_absence_of_a_condition() -> None:
    assert [part.condition for part in Batch(torch.randn(4, 1, 2, 2), None, whole(4)).split(2)] == [None, None]


@pytest.mark.parametrize("parts", [5, 13])
def test_split_never_loses_samples(parts: int) -> None:
    with pytest.raises(ValueError):
        batch(12).split(parts)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_in_a_turn_only_the_player_learns(player: str) -> None:
    gan = Pair()
    with turn(gan, player):
        assert gan.learning() == {name: {name == player} for name in gan.players}


def test_in_nobodys_turn_nobody_learns() -> None:
    gan = Pair()
    with turn(gan, None):
        assert gan.learning() == {"discriminator": {False}, "generator": {False}}


def test_turns_nest_and_restore_even_a_mixture() -> None:
    gan = Pair()
    gan.helper.bias.requires_grad_(False)
    gan.generator[2].track_running_stats = False
    before = gan.learning()
    with turn(gan, "generator"):
        with turn(gan, "discriminator"):
            assert gan.learning() == {"discriminator": {True}, "generator": {False}}
        assert gan.learning() == {"discriminator": {False}, "generator": {True}}
    assert gan.learning() == before
    assert not gan.helper.bias.requires_grad
    assert gan.helper.weight.requires_grad
    assert [gan.generator[i].track_running_stats for i in (1, 2)] == [True, False]


def test_a_turn_restores_after_an_exception() -> None:
    gan = Pair()
    before = gan.learning()

    def fail() -> None:
        with turn(gan, "generator"):
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert gan.learning() == before


def test_running_statistics_of_the_others_stand_still() -> None:
    gan = Pair()
    before = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    with turn(gan, "discriminator"):
        gan.sample(SeedRandomness((1, 2, 3)), None)
    assert all(torch.equal(value, before[name]) for name, value in gan.generator.state_dict().items())
    with turn(gan, "generator"):
        gan.sample(SeedRandomness((1, 2, 3)), None)
    assert not torch.equal(gan.generator[1].running_mean, before["1.running_mean"])


def test_gradients_reach_a_frozen_network_and_pass_through() -> None:
    gan = Pair()
    with turn(gan, "generator"):
        gan.discriminator(gan.sample(SeedRandomness((1, 2, 3)), None)).square().sum().backward()
    assert gan.generator[0].weight.grad is not None
    assert gan.discriminator[0].weight.grad is None


def test_notes_are_means_without_a_graph() -> None:
    gan = Pair()
    gan.note("score", torch.tensor([1.0, 3.0], requires_grad=True))
    gan.note("score", torch.tensor(7, dtype=torch.bfloat16))
    assert [float(value) for value in gan.notes["score"]] == [2.0, 7.0]
    assert not any(value.requires_grad for value in gan.notes["score"])
    assert {value.dtype for value in gan.notes["score"]} == {torch.float32}


def test_a_spec_knows_its_shape_and_classes() -> None:
    assert SPEC.shape == (1, 2, 2)
    assert SPEC.num_classes == 2
    assert SPEC.unconditional() == Spec(1, 2, 2)
