from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import sacrebleu.metrics.bleu
import torch
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu  # type: ignore[import-untyped]

from elegan.errors import DataError
from elegan.metrics.text import bleu, closest_length, closest_other_length, self_bleu

Sentences = list[list[str]]


def words(text: str) -> list[str]:
    return text.split()


def sentences(seed: int, count: int, longest: int = 12, vocabulary: int = 6) -> Sentences:
    """Few words, so that n-grams repeat within sentences and between them, ties of counts and copies included."""
    draw = random.Random(seed)
    return [draw.choices("abcdefghijkl"[:vocabulary], k=draw.randint(0, longest)) for _ in range(count)]


def by_nltk(sentence: list[str], references: Sentences) -> list[float]:
    smooth = SmoothingFunction(epsilon=0.1).method1
    return [float(sentence_bleu(references, sentence, (1 / n,) * n, smoothing_function=smooth)) for n in (2, 3, 4, 5)]


def close(found: torch.Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("vocabulary", [2, 6, 12])
def test_bleu_is_that_of_nltk(vocabulary: int) -> None:
    generated, references = sentences(0, 25, vocabulary=vocabulary), sentences(1, 20, 9, vocabulary)
    close(bleu(generated, references), [by_nltk(sentence, references) for sentence in generated])


@pytest.mark.parametrize("vocabulary", [2, 6, 12])
def test_self_bleu_is_that_of_nltk_with_the_sentence_left_out(vocabulary: int) -> None:
    generated = sentences(2, 30, vocabulary=vocabulary)
    expected = [by_nltk(sentence, generated[:i] + generated[i + 1 :]) for i, sentence in enumerate(generated)]
    close(self_bleu(generated), expected)


def test_the_sentence_itself_is_no_reference() -> None:
    """With it every sentence has 1, whatever the set: the mistake that this metric is known for."""
    generated = [words("a b c d e f"), words("g h i j k l"), words("m n o p q r")]
    close(self_bleu(generated), [[0.0] * 4] * 3)
    close(bleu(generated, generated), [[1.0] * 4] * 3)


def test_copies_have_a_self_bleu_of_1() -> None:
    generated = [words("a b c d e"), words("v w x y z"), words("a b c d e"), words("v w x y z")]
    close(self_bleu(generated), [[1.0] * 4] * 4)


def test_counts_are_those_of_one_reference_and_not_their_sum() -> None:
    """Of "the" seven times two count, since one reference has it twice (Papineni et al., 2002); no bigram matches."""
    references = [words("the cat is on the mat"), words("there is a cat on the mat")]
    expected = [math.exp(sum(map(math.log, (2 / 7, 0.1 / 6, 0.1 / 5, 0.1 / 4, 0.1 / 3)[:n])) / n) for n in (2, 3, 4, 5)]
    close(bleu([["the"] * 7], references), [expected])


def test_a_copy_of_a_reference_has_1() -> None:
    close(bleu([words("a b c d e f")], [words("x y"), words("a b c d e f")]), [[1.0] * 4])


def test_a_perfect_beginning_pays_for_its_brevity() -> None:
    close(bleu([words("a b c d e")], [words("a b c d e f g")]), [[math.exp(1 - 7 / 5)] * 4])


def test_of_two_lengths_as_close_the_shorter_counts() -> None:
    """5 tokens, references of 3 and of 7: no penalty."""
    close(bleu([words("a b c d e")], [words("a b c d e f g"), words("a b c")]), [[1.0] * 4])
    close(bleu([words("a b c d e")], [words("a b c d e f g"), words("a b")]), [[math.exp(1 - 7 / 5)] * 4])


@pytest.mark.parametrize("lengths", [[3], [3, 3], [1, 4, 9], [2, 5, 5, 5, 8], [0, 10]])
def test_the_closest_length(lengths: list[int]) -> None:
    for length in range(12):
        assert closest_length(lengths, length) == min(lengths, key=lambda one: (abs(one - length), one))
    for length in set(lengths) if len(lengths) > 1 else ():
        others = list(lengths)
        others.remove(length)
        assert closest_other_length(lengths, length) == min(others, key=lambda one: (abs(one - length), one))


def test_short_and_empty_sentences() -> None:
    """Without n-grams a precision is 0.1 of 1; an empty sentence, or one without a shared word, has 0."""
    references = [words("a b c")]
    expected = [math.exp(1 - 3 / 2) * math.exp((n - 2) * math.log(0.1) / n) for n in (2, 3, 4, 5)]
    close(bleu([words("a b"), [], words("x y z")], references), [expected, [0.0] * 4, [0.0] * 4])
    close(bleu([words("a b c")], [[], ["a"]]), [by_nltk(words("a b c"), [[], ["a"]])])
    close(bleu([["a"]], [[]]), [[0.0] * 4])
    close(self_bleu([[], []]), [[0.0] * 4] * 2)


def test_numbers_are_floats_of_all_orders() -> None:
    found = bleu(sentences(0, 3), sentences(1, 4))
    assert found.shape == (3, 4)
    assert found.dtype == torch.float64


def test_tokens_are_compared_whole() -> None:
    """Two tokens that together read as another are not that one."""
    close(bleu([["ab", "c"]], [["a", "bc"]]), [[0.0] * 4])
    assert bleu([["a b", "c"]], [["a", "b c"]]).sum() == 0


def test_bleu_is_that_of_sacrebleu_where_it_has_n_grams() -> None:
    """sacrebleu's "floor" puts 0.1 for a count of 0 as well; sentences shorter than n it leaves at fewer orders."""
    generated = [sentence for sentence in sentences(3, 40, 15) if len(sentence) >= 5]
    references = sentences(4, 6, 15)
    assert len(generated) > 20
    oracles: list[Any] = [
        sacrebleu.metrics.bleu.BLEU(smooth_method="floor", smooth_value=0.1, tokenize="none", max_ngram_order=n, effective_order=False)
        for n in (2, 3, 4, 5)
    ]
    texts = [" ".join(reference) for reference in references]
    expected = [[oracle.sentence_score(" ".join(sentence), texts).score / 100 for oracle in oracles] for sentence in generated]
    close(bleu(generated, references), expected)


def test_both_see_each_n_gram_of_a_reference_once() -> None:
    """Work grows with the number of sentences, not with that of pairs: no reference is read again for another sentence."""

    class Counted(list[str]):
        read = 0

        def __getitem__(self, index: Any) -> Any:
            Counted.read += 1
            return super().__getitem__(index)

    references: Sentences = [Counted(sentence) for sentence in sentences(5, 20)]
    bleu(sentences(6, 1), references)
    once = Counted.read
    Counted.read = 0
    bleu(sentences(6, 50), references)
    assert Counted.read == once > 0
    Counted.read = 0
    self_bleu(references)
    assert Counted.read == 2 * once


@pytest.mark.parametrize(("generated", "references"), [([], [["a"]]), ([["a"]], [])])
def test_nothing_to_compare(generated: Sentences, references: Sentences) -> None:
    with pytest.raises(DataError, match=r"at least 1 (generated sentences|references) here, got 0"):
        bleu(generated, references)


def test_one_sentence_has_no_others() -> None:
    with pytest.raises(DataError, match="at least 2 generated sentences here, got 1"):
        self_bleu([["a", "b"]])


@pytest.mark.parametrize("wrong", ["a b c", [1, 2, 3], None, float("nan")])
def test_text_that_is_not_in_tokens(wrong: Any) -> None:
    measures: list[Callable[[], torch.Tensor]] = [
        lambda: bleu([["a"], wrong], [["a"]]),
        lambda: bleu([["a"]], [["a"], wrong]),
        lambda: self_bleu([["a"], wrong]),
    ]
    for measure in measures:
        with pytest.raises(DataError, match=r"list of tokens, each a string; number 1 of the (generated sentences|references) is") as found:
            measure()
        assert "\n" not in str(found.value)
