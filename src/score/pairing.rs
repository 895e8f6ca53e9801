//! Who belongs to whom: things of an answer paired with things of the truth, the most alike first.
//!
//! Greedy and the same every time: of all pairs that are still free, the most alike is taken; between equals, the
//! earlier. The best assignment of all can differ from it, but never by a thing that is alike to one other thing only.

use std::collections::HashSet;

/// Pairs `(truth, answer)` with a likeness above 0, in the order of the truth.
pub(super) fn pairs(truths: usize, answers: usize, likeness: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    let all = (0..truths).flat_map(|truth| (0..answers).map(move |answer| (truth, answer)));
    let mut ranked: Vec<(f64, (usize, usize))> =
        all.map(|pair| (likeness(pair.0, pair.1), pair)).filter(|(likeness, _)| *likeness > 0.0).collect();
    // What lies in the same place is preferred between equals, then what comes first.
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1.0.abs_diff(a.1.1), a.1).cmp(&(b.1.0.abs_diff(b.1.1), b.1))));
    let (mut taken_truths, mut taken_answers) = (vec![false; truths], vec![false; answers]);
    let mut pairs = Vec::new();
    for (_, (truth, answer)) in ranked {
        let (Some(first), Some(second)) = (taken_truths.get_mut(truth), taken_answers.get_mut(answer)) else {
            continue;
        };
        if !*first && !*second {
            (*first, *second) = (true, true);
            pairs.push((truth, answer));
        }
    }
    pairs.sort_unstable();
    pairs
}

/// Everybody of both sides: the pairs, then those who are left over with each other in order, then those without a
/// partner.
pub(super) fn aligned(
    truths: usize,
    answers: usize,
    pairs: Vec<(usize, usize)>,
) -> Vec<(Option<usize>, Option<usize>)> {
    let paired: HashSet<usize> = pairs.iter().map(|pair| pair.0).collect();
    let mut left = (0..truths).filter(move |at| !paired.contains(at));
    let paired: HashSet<usize> = pairs.iter().map(|pair| pair.1).collect();
    let mut right = (0..answers).filter(move |at| !paired.contains(at));
    let mut all: Vec<_> = pairs.into_iter().map(|(truth, answer)| (Some(truth), Some(answer))).collect();
    loop {
        match (left.next(), right.next()) {
            (None, None) => break all,
            rest => all.push(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_are_paired_first_and_nobody_twice() {
        let likeness = [[0.2, 0.9, 0.0], [0.9, 0.8, 0.0]];
        assert_eq!(pairs(2, 3, |truth, answer| likeness[truth][answer]), [(0, 1), (1, 0)]);
        assert_eq!(pairs(3, 3, |_, _| 1.0), [(0, 0), (1, 1), (2, 2)]);
        assert!(pairs(3, 0, |_, _| 1.0).is_empty() && pairs(2, 2, |_, _| 0.0).is_empty());
    }

    #[test]
    fn nobody_is_left_out() {
        let all = aligned(3, 4, vec![(1, 0)]);
        assert_eq!(all, [(Some(1), Some(0)), (Some(0), Some(1)), (Some(2), Some(2)), (None, Some(3))]);
    }
}
