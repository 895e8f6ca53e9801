"""Holds the measures and statistics against independent programs, on cases at random and by hand.

    check.py EXAMPLE        EXAMPLE is the cargo example `reference`; SEED makes other cases

Prints a line for each measure, and how many passed; the exit code is 1 when one failed.
"""

import json
import os
import random
import subprocess
import sys
import warnings

import jiwer
import numpy as np
import pandas as pd
import scipy.stats
import shapely
import statsmodels.formula.api as smf
from anls_star import anls_score
from rapidfuzz.distance import Levenshtein
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from transformers.data.metrics.squad_metrics import compute_f1

warnings.filterwarnings("ignore")
SEED = int(os.environ.get("SEED", "1"))
RANDOM = random.Random(SEED)
CASES = 1200

# Letters with and without accents, combining marks, capitals that grow, CJK, Thai, right-to-left, emoji with joiners.
LETTERS = list("aaabbcdeABÉéßẞıİΣσςñ0123.,-") + ["e\u0301", "\u0308", "漢", "字", "か", "が", "한", "ไ", "ท"]
LETTERS += ["ש", "\u05b8", "م", "🙂", "👩\u200d💻", "🇩🇪", "\u200f", "ﬁ", "Ａ"]
BY_HAND = [
    ("", ""), ("", "a"), ("a", ""), ("", " "), (" ", ""), ("abc", "abc"), ("abc", "xyz"), ("a", "a a a a"),
    ("hello", "hexxo          "), ("ab", "ax"), ("é", "e\u0301"), ("ΟΔΟΣ", "οδος"), ("İ", "i\u0307"), ("straße", "STRASSE"),
    ("שלום עולם", "עולם שלום"), ("👩\u200d💻", "👩💻"), ("漢字", "漢"), ("the", "a"), ("the cat", "cat"), ("...", "!"),
    ("None", "none"), ("__import__('os')", "1/0"), ("a" * 500, "b" * 700), ("ab" * 300, "ba" * 300), ("x" * 64, "x" * 65),
]


def text(letters, spaces, longest):
    length = RANDOM.choice([0, 1, 2, 5, 10, 30, longest])
    parts = [RANDOM.choice(spaces) if RANDOM.random() < 0.2 else RANDOM.choice(letters) for _ in range(length)]
    return "".join(parts)


