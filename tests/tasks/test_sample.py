"""Samples of a trained run: seeds, classes, targets, and runs that a stranger or an accident has changed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import elegan
from elegan import cli
from elegan.errors import OptionError, RunError
from elegan.game import Recipe, Spec
from elegan.networks.layers import spectral_norm
from elegan.tasks import loading
from elegan.tasks.model import Model
from elegan.tasks.recipes import find_recipe
from elegan.tasks.sample import folder_names, grid_name
from elegan.tasks.seeds import parse_seeds

SMALL = {"width": 8, "batch": 16, "steps": 2, "save_every": 1, "precision": "fp32", "size": "8"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    return elegan.train("digits", out=str(tmp_path_factory.mktemp("runs")), **SMALL)


@pytest.fixture
def run(trained: elegan.Run, tmp_path: Path) -> elegan.Run:
    return elegan.Run(shutil.copytree(trained.path, tmp_path / "run"))


# seeds


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ("0-3", (0, 1, 2, 3)), ("5", (5,)), ("3, 3,1", (3, 3, 1)), (7, (7,)), (np.int64(7), (7,)), (range(3), (0, 1, 2)), ([2, 2], (2, 2)),
        (np.arange(3), (0, 1, 2)), (np.uint8([5]), (5,)), (torch.arange(3), (0, 1, 2)), (torch.tensor(4), (4,)), ({9: 1}.keys(), (9,)),
        (2**63 - 1, (2**63 - 1,)), (str(2**63 - 1), (2**63 - 1,)),
    ],
)  # fmt: skip
def test_seeds_come_as_words_numbers_and_arrays(seeds: Any, expected: tuple[int, ...]) -> None:
    assert parse_seeds(seeds) == expected
    assert {type(seed) for seed in parse_seeds(seeds)} == {int}


@pytest.mark.parametrize(
    "seeds",
    [
        *(
            "",
            ",",
            "a",
            "-1",
            "1-",
            "5-2",
            "1.0",
            "\u00b2",
            "\u0663",
            "9" * 5000,
            "0-9999999999",
            str(2**63),
            -1,
            2**63,
            1.0,
            [],
            [0.5],
            ["1"],
        ),
        *(None, np.array([1.0]), np.zeros((2, 2), int), torch.tensor([0.5]), range(10**12), np.array([], int), [-1], object()),
    ],
    ids=itertools.count(),
)
def test_what_are_no_seeds_is_refused(seeds: Any) -> None:
    with pytest.raises(OptionError, match=r"^--seeds: got .{1,200}$"):
        parse_seeds(seeds)


def test_all_ways_to_give_seeds_give_the_same_pictures(trained: elegan.Run, tmp_path: Path) -> None:
    model = elegan.load(trained)
    expected = model.sample("0-2")
    for number, seeds in enumerate((range(3), np.arange(3), torch.arange(3), [0, 1, 2])):
        assert np.array_equal(model.sample(seeds), expected)
        with np.load(elegan.sample(trained, seeds=seeds, out=tmp_path / f"{number}.npz")) as arrays:
            assert np.array_equal(arrays["images"], expected)
            assert arrays["seeds"].tolist() == [0, 1, 2]


def test_the_command_line_takes_seeds_as_before(
    trained: elegan.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seeds, count in (("5", 1), ("0-35", 36), ("1,2,5-7", 5)):
        out = tmp_path / f"{seeds}.npz"
        monkeypatch.setattr("sys.argv", ["elegan", "sample", str(trained.path), "--seeds", seeds, "--out", str(out)])
        cli.main()
        with np.load(out) as arrays:
            assert len(arrays["images"]) == count
    monkeypatch.setattr("sys.argv", ["elegan", "sample", "--help"])
    capsys.readouterr()
    cli.main()
    text = capsys.readouterr().out
    assert "--seeds" in text
    assert "--empty" not in text
    assert "--listener" not in text


# classes


def model_of(*classes: str) -> Model:
    gan = find_recipe("cgan").make(Spec(1, 8, 8, classes), {"width": 8}).build()
    return Model(gan, 0)


def test_a_position_counts_where_no_class_is_named_by_a_number() -> None:
    assert model_of("cat", "dog").classes_of((0, 1), 1) == (1, 1)
    assert model_of("cat", "dog").classes_of((0,), "0") == (0,)
    assert model_of("3", "5").classes_of((0,), 5) == (1,)
    for classes, asked, said in (
        (("3", "5"), 1, "no class named 1; with numbers for names, only names count: 3, 5"),
        (("3", "dog"), "0", "no class named 0; with numbers"),
        (("cat", "dog"), 2, "no class 2, expected a name, or a position from 0 to 1"),
        (("cat", "dog"), "\u00b2", "no class '\u00b2'. Known"),
        (("cat", "dog"), "9" * 5000, "no class"),
        (("cat", "dog"), -1, "no class -1. Known"),
        ((), 1, "is told no classes"),
    ):
        with pytest.raises(OptionError) as error:
            model_of(*classes).classes_of((0,), asked)
        assert said in str(error.value)


def test_folders_of_classes_are_safe_and_no_two_the_same() -> None:
    assert folder_names(["a/b", "a_b", "A_B", "a?b"]) == ["a_b-3", "a_b", "A_B-2", "a_b-4"]
    assert folder_names(["a/b", "a_b", "a_b-2"]) == ["a_b-3", "a_b", "a_b-2"]
    odd = ["", " ", ".", "..", "...", "../../x", "/", "\x00", "\udcff", "n" * 500, "n" * 501, "caf\u00e9", "a ", "a"]
    names = folder_names(odd)
    assert len({name.casefold() for name in names}) == len(odd)
    for name in names:
        assert name not in ("", ".", "..")
        assert name == name.strip()
        assert not set(name) & set("/\\.\x00")
        assert len(name.encode()) <= 255


# where samples go


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp", "a.gif", "a.bmp", "a.tif", "a.tiff", "a.pdf"])
def test_another_kind_of_picture_is_refused_before_anything_is_loaded(name: str, run: elegan.Run, tmp_path: Path) -> None:
    shutil.rmtree(run.checkpoint_folder)
    with pytest.raises(OptionError, match=r"--out: .*only NAME\.png .*NAME\.npz .*folders"):
        elegan.sample(run, out=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_the_case_of_a_suffix_does_not_count(trained: elegan.Run, tmp_path: Path) -> None:
    with Image.open(elegan.sample(trained, seeds="0-3", out=tmp_path / "A.PNG")) as picture:
        assert picture.format == "PNG"
    with np.load(elegan.sample(trained, seeds="0-3", out=tmp_path / "A.NPZ")) as arrays:
        assert len(arrays["images"]) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.NPZ", "A.PNG"]


def test_a_target_of_the_wrong_kind_is_said_to_be_one(trained: elegan.Run, tmp_path: Path) -> None:
    for name in ("a.png", "a.npz"):
        (tmp_path / name).mkdir()
        with pytest.raises(RunError, match=rf"{name} is a folder, and a \{name[1:]} file"):
            elegan.sample(trained, seeds=0, out=tmp_path / name)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is a file, and a folder is to be made there"):
        elegan.sample(trained, seeds=0, out=tmp_path / "file")
    with pytest.raises(RunError, match=r"could not write .*--out"):
        elegan.sample(trained, seeds=0, out=tmp_path / "file" / "a.png")


def test_the_default_name_is_short_safe_and_its_own() -> None:
    assert grid_name(tuple(range(64)), None) == "samples-0-63.png"
    assert grid_name((1, 2, 5, 6, 7, 7, 3), None) == "samples-1_2_5-7_7_3.png"
    names = {grid_name(tuple(range(0, 200 + more, 2)), "n" * 30 + str(more)) for more in range(4)}
    assert len(names) == 4
    assert all(len(name) < 80 and "/" not in name for name in names)


def test_the_default_name_cannot_leave_the_run(run: elegan.Run) -> None:
    record = json.loads((run.path / "record.json").read_text())
    record["spec"]["classes"][3] = "../../evil"
    (run.path / "record.json").write_text(json.dumps(record))
    target = elegan.sample(run, seeds=[0, 1, 2, 9], class_="../../evil")
    assert target == run.path / "samples-0-2_9-______evil.png"
    assert target.is_file()


def test_columns_count_from_one(trained: elegan.Run, tmp_path: Path) -> None:
    for columns in (0, -3):
        with pytest.raises(OptionError, match=f"--columns: got {columns}, expected at least 1"):
            elegan.sample(trained, columns=columns)
    with Image.open(elegan.sample(trained, seeds="0-3", columns=10**9, out=tmp_path / "a.png")) as picture:
        assert picture.size[0] > 3 * picture.size[1]


# runs that were changed


def change(run: elegan.Run, file: str, **changed: Any) -> None:
    content = yaml.safe_load((run.path / file).read_text())
    (run.path / file).write_text(json.dumps({**content, **changed}))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"width": 10**6}, r"gan\.generator\.project\.weight is 8000000x200 by the options, 64x200 in the save"),
        ({"width": 10**9}, "its networks are too large"),
        ({"width": 10**18}, "its networks are too large"),
        ({"latent": 10**14}, r"gan\.generator\.embedding\.weight is 10x100000000000000 by the options, 10x100 in the save"),
        ({"average_half_life": 0.0}, r"average\.\S+ is not there by the options"),
        ({"model": "gan"}, r"gan\.generator\.\S+ is .* by the options"),
    ],
)
def test_options_that_were_edited_are_refused_before_networks_are_made(
    changed: dict[str, Any], said: str, run: elegan.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []
    real = loading.build
    monkeypatch.setattr(loading, "build", lambda *args: made.append(torch.empty(0).device.type == "meta") or real(*args))
    change(run, "config.yaml", **changed)
    with pytest.raises(RunError, match=rf"config\.yaml does not fit the saved weights: ({said})"):
        elegan.load(run)
    assert made == [True]


def test_options_of_no_network_at_all_are_a_run_error(run: elegan.Run) -> None:
    for changed, said in (
        ({"width": "wide"}, "--width: got 'wide'"),
        ({"width": [8]}, "--width: got"),
    ):
        change(run, "config.yaml", **changed)
        with pytest.raises(RunError, match=rf"config\.yaml.*{said}"):
            elegan.load(run)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, "channels"), ([], "channels"), ({"channels": 5}, "channels"), ({"channels": True}, "channels"),
        ({"height": 10**6}, "height"), ({"height": "8"}, "height"), ({"width": 7}, "width"), ({"width": None}, "width"),
        ({"classes": "abc"}, "classes"), ({"classes": [1]}, "classes"), ({"classes": None}, "classes"),
    ],
)  # fmt: skip
def test_a_record_that_says_nothing_of_samples_is_a_run_error(spec: Any, said: str, run: elegan.Run) -> None:
    whole = json.loads((run.path / "record.json").read_text())["spec"]
    change(run, "record.json", spec={**whole, **spec} if isinstance(spec, dict) else spec)
    with pytest.raises(RunError, match=rf"record\.json does not say what a sample is: spec\.{said}"):
        elegan.load(run)


@pytest.mark.parametrize("name", ["cgan", "dcgan", "gan", "wgan_gp"])
def test_the_check_covers_every_built_in_variant(name: str, tmp_path: Path) -> None:
    check(find_recipe(name).make(Spec(1, 16, 16, ("a", "b")), {}), tmp_path)


def test_networks_with_spectral_norms_are_checked_too(tmp_path: Path) -> None:
    plain = find_recipe("cgan").make(Spec(1, 16, 16), {"width": 8})

    def build() -> elegan.GAN:
        gan = plain.build()
        for module in [*gan.modules()]:
            if isinstance(module, nn.Conv2d):
                spectral_norm(module)
        return gan

    recipe = dataclasses.replace(plain, build=build, average_half_life=0.0)
    gan, _ = loading.build(recipe, elegan.Run(tmp_path))
    tensors = {f"gan.{name}": value for name, value in gan.state_dict().items()}
    loading.check_fit(recipe, tensors, elegan.Run(tmp_path))
    with pytest.raises(RunError, match="does not fit the saved weights"):
        loading.check_fit(recipe, {**tensors, "gan.unknown": torch.zeros(3)}, elegan.Run(tmp_path))


def check(recipe: Recipe, folder: Path) -> None:
    """The true tensors pass, and one of another shape is found without the networks being made."""
    gan, average = loading.build(recipe, elegan.Run(folder))
    assert average is not None
    tensors = {f"gan.{name}": value for name, value in gan.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    loading.check_fit(recipe, tensors, elegan.Run(folder))
    for name in (next(iter(tensors)), "gan.unknown"):
        with pytest.raises(RunError, match=f"does not fit the saved weights: {name} is"):
            loading.check_fit(recipe, {**tensors, name: torch.zeros(3, 1, 4)}, elegan.Run(folder))


def test_a_model_that_cannot_be_had_without_values_is_not_checked(tmp_path: Path) -> None:
    recipe = find_recipe("gan").make(Spec(1, 8, 8), {})
    loading.check_fit(dataclasses.replace(recipe, build=lambda: torch.zeros(1).item() and None), {}, elegan.Run(tmp_path))


# what is read and said


def test_weights_alone_are_enough_for_samples(run: elegan.Run) -> None:
    expected = elegan.load(run).sample("0-3")
    for path in run.checkpoint_folder.rglob("optimizers.safetensors"):
        path.unlink()
    model = elegan.load(run)
    assert (model.step, model.notes) == (2, ())
    assert np.array_equal(model.sample("0-3"), expected)


@pytest.mark.parametrize("damage", ["weights", "step"])
def test_falling_back_to_an_earlier_save_is_said(damage: str, run: elegan.Run, tmp_path: Path) -> None:
    newest = run.checkpoint_folder / "step-00000002"
    if damage == "weights":
        (newest / "weights.safetensors").write_bytes(b"")
    else:
        (newest / "meta.json").write_text(json.dumps({**json.loads((newest / "meta.json").read_text()), "step": "two"}))
    model = elegan.load(run)
    assert model.step == 1
    assert len(model.notes) == 1
    assert "step-00000002" in model.notes[0]
    assert "Falling back" in model.notes[0]
    said: list[str] = []
    elegan.sample(run, seeds="0", out=tmp_path / "a.png", listener=elegan.Listener(message=said.append))
    assert said == list(model.notes)


def test_a_run_is_given_as_a_text_a_path_or_a_run(trained: elegan.Run, tmp_path: Path) -> None:
    for where in (trained, trained.path, str(trained.path)):
        assert elegan.load(where).step == 2
        assert elegan.sample(where, seeds=0, out=str(tmp_path / "a.png")).is_file()


def test_loading_and_sampling_leave_the_random_numbers_alone(trained: elegan.Run) -> None:
    before = torch.get_rng_state()
    elegan.load(trained).sample("0-3")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def noisy() -> Iterator[Model]:
    """A model whose generator draws numbers itself, also while it samples."""

    class Noise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.randn_like(x)

    model = model_of()
    model.gan.generator.blocks.insert(0, Noise())  # type: ignore[union-attr, operator]
    return model


def test_layers_that_draw_numbers_draw_the_same_ones_again(noisy: Model) -> None:
    first = noisy.sample("0-3")
    torch.rand(3)
    assert np.array_equal(noisy.sample("0-3"), first)
    assert not np.array_equal(noisy.sample("0,4-6")[1:], first[1:])


def test_a_model_that_builds_no_network_is_a_run_error(tmp_path: Path) -> None:
    recipe = find_recipe("gan").make(Spec(1, 8, 8), {})
    builds: dict[str, Callable[[], Any]] = {"could not be built: ZeroDivisionError": lambda: 1 / 0, "builds int": lambda: 3}
    for said, build in builds.items():
        with pytest.raises(RunError, match=said):
            loading.build(dataclasses.replace(recipe, build=build), elegan.Run(tmp_path))


# attributes


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    """A model that knows ages from 20 to 60 and who smiles."""
    folder = tmp_path_factory.mktemp("people")
    rows = ["file_name,age,smiling"]
    for i in range(30):
        Image.fromarray(np.full((8, 8), 8 * i, np.uint8)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{20 + 40 * (i % 3) // 2},{'yes' if i % 2 else 'no'}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    out = str(tmp_path_factory.mktemp("people-runs"))
    return elegan.train(str(folder), attributes="age,smiling", out=out, **{**SMALL, "steps": 12, "lr": 1e-2})


def test_attributes_can_be_asked_for_in_their_own_units(people: elegan.Run) -> None:
    model = elegan.load(people.path)
    assert [(one.name, one.low, one.high, len(one.examples)) for one in model.spec.attributes] == [
        ("age", 20, 60, 30),
        ("smiling", 0, 1, 30),
    ]
    asked = model.conditions_of((0, 1), None, {"age": 50, "smiling": 0})
    assert asked is not None
    torch.testing.assert_close(asked, torch.tensor([[0.5, -1.0], [0.5, -1.0]]))
    examples = model.conditions_of((3, 4))
    assert examples is not None
    age, smiling = model.spec.attributes
    expected = [[(age.examples[i] - 40) / 20, 2 * smiling.examples[i] - 1] for i in (3, 4)]
    torch.testing.assert_close(examples, torch.tensor(expected))
    only_age = model.conditions_of((3, 4), None, {"age": 20})
    torch.testing.assert_close(only_age, torch.tensor([[-1.0, expected[0][1]], [-1.0, expected[1][1]]]))
    young, old = (model.sample((5, 6), attributes={"age": years, "smiling": 1}) for years in (20, 60))
    assert not np.array_equal(young, old)
    assert np.array_equal(young[1:], model.sample((6,), attributes={"age": 20, "smiling": 1}))


def test_attributes_from_python_may_be_words_and_wrong_ones_are_said(people: elegan.Run) -> None:
    model = elegan.load(people.path)
    word: Any = {"age": "30"}
    found, expected = (model.conditions_of((1,), None, asked) for asked in (word, {"age": 30}))
    assert found is not None
    assert expected is not None
    assert torch.equal(found, expected)
    for value in ("old", None, 10**400):
        with pytest.raises(OptionError, match="--attributes"):
            model.sample((1,), attributes={"age": value})  # type: ignore[dict-item]


def test_arrays_say_what_was_asked_for(people: elegan.Run, tmp_path: Path) -> None:
    found = np.load(elegan.sample(people.path, seeds="0-2", attributes="age=30, smiling=yes", out=tmp_path / "some.npz"))
    assert found["attribute_names"].tolist() == ["age", "smiling"]
    np.testing.assert_allclose(found["attributes"], [[30, 1]] * 3, rtol=1e-6)
    assert elegan.sample(people.path, seeds="0-2", attributes="age=30").name == "samples-0-2-age_30.png"


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("ages=3", "Did you mean 'age'"),
        ("age", "expected NAME=VALUE"),
        ("age=old", "expected a number"),
        ("age=nan", "expected a number near"),
        ("age=1e300", "expected a number near"),
    ],
)
def test_attributes_that_cannot_be_are_refused(people: elegan.Run, said: str, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        elegan.sample(people.path, attributes=said)


def test_a_model_of_classes_knows_no_attributes_and_one_of_attributes_no_classes(people: elegan.Run, run: elegan.Run) -> None:
    with pytest.raises(OptionError, match="knows no attributes"):
        elegan.sample(run, attributes="age=3")
    with pytest.raises(OptionError, match="is told no classes"):
        elegan.sample(people.path, class_="age")


@pytest.mark.parametrize(
    "damage",
    [
        {"examples": []},
        {"examples": ["x"]},
        {"examples": [1.0]},
        {"low": "x"},
        {"low": None},
        {"more": 1},
        {"high": float("nan")},
        {"low": 10**400},
        {"low": -1.7e308, "high": 1.7e308},
    ],
    ids=str,
)
def test_a_record_with_damaged_attributes_is_refused(people: elegan.Run, tmp_path: Path, damage: dict[str, Any]) -> None:
    changed = elegan.Run(shutil.copytree(people.path, tmp_path / "run"))
    record = json.loads((changed.path / "record.json").read_text())
    record["spec"]["attributes"][0] |= damage
    (changed.path / "record.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"spec\.attributes is damaged"):
        elegan.load(changed)
