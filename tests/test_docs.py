"""The documentation is run: every elegan command and every Python block in it, in order, file by file."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import elegan.gans
from elegan import cli
from elegan.divergences.mixtures import GaussianMixture
from elegan.engine import measure
from elegan.engine.loop import Training
from elegan.metrics import classifier, contrastive
from elegan.tasks import material, watch
from elegan.theory import covering, drawing, estimate, phases
from elegan.theory.playing import Match

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRANSLATED = [page for page in PAGES if page.name.endswith(".zh.md")]
"""They hold the code of the page that they translate, which is run there."""

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EQUATION = re.compile(r"^\$\$(.+)\$\$$", re.MULTILINE)
INLINE = re.compile(r"([^$])\$([^$\n]+)\$")
PICTURE = re.compile(r"\]\((pictures/[^)]+)\)")
NUMBER = re.compile(r"\d+\.\d+")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a reader tries the commands: it has ./images; trainings end after a few steps, and less is drawn."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    generator = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(f"images/{i}.png")
    train, draw = Training.train, GaussianMixture.sample
    monkeypatch.setattr(Training, "train", lambda self, steps: train(self, min(steps, 3)))
    monkeypatch.setattr(GaussianMixture, "sample", lambda self, count, seed: draw(self, min(count, 10_000), seed))
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(Match, "rounds", first_rounds(Match.rounds))
    for where, name, few in (
        (classifier, "STEPS", 5),
        (contrastive, "STEPS", 5),
        (material, "MOST_SAMPLES", 100),
        (watch, "SAMPLES", 50),
        (phases, "FRAMES", 2),
        (estimate, "FRESH", 1000),
        (covering, "FITTED", {"KL(p||q)": covering.FITTED["KL(p||q)"]}),
        (drawing, "DOTS", 30),
    ):
        monkeypatch.setattr(where, name, few)
    monkeypatch.setattr(elegan.gans, "__path__", [*elegan.gans.__path__, str(tmp_path)])
    return tmp_path


def first_rounds(whole: Callable[[Match, int], Iterator[int]]) -> Callable[[Match, int], Iterator[int]]:
    """Plays the first three rounds of a game, and counts all."""

    def rounds(match: Match, steps: int) -> Iterator[int]:
        played = whole(match, steps)
        for step in range(1, steps + 1):
            yield next(played) if step <= 3 else step

    return rounds


def blocks(page: Path) -> list[tuple[str, str, str]]:
    return BLOCK.findall(page.read_text())


def run_words(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command.split("  #")[0])
    runs = sorted(Path("runs").glob("*")) if Path("runs").exists() else []
    monkeypatch.setattr("sys.argv", [str(runs[0]) if word == "RUN" else word for word in words])
    cli.main()  # a mistake ends in SystemExit, which fails the test


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page) and page not in TRANSLATED], ids=lambda page: page.name)
def test_the_page_works_as_written(page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name == "README.md":
        run_words("elegan train digits", monkeypatch)  # the end of its first command, whose installation CI does
    for language, heading, code in blocks(page):
        if "file=" in heading:
            (reader / heading.split("file=")[1].strip()).write_text(code)
        elif language == "bash":
            for line in code.splitlines():
                if line.startswith("elegan "):
                    run_words(line, monkeypatch)
        elif language == "python":
            exec(compile(code, str(page), "exec"), {})


def test_the_example_of_a_variant_is_under_40_lines_and_found_by_its_name(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [code for _, heading, code in blocks(ROOT / "docs" / "adding-a-variant.md") if "file=" in heading]
    assert len(code.splitlines()) < 40
    (reader / "pearson_example.py").write_text(code)
    assert "pearson_example" in elegan.gans.names()
    assert "pearson_example" in [recipe.name for recipe in elegan.recipes()]


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_begins_with_its_two_commands() -> None:
    commands = [code for language, _, code in blocks(ROOT / "README.md") if language == "bash"][:2]
    assert commands[0].strip().endswith("elegan train digits")
    assert commands[1].strip().endswith("pytest")


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_has_the_code_equations_pictures_and_numbers_of_its_page(page: Path) -> None:
    original = page.with_name(page.name.replace(".zh.md", ".md"))
    for one, other in ((page, original), (original, page)):
        assert other.name in one.read_text().split("\n\n")[1]
    assert blocks(page) == blocks(original)
    for what in (EQUATION, PICTURE):
        assert what.findall(page.read_text()) == what.findall(original.read_text()) != []
    assert Counter(NUMBER.findall(page.read_text())) == Counter(NUMBER.findall(original.read_text()))


@pytest.mark.parametrize("page", [page for page in PAGES if "$$" in page.read_text()], ids=lambda page: page.name)
def test_github_shows_the_equations(page: Path) -> None:
    """It reads Markdown first: a backslash before punctuation is lost, _ or * may begin emphasis, and $ needs a space before it."""
    prose = BLOCK.sub("", page.read_text())
    for equation in [*EQUATION.findall(prose), *(found for _, found in INLINE.findall(EQUATION.sub("", prose)))]:
        assert not re.search(r"\\[^a-zA-Z]|[*<|]|(^|[^a-zA-Z0-9])_", equation), equation
    for before, equation in INLINE.findall(EQUATION.sub("", prose)):
        assert before in " \n(", f"{before}${equation}$"