def changed(original, letters, spaces):
    """The text with a few slips, as readers make them."""
    kept = list(original)
    for _ in range(RANDOM.randrange(0, 2 + len(kept) // 4)):
        at = RANDOM.randrange(0, len(kept) + 1)
        kept[at : at + RANDOM.randrange(0, 2)] = [RANDOM.choice(letters + spaces)] if RANDOM.random() < 0.6 else []
    return "".join(kept)


def pairs(letters=LETTERS, spaces=(" ",)):
    spaces = list(spaces)
    yield from BY_HAND
    for at in range(CASES):
        truth = text(letters, spaces, 200)
        yield truth, changed(truth, letters, spaces) if at % 4 else text(letters, spaces, 200)


def flat(numbers):
    return [float(number) for number in np.atleast_1d(numbers)]


def near(digits=1e-9):
    return lambda found, expected, case: np.allclose(flat(found), flat(expected), rtol=digits, atol=digits)


CHECKS = []


def check(name, same=near()):
    def add(cases):
        CHECKS.append((name, list(cases()), same))
        return cases

    return add


def measure(kind, pairs, expected):
    for truth, answer in pairs:
        yield {"kind": kind, "truths": [truth], "answer": answer}, expected(truth, answer)


# ---- texts --------------------------------------------------------------------------------------------------------


@check("cer: jiwer")
def _():
    return measure("cer", pairs(spaces=[" ", "  ", "\n", "\t", "\u00a0", "\u3000"]), jiwer.cer)


# jiwer parts words at spaces only, and takes a line feed between two words for a letter; ours parts them at any white space.
@check("wer: jiwer")
def _():
    return measure("wer", pairs(spaces=[" ", "  "]), jiwer.wer)


@check("anls: anls_star")
def _():
    return measure("anls", pairs(spaces=[" ", "  ", "\n", "\u3000"]), anls_score)


@check("anls, the best of several truths: anls_star")
def _():
    for (one, answer), (other, _) in zip(pairs(), reversed(list(pairs()))):
        yield {"kind": "anls", "truths": [one, other], "answer": answer}, anls_score((one, other), answer)


# SQuAD knows English: words are parted by spaces, only ASCII's punctuation is none, and no form is another's.
@check("token_f1: SQuAD in transformers")
def _():
    words = ["the", "a", "An", "cat", "Cat", "dog's", "25.41", "U.S.", "--", "(sat)", "theatre", "été", "שלום", "x,y", ""]
    sentence = lambda: " ".join(RANDOM.choice(words) for _ in range(RANDOM.randrange(0, 12)))
    cases = [(sentence(), sentence()) for _ in range(CASES)]
    cases += [("", ""), ("the", ""), ("", "cat"), ("the", "a an"), ("cat cat", "cat"), ("...", ",")]
    return measure("token_f1", cases, compute_f1)


@check("similarity: RapidFuzz")
def _():
    spaced = lambda text: " ".join(text.split())
    similarity = lambda truth, answer: Levenshtein.normalized_similarity(spaced(truth), spaced(answer))
    return measure("similarity", pairs(spaces=[" ", "\n"]), similarity)


# ---- boxes --------------------------------------------------------------------------------------------------------


@check("box overlap: Shapely")
def _():
    for at in range(CASES):
        draw = (lambda: RANDOM.randrange(0, 12)) if at % 2 else (lambda: RANDOM.uniform(-5, 5))
        one, other = [draw() for _ in range(4)], [draw() for _ in range(4)]
        first, second = (shapely.box(min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])) for b in (one, other))
        union = first.union(second).area
        if union > 0:
            yield {"kind": "overlap", "one": one, "other": other}, first.intersection(second).area / union


# ---- statistics ---------------------------------------------------------------------------------------------------


@check("wilson: statsmodels")
def _():
    cases = [(0, 1), (1, 1), (0, 30), (30, 30), (1, 100000)]
    cases += [(RANDOM.randrange(0, count + 1), count) for count in (RANDOM.randrange(1, 3000) for _ in range(CASES))]
    for successes, count in cases:
        level = RANDOM.choice([0.8, 0.9, 0.95, 0.99])
        expected = proportion_confint(successes, count, alpha=1 - level, method="wilson")
        yield {"kind": "wilson", "successes": successes, "count": count, "level": level}, expected


@check("exact test of McNemar: statsmodels")
def _():
    cases = [(0, 0), (0, 1), (5, 5), (0, 400), (1000, 900)]
    cases += [(RANDOM.randrange(0, 60), RANDOM.randrange(0, 60)) for _ in range(CASES)]
    for wins, losses in cases:
        expected = mcnemar([[3, wins], [losses, 4]], exact=True).pvalue if wins + losses else 1.0
        yield {"kind": "mcnemar", "wins": wins, "losses": losses}, expected


def drawn(count):
    """Scores as measures have them: even, mostly right, mostly without error."""
    kind = RANDOM.randrange(0, 3)
    ranks = [RANDOM.random() for _ in range(count)]
    shape = [lambda x: x, lambda x: min(1.0, 2 * x), lambda x: 0.0 if x < 0.4 else x**4][kind]
    return [shape(rank) for rank in ranks]


@check("quantiles: NumPy")
def _():
    for _ in range(CASES):
        values = [RANDOM.choice([RANDOM.random(), RANDOM.randrange(0, 5), -1e6, 1e9]) for _ in range(RANDOM.randrange(1, 40))]
        share = RANDOM.choice([0, 0.5, 0.9, 0.99, 1, RANDOM.random()])
        yield {"kind": "quantile", "values": values, "share": share}, np.quantile(values, share)


def within_noise(found, expected, case):
    """Ends of intervals from so many resamples differ by some hundredths of the width."""
    return np.allclose(found, expected, rtol=0, atol=0.1 * (expected[1] - expected[0]) + 1e-12)


