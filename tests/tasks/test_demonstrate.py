"""`elegan theory`: what it lists, prints, saves and refuses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Annotated, NamedTuple

import pytest
from matplotlib.figure import Figure
from PIL import Image

import elegan
from elegan import cli
from elegan.engine.loop import Listener
from elegan.errors import OptionError, RunError
from elegan.tasks import demonstrate as task
from elegan.theory.demonstration import Cell, Demonstration, Table, Tell, tell_nobody


class Outcome(NamedTuple):
    code: int
    out: str
    error: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `elegan theory` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["elegan", "theory", *words])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return run


def refused(outcome: Outcome, *words: str) -> None:
    """Exit code 2 and one line on standard error that holds all `words`; nothing else."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.error.startswith("elegan: ")
    assert len(outcome.error.splitlines()) == 1
    for word in words:
        assert word in outcome.error, outcome.error


class Computed(Exception):
    pass


def moving(
    *,
    frames: Annotated[int, "pictures of the film"] = 3,
    slow_start: Annotated[bool, "nothing at first"] = False,
    kind: Annotated[str, "what is shown"] = "squares",
    fail: Annotated[bool, "tell that it was computed"] = False,
    tell: Tell = tell_nobody,
) -> Demonstration:
    """Something that moves.

    And more about it.
    """
    if fail:
        raise Computed
    tell(1, 2)

    def frame(number: int) -> Callable[[Figure], None]:
        return lambda figure: figure.subplots().bar([0], [number + 1])  # type: ignore[return-value]

    table = Table(("what", "value"), ((kind, float(frames)), ("none", None), ("infinite", inf), ("yes", True)))
    return Demonstration("Moving", (table,), ("It moves.",), frame(0), (2.0, 1.0), tuple(map(frame, range(frames))), milliseconds=200)


@pytest.fixture
def film(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`moving` is the only demonstration there is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "find", lambda name: moving)


def test_all_are_listed_with_options_in_the_order_of_learning(command: Command) -> None:
    listed = command()
    assert (listed.code, listed.error) == (0, "")
    heads = [line.split()[0] for line in listed.out.splitlines() if not line.startswith(" ")]
    assert heads == list(task.DEMONSTRATIONS)
    assert "    --p 0.5       the first coin's probability of heads" in listed.out
    assert "--tell" not in listed.out
    for one in json.loads(command("--json").out):
        assert one["name"] in heads
        assert one["summary"].endswith(".")
        assert all(purpose for _, purpose in one["options"].values())


def test_a_summary_is_the_first_line_and_the_options_have_default_and_purpose() -> None:
    summary = task.summarise("moving", moving)
    assert summary.summary == "Something that moves."
    assert summary.options["frames"] == (3, "pictures of the film")
    assert set(summary.options) == {"frames", "slow_start", "kind", "fail"}
    assert "    --slow-start false     nothing at first" in summary.lines()


def test_a_table_sentences_and_a_figure(command: Command) -> None:
    found = command("coin")
    assert found.code == 0, found
    assert "Jensen-Shannon, bits     0.146793" in found.out
    assert "KL is not symmetric" in found.out
    assert found.out.splitlines()[-1] == f"Saved: {Path('theory/coin.png')}"
    with Image.open("theory/coin.png") as picture:
        assert picture.size == (990, 440)
    assert [path.name for path in Path("theory").iterdir()] == ["coin.png"]


def test_json_is_valid_also_where_numbers_are_infinite(command: Command) -> None:
    def fail(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found = command("coin", "--p", "1", "--q", "0e0", "--json")
    (one,) = json.loads(found.out, parse_constant=fail)
    values = {row["divergence"]: row["value"] for row in one["tables"][0]["rows"]}
    assert values["KL(P||Q)"] == "inf"
    assert values["total variation"] == 1.0
    assert one["said"]
    assert one["files"] == [str(Path("theory/coin.png"))]


@pytest.mark.parametrize(("form", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_forms_of_a_figure(film: None, command: Command, form: str, begins: bytes) -> None:
    assert command("moving", "--frames", "1", "--out", f"new/folder/mine{form}").code == 0
    assert Path(f"new/folder/mine{form}").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("coim",), ("'coim'", "Did you mean 'coin'?")),
        (("dirc",), ("Did you mean 'dirac'?",)),
        (("everything",), ("Known:", "vanishing")),
        (("coin", "--r", "0.5"), ("theory coin has no option --r", "Known: out, p, q")),
        (("coin", "--ot", "a.png"), ("--ot", "Did you mean 'out'?")),
        (("coin", "--p", "half"), ("--p: got 'half'", "a number")),
        (("coin", "--p", "1.5"), ("--p: got 1.5", "from 0 to 1")),
        (("coin", "--p", "-1"), ("--p",)),
        (("coin", "--listener", "1"), ("--listener",)),
        (("coin", "--tell", "1"), ("--tell",)),
        (("coin", "--out", "coin.jpg"), ("--out: got coin.jpg", ".png, .svg, .pdf")),
        (("coin", "--out", "coin"), ("--out: got coin", ".png")),
    ],
)
def test_a_mistake_is_one_clear_line(command: Command, words: tuple[str, ...], said: tuple[str, ...]) -> None:
    refused(command(*words), *said)
    assert not list(Path().iterdir())


