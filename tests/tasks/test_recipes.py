"""Recipe files of one's own: what is wrong with them is said in one line; and words that become options."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from elegan.errors import OptionError
from elegan.game import Preset, Recipe, Spec
from elegan.tasks import recipes
from elegan.tasks.recipes import RecipeModule, convert, find_recipe, summarise

SPEC = Spec(1, 8, 8)
START = """
from __future__ import annotations
from typing import TYPE_CHECKING, Any, Literal, Optional
from elegan.game import Preset, Recipe
from elegan.optimizers import Adam
from elegan.errors import DataError
if TYPE_CHECKING:
    from elegan.game import Spec
"""
RETURN = "    return Recipe(lambda: None, {'generator': Adam()}, 4, 10)\n"
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(code: str) -> Path:
        (tmp_path / "mine.py").write_text(START + code)
        return tmp_path / "mine.py"

    return write


def with_option(option: str, more: str = "") -> str:
    return f"def recipe(spec: Spec, *, {option}) -> Recipe:\n{RETURN}\n{more}"


def test_a_file_may_hold_dataclasses_and_is_known_to_python_by_its_name(write: Write) -> None:
    code = "import dataclasses\n@dataclasses.dataclass\nclass Shape:\n    side: int = 3\n    kinds: dict[str, int] | None = None\n"
    found = find_recipe(str(write(code + with_option("side: int = Shape().side"))))
    assert found.resolve({}, {"side": "1e3"}) == {"side": 1000}
    assert sys.modules[found.module.__name__] is found.module
    assert isinstance(found.make(SPEC, {}), Recipe)


def test_a_file_that_fails_leaves_nothing_behind(write: Write) -> None:
    for code in ("raise ValueError('no')", "import sys; sys.exit(3)", "def"):
        before = set(sys.modules)
        with pytest.raises(OptionError, match=r"mine\.py could not be loaded: (ValueError|SystemExit|SyntaxError)"):
            find_recipe(str(write(code)))
        assert not [name for name in set(sys.modules) - before if "mine" in name]
    good = find_recipe(str(write(with_option("side: int = 3"))))
    with pytest.raises(OptionError):
        find_recipe(str(write("raise ValueError('no')")))
    assert sys.modules[good.module.__name__] is good.module


@pytest.mark.parametrize(
    "option",
    [
        "a: int = 3",
        "a: float = 1",
        "a: bool = True",
        "a: str = ''",
        "a: Literal['x', 2] = 2",
        "a: int | None = None",
        "a: Optional[str] = None",
        "a: Literal['none', 'x'] | None = 'none'",
        "steps: int = 5, batch: int = 4",
        "a: 'float' = 0.5",
    ],
)
def test_options_that_can_be_given_are_taken(option: str, write: Write) -> None:
    assert find_recipe(str(write(with_option(option)))).parameters


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("a: int", "option a of recipe has no default"),
        ("a=3", "option a of recipe has no type"),
        ("a: list[int] = []", r"option a of recipe has the type list\[int\]"),
        ("a: Any = 3", "option a of recipe has the type Any"),
        ("a: int | str = 3", r"option a of recipe has the type int \| str"),
        ("a: Literal['x', None] = 'x'", "option a of recipe has the type"),
        ("a: int = None", "option a of recipe has the default None, which is no int"),
        ("a: Literal['x'] = 'y'", "option a of recipe has the default 'y', which is no x"),
        ("seed: int = 3", "option seed of recipe has the name of a flag"),
        ("minutes: int = 3", "option minutes of recipe has the name of a flag"),
        ("json: bool = False", "option json of recipe has the name of a flag"),
        ("a: Nothing = 3", "the signature of recipe cannot be read: NameError: .*Nothing"),
        ("a: int = 3, **more: int", "option more of recipe is not keyword-only"),
    ],
)
def test_an_option_that_could_not_be_given_is_named(option: str, said: str, write: Write) -> None:
    with pytest.raises(OptionError, match=rf"mine\.py: {said}"):
        find_recipe(str(write(with_option(option))))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"def recipe(spec, a: int = 3):\n{RETURN}", "option a of recipe is not keyword-only"),
        (f"def recipe(spec, *a: int):\n{RETURN}", "option a of recipe is not keyword-only"),
        (f"def recipe():\n{RETURN}", "recipe takes no spec"),
        (f"def recipe(*, a: int = 3):\n{RETURN}", "recipe takes no spec"),
        ("recipe = 3", r"has no function recipe\(spec"),
        ("recipe = int", "the signature of recipe cannot be read|recipe takes no spec|recipe is not keyword-only"),
        (
            with_option("side: int = 3", "PRESETS = {'big': Preset({'sid': 4})}"),
            "preset big sets sid, which is no option. Did you mean 'side'",
        ),
        (with_option("side: int = 3", "PRESETS = {'big': Preset({'side': 'x'})}"), "preset big: --side: got 'x', expected a whole number"),
        (with_option("side: int = 3", "PRESETS = {'big': {'side': 4}}"), "PRESETS is no table of presets"),
        (with_option("side: int = 3", "PRESETS = [1]"), "PRESETS is no table of presets"),
    ],
)
def test_a_recipe_of_another_form_is_refused(code: str, said: str, write: Write) -> None:
    with pytest.raises(OptionError, match=rf"mine\.py.*({said})"):
        find_recipe(str(write(code)))


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("    raise ValueError('too wide')", OptionError, r"mine\.py: recipe\(\.\.\.\) raised ValueError: too wide"),
        ("    return 3", OptionError, r"mine\.py: recipe\(\.\.\.\) returned int, expected a Recipe"),
        ("    raise DataError('as it is')", Exception, "^as it is$"),
    ],
)
def test_an_error_of_a_recipe_is_one_line(body: str, kind: type[Exception], said: str, write: Write) -> None:
    found = find_recipe(str(write(f"def recipe(spec, *, a: int = 3):\n{body}\n")))
    with pytest.raises(kind, match=said):
        found.make(SPEC, {})


Nested: list[Any] = []
for _ in range(60):  # 2**60 elements once written out, as aliases in a YAML file make them
    Nested = [Nested, Nested]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("1e3", int, 1000), ("64", int, 64), (64.0, int, 64), (np.int64(5), int, 5), ("1e-3", float, 1e-3), (1, float, 1.0),
        ("9007199254740993", int, 9007199254740993), (9007199254740993, int, 9007199254740993), (64, str, "64"), (Path("a"), str, "a"),
        ("no", bool, False), ("none", int | None, None), ("Null", float | None, None), (None, int | None, None), ("5", int | None, 5),
        ("none", Literal["none", "x"], "none"), ("none", Literal["none", "x"] | None, "none"), ("null", Literal["none", "x"] | None, None),
        ("2", Literal[1, 2], 2), (2, Literal["1", "2"], "2"), ("true", Literal[True, "x"], True), (1, Literal["1", 1], 1),
        ("1e0", Literal[1], 1),
    ],
)  # fmt: skip
def test_words_become_what_the_type_asks(value: object, kind: Any, expected: object) -> None:
    found = convert("side", value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", [[64], {"a": 1}, (1, 2), None, Nested, {"a": Nested}, np.ones(1)], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("kind", [int, float, bool, str, Literal["a", 1]])
def test_a_list_or_a_table_is_no_value(value: object, kind: Any) -> None:
    with pytest.raises(OptionError, match=r"^--a-side: got .{1,200}$"):
        convert("a_side", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("x" * 10_000, int, "expected a whole number"), (1 << 100_000, int, "a very large int, expected a whole number"),
        (1 << 100_000, str, "expected a text"), (1 << 100_000, float, "expected a number"), ("9" * 10_000, int, "expected a whole number"),
        (2**63, int, "expected a whole number"), ("1e300", int, "expected a whole number"), ("1.5", int, "expected a whole number"),
        (True, int, "expected a whole number"), (True, float, "expected a number"), ("x", int | None, "expected a whole number or none"),
        (False, Literal["no", 0], "Known"),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_fits_no_type_is_refused_in_few_words(value: object, kind: Any, said: str) -> None:
    with pytest.raises(OptionError, match=rf"^--side: got .{{0,100}}{said}.{{0,60}}$"):
        convert("side", value, kind)


def test_presets_are_converted_too(write: Write) -> None:
    found = find_recipe(str(write(with_option("lr: float = 1.0, side: int = 3", "PRESETS = {'p': Preset({'lr': '1e-3', 'side': 1e2})}"))))
    assert found.resolve(found.presets["p"].options, {}) == {"lr": 1e-3, "side": 100}


@pytest.mark.parametrize(("side", "expected"), [(8, "small"), (15, "small"), (16, "none"), (64, "large")])
def test_a_preset_without_sides_is_never_chosen_by_itself(side: int, expected: str) -> None:
    table = {"never": Preset({}), "small": Preset({}, sides=(8, 15)), "large": Preset({}, sides=(32, 64))}
    table["never"] = dataclasses.replace(table["never"], sides=None)
    module = type(sys)("toy")
    module.PRESETS = table  # type: ignore[attr-defined]
    assert RecipeModule("toy", module).preset_for(Spec(3, side, 80)) == expected


def test_a_recipe_explains_itself(write: Write) -> None:
    options = "clip_at: float | None = None, ema: bool = True, norm: Literal['a', 'b'] = 'a'"
    body = f'def recipe(spec, *, {options}):\n    """What it\n    is.\n\n    More."""\n{RETURN}'
    (summary,) = recipes.recipes(str(write(body)))
    text = "\n".join(summary.lines())
    assert "\n\nWhat it is.\n\n  Option " in text
    assert "More" not in text
    for option, default, type_name in (("clip-at", "none", "float|none"), ("ema", "true", "bool"), ("norm", "a", "a|b")):
        assert f"  --{option:<24} {default:<15} {type_name}" in text
    assert "DCGAN told the class" in "\n".join(recipes.recipes("cgan")[0].lines())
    assert summary.as_dict()["explanation"] == "What it is."


def test_every_built_in_recipe_passes_the_check_of_files() -> None:
    for summary in recipes.recipes():
        recipes.check_signature(find_recipe(summary.name))


GROUPS = """
from dataclasses import dataclass
from typing import Annotated
@dataclass(frozen=True)
class Sizes:
    side: Annotated[int, "how long a side is"] = 3
    kind: Literal["a", "b"] = "a"