@check("bootstrap (BCa): SciPy, within its noise", within_noise)
def _():
    random = np.random.default_rng(SEED)
    for _ in range(1000):
        values = drawn(RANDOM.randrange(20, 60))
        found = scipy.stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=random).confidence_interval
        yield {"kind": "bca", "values": values, "resamples": 4000}, [found.low, found.high]


@check("standard error in clusters: statsmodels")
def _():
    for _ in range(1000):
        values = drawn(RANDOM.randrange(6, 40))
        clusters = [RANDOM.randrange(0, 5) for _ in values]
        clusters[:2] = [0, 1]
        data = pd.DataFrame({"score": values, "id": clusters})
        fitted = smf.ols("score ~ 1", data).fit(cov_type="cluster", cov_kwds={"groups": data["id"]})
        yield {"kind": "standard_error", "values": values, "clusters": clusters}, fitted.bse.iloc[0]


def corrections(method):
    for _ in range(CASES):
        values = [RANDOM.choice([RANDOM.random(), RANDOM.random() / 100, 0.0, 1.0]) for _ in range(RANDOM.randrange(1, 12))]
        yield {"kind": method, "values": values}, multipletests(values, method=method)[1]


@check("holm: statsmodels")
def _():
    return corrections("holm")


@check("bonferroni: statsmodels")
def _():
    return corrections("bonferroni")


# Ours adds two quantiles, where statsmodels solves for the noncentral distribution: a hundredth apart for ten items.
@check("smallest detectable difference: statsmodels, within a hundredth", near(0.01))
def _():
    # Two-sided, either sign is a solution.
    solve = lambda count: np.ravel(TTestPower().solve_power(nobs=count, alpha=0.05, power=0.8))[0]
    solved = {count: abs(solve(count)) for count in range(10, 510)}
    for _ in range(1000):
        count, deviation = RANDOM.choice(list(solved)), RANDOM.uniform(0.01, 2)
        case = {"kind": "detectable", "standard_error": deviation / count**0.5, "freedom": count - 1}
        yield case, solved[count] * deviation


def as_likely(found, expected, case):
    """Both are drawn at random, five standard errors apart at most."""
    return abs(found - expected) <= 5 * (2 * max(expected * (1 - expected), 1e-3) / case["draws"]) ** 0.5


@check("paired test by randomisation: SciPy, within its noise", as_likely)
def _():
    random = np.random.default_rng(SEED)
    for _ in range(1000):
        differences = np.round([RANDOM.gauss(0.1, 1) for _ in range(RANDOM.randrange(8, 40))], 3)
        # SciPy's own two sides are twice the lesser one.
        test = scipy.stats.permutation_test(
            (differences,), lambda x, axis: abs(x.sum(axis)), permutation_type="samples", n_resamples=2000,
            alternative="greater", vectorized=True, rng=random,
        )
        yield {"kind": "randomised", "differences": differences.tolist(), "draws": 2000}, test.pvalue


# ---- comparing ----------------------------------------------------------------------------------------------------


def main():
    failed = 0
    for name, cases, same in CHECKS:
        lines = "".join(json.dumps(case) + "\n" for case, _ in cases)
        run = subprocess.run(sys.argv[1:], input=lines, capture_output=True, text=True, timeout=600)
        results = [json.loads(line) for line in run.stdout.splitlines()]
        wrong = [(case, found, expected) for found, (case, expected) in zip(results, cases) if not same(found, expected, case)]
        if run.returncode or len(results) != len(cases):
            print(f"FAIL {name}: {run.stderr.strip() or 'too few results'}")
        elif wrong or len(cases) < 1000:
            print(f"FAIL {name}: {len(wrong)} of {len(cases)} cases differ")
            for case, found, expected in wrong[:3]:
                print(f"     {json.dumps(case, ensure_ascii=False)[:300]}: {found}, and not {expected}")
        else:
            print(f"ok {name}: {len(cases)} cases", flush=True)
            continue
        failed += 1
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