def test_a_place_that_cannot_be_written_is_refused(command: Command) -> None:
    Path("file").write_text("")
    Path("folder.png").mkdir()
    refused(command("coin", "--out", "file/coin.png"), "file/coin.png", "is no folder", "--out")
    refused(command("coin", "--out", "file/more/coin.png"), "file is no folder", "--out")
    refused(command("coin", "--out", "folder.png"), "folder.png is a folder", "--out")


def test_that_is_said_before_anything_is_computed(film: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Computed):
        task.demonstrate("moving", fail=True)
    assert not Path("theory").exists()
    with pytest.raises(OptionError, match=r"--out: got moving\.gif"):
        task.demonstrate("moving", out="moving.gif", fail=True)
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(RunError, match="may not be written to"):
        task.demonstrate("moving", fail=True)


def test_a_folder_that_vanishes_under_it_is_one_clear_error(film: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "check_place", lambda path: None)
    Path("file").write_text("")
    with pytest.raises(RunError, match=r"could not make file: .*--out"):
        task.demonstrate("moving", out="file/moving.png")


def test_a_film_stands_beside_its_figure(film: None) -> None:
    found = task.demonstrate("moving", out="here/it.svg")
    assert found.files == (str(Path("here/it.svg")), str(Path("here/it.webp")))
    assert found.lines()[-2:] == [f"Saved: {file}" for file in found.files]
    with Image.open("here/it.webp") as moving_picture:
        assert moving_picture.n_frames == 3  # type: ignore[attr-defined]
        assert moving_picture.size == (220, 110)


def test_without_frames_there_is_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    still = Demonstration("Still", (), (), lambda figure: None, (1.0, 1.0))
    assert task.save(still, Path("still.png")).files == ("still.png",)
    assert not Path("still.webp").exists()


def test_options_are_of_the_types_that_the_signature_asks_for(film: None) -> None:
    found = task.demonstrate("moving", frames="2", slow_start="yes", kind="circles")
    assert found.tables[0].rows[0] == ("circles", 2.0)
    for wrong in ({"frames": 0}, {"frames": "many"}, {"slow_start": "perhaps"}, {"tell": print}, {"frmes": 2}):
        with pytest.raises(OptionError, match=r"--fr|--slow-start|--tell"):
            task.demonstrate("moving", **wrong)


def test_progress_reaches_the_listener(film: None) -> None:
    told: list[tuple[int, int]] = []
    task.demonstrate("moving", listener=Listener(measuring=lambda done, total: told.append((done, total))))
    assert told == [(1, 2)]


def test_without_matplotlib_the_tables_come_and_how_to_get_figures_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = command("coin")
    assert found.code == 0
    assert "Jensen-Shannon, bits     0.146793" in found.out
    assert "Saved" not in found.out
    assert "pip install 'elegan[plots]'" in found.error
    (one,) = json.loads(command("coin", "--json").out)
    assert one["files"] == []
    assert not list(Path().iterdir())


def test_the_library_has_the_same(film: None, tmp_path: Path) -> None:
    found = elegan.demonstrate("moving", kind="circles", out=str(tmp_path / "it.png"))
    assert isinstance(found, elegan.Demonstration)
    assert found.files == (str(tmp_path / "it.png"), str(tmp_path / "it.webp"))


def test_a_demonstration_has_a_name() -> None:
    with pytest.raises(OptionError, match="Known: coin"):
        elegan.demonstrate("")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        ("word", "word"),
        (0.0, "0.000000"),
        (0.5, "0.500000"),
        (0.00012345678, "0.0001235"),
        (123456.789, "1.235e+05"),
        (-inf, "-inf"),
    ],
)
def test_cells_as_they_are_shown(cell: Cell, text: str) -> None:
    assert [line.strip() for line in Table(("cell",), ((cell,),)).lines()] == ["cell", text]


def test_numbers_are_aligned_to_the_right_and_words_to_the_left() -> None:
    table = Table(("name", "number"), (("a", 1.0), ("longer", 22.5), ("none", None)), "Both")
    assert table.lines() == ["Both", "name       number", "a        1.000000", "longer  22.500000", "none"]
    assert table.as_dict()["rows"][2] == {"name": "none", "number": None}
