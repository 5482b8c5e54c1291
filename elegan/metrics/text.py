"""BLEU of generated sentences against a test set, and against each other. A sentence is a list of tokens."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, fsum, log

import torch
from torch import Tensor

from elegan.errors import DataError

Sentence = Sequence[str]
Ngram = tuple[str, ...]

ORDERS = (2, 3, 4, 5)
EPSILON = 0.1
"""Stands for a count of 0 (method 1 of Chen and Cherry, 2014, with the value NLTK gives it)."""


def bleu(generated: Sequence[Sentence], references: Sequence[Sentence]) -> Tensor:
    """float64 (n, 4): BLEU-2 to BLEU-5, from 0 to 1, of each generated sentence against all references (Papineni et al., 2002).

    As Texygen has it (Zhu et al., 2018): BLEU of each sentence with uniform weights over 1-grams up to n-grams, a count of 0
    as 0.1 (NLTK's smoothing method 1), and the length of the closest reference, of the shorter if two are as close. The
    mean over sentences is the usual number; it has no say on diversity, see `self_bleu`.

    A sentence that shares no token with any reference has 0, so an empty one too. One shorter than n has no n-gram: its
    precision is 0.1 of 1. DataError where there is no generated sentence or no reference, and for a sentence that is text
    instead of tokens.
    """
    check(generated, "generated sentences", 1)
    check(references, "references", 1)
    lengths = sorted(map(len, references))
    precisions = []
    for n in range(1, max(ORDERS) + 1):
        most = largest_counts(references, n)
        precisions.append([precision(counts(sentence, n), most) for sentence in generated])
    closest = [closest_length(lengths, len(sentence)) for sentence in generated]
    return scores(generated, precisions, closest)


def self_bleu(generated: Sequence[Sentence]) -> Tensor:
    """float64 (n, 4): BLEU-2 to BLEU-5 of each generated sentence against all others; lower is more diverse (Zhu et al., 2018).

    The sentence itself is no reference, else each had 1. Published numbers differ: in Texygen's code one path leaves the
    sentence among its references, and another takes only 500 references, so compare with no number but of this function.
    A sentence that occurs twice has 1, as a copy should, if it has at least as many tokens as n. The number of sentences
    matters, since more references have more n-grams. DataError for fewer than two sentences, otherwise as `bleu`.
    """
    check(generated, "generated sentences", 2)
    lengths = sorted(map(len, generated))
    precisions = []
    for n in range(1, max(ORDERS) + 1):
        two = two_largest_counts(generated, n)
        found = []
        for i, sentence in enumerate(generated):
            own = counts(sentence, n)
            found.append(precision(own, {ngram: largest_but(two[ngram], i) for ngram in own}))
        precisions.append(found)
    closest = [closest_other_length(lengths, len(sentence)) for sentence in generated]
    return scores(generated, precisions, closest)


def counts(sentence: Sentence, n: int) -> Counter[Ngram]:
    """How often each n-gram occurs; empty for a sentence of fewer tokens."""
    return Counter(zip(*(sentence[i:] for i in range(n)), strict=False))


def largest_counts(sentences: Sequence[Sentence], n: int) -> dict[Ngram, int]:
    """The largest count of each n-gram in any one sentence."""
    most: dict[Ngram, int] = {}
    for sentence in sentences:
        for ngram, count in counts(sentence, n).items():
            if count > most.get(ngram, 0):
                most[ngram] = count
    return most


def two_largest_counts(sentences: Sequence[Sentence], n: int) -> dict[Ngram, tuple[int, int, int]]:
    """Of each n-gram the largest count, the sentence that has it, and the largest count in any other sentence."""
    two: dict[Ngram, tuple[int, int, int]] = {}
    for i, sentence in enumerate(sentences):
        for ngram, count in counts(sentence, n).items():
            first, owner, second = two.get(ngram, (0, -1, 0))
            if count > first:
                two[ngram] = (count, i, first)
            elif count > second:
                two[ngram] = (first, owner, count)
    return two


def largest_but(two: tuple[int, int, int], sentence: int) -> int:
    """The largest count in any sentence but this one."""
    first, owner, second = two
    return second if owner == sentence else first


def precision(own: Counter[Ngram], most: dict[Ngram, int]) -> tuple[int, int]:
    """Matched n-grams, each no more often than in one reference, and all n-grams, at least 1."""
    return sum(min(count, most.get(ngram, 0)) for ngram, count in own.items()), max(1, own.total())


def closest_length(lengths: Sequence[int], length: int) -> int:
    """Of ascending lengths the closest one, the shorter of two."""
    i = bisect_left(lengths, length)
    return nearer(lengths[max(0, i - 1) : i + 1], length)


def closest_other_length(lengths: Sequence[int], length: int) -> int:
    """The same, with one sentence of just this length left out."""
    i = bisect_left(lengths, length)
    return nearer([*lengths[max(0, i - 1) : i], *lengths[i + 1 : i + 2]], length)


def nearer(candidates: Iterable[int], length: int) -> int:
    return min(candidates, key=lambda candidate: (abs(candidate - length), candidate))


def scores(sentences: Sequence[Sentence], precisions: Sequence[Sequence[tuple[int, int]]], closest: Sequence[int]) -> Tensor:
    """float64 (n, 4), from the precisions (for 1-grams to 5-grams, for each sentence) and the lengths to compare with."""
    rows = []
    for sentence, reference, *of_sentence in zip(sentences, closest, *precisions, strict=True):
        if of_sentence[0][0] == 0:
            rows.append([0.0] * len(ORDERS))
            continue
        brevity = min(1.0, exp(1 - reference / len(sentence)))
        logs = [log((matched or EPSILON) / total) for matched, total in of_sentence]
        rows.append([brevity * exp(fsum(logs[:n]) / n) for n in ORDERS])
    return torch.tensor(rows, dtype=torch.float64)


def check(sentences: Sequence[Sentence], what: str, least: int) -> None:
    if len(sentences) < least:
        raise DataError(f"BLEU takes at least {least} {what} here, got {len(sentences)}.")
    for i, sentence in enumerate(sentences):
        if isinstance(sentence, str) or not isinstance(sentence, Sequence) or not all(isinstance(token, str) for token in sentence):
            raise DataError(f"a sentence is a list of tokens, each a string; number {i} of the {what} is {sentence!r:.60}. Split it first.")