SEEN = []
def recipe(spec, *, depth: int = 2, sizes: Sizes = Sizes(side=5)) -> Recipe:
    SEEN.append((depth, sizes))
"""


def test_the_fields_of_a_group_are_options(write: Write) -> None:
    found = find_recipe(str(write(GROUPS + RETURN)))
    assert {name: option.default for name, option in found.parameters.items()} == {"depth": 2, "side": 5, "kind": "a"}
    assert found.types == {"depth": int, "side": int, "kind": Literal["a", "b"]}
    options = found.resolve({}, {"side": "7", "kind": "b"})
    assert options == {"depth": 2, "side": 7, "kind": "b"}
    found.make(SPEC, options)
    found.make(SPEC, {})
    assert [(2, found.module.Sizes(7, "b")), (2, found.module.Sizes(5, "a"))] == found.module.SEEN
    with pytest.raises(OptionError, match="no option --sizes"):
        found.resolve({}, {"sizes": 1})
    with pytest.raises(OptionError, match=r"Did you mean 'side'"):
        found.resolve({}, {"sid": 1})
    (summary,) = recipes.recipes(str(found.where))
    assert summary.options["side"] == ("int", 5, "how long a side is")
    assert "how long a side is" in "\n".join(summary.lines())


def test_an_option_is_not_there_twice(write: Write) -> None:
    with pytest.raises(OptionError, match="recipe has the option side twice"):
        find_recipe(str(write(GROUPS.replace("depth", "side") + RETURN)))


def test_a_variant_that_works_its_options_out_says_so() -> None:
    assert any(line.startswith("Preset automatic: What suits images of this size") for line in summarise("stylegan2").lines())
    assert summarise("dcgan").automatic == ""


@pytest.mark.parametrize(
    ("model", "on_cpu", "on_gpu"), [("r3gan", "small", "automatic"), ("biggan", "small", "automatic"), ("dcgan", "small", "small")]
)
def test_a_preset_for_a_cpu_is_not_taken_on_a_gpu(model: str, on_cpu: str, on_gpu: str) -> None:
    found, spec = find_recipe(model), Spec(3, 32, 32)
    assert found.starting_point("auto", spec, 50_000, "cpu", {})[0] == on_cpu
    preset, options = found.starting_point("auto", spec, 50_000, "cuda", {})
    assert preset == on_gpu
    asked = found.starting_point("small", spec, 50_000, "cuda", {})
    assert asked[0] == "small"
    if on_gpu == "automatic":
        assert options["batch"] == 256
        assert found.starting_point("auto", spec, 50_000, "cuda", {"batch": "64"})[1]["batch"] == 64


def test_what_is_wrong_in_a_files_automatic_is_one_line(write: Write) -> None:
    found = find_recipe(str(write(GROUPS + RETURN + "\n\ndef automatic(spec, images, device):\n    return {}\n")))
    with pytest.raises(OptionError, match=r"automatic\(spec, images, device, batch\) raised TypeError"):
        found.starting_point("auto", Spec(3, 32, 32), 100, "cpu", {})


@pytest.mark.parametrize("side", [16, 32, 64, 128, 256, 512])
def test_bigganss_layers_have_as_much_noise_each(side: int) -> None:
    found, spec = find_recipe("biggan"), Spec(3, side, side)
    options = {**found.starting_point("automatic", spec, 50_000, "cuda", {})[1], "width": 1, "discriminator_width": 1}
    assert found.make(spec, options).build().generator.latent_layers > 1  # type: ignore[union-attr]
