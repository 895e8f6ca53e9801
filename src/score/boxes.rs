//! Boxes held against boxes: how far they cover the same, and whether each was found.

use serde_json::Value;

use super::pairing;
use super::text::share;

/// Boxes of an answer that are looked at; the others count as boxes that nothing matches.
pub const MOST: usize = 1000;
/// The overlap from which a box counts as found: acc@0.5 of referring expressions, AP50 of detection.
pub const FOUND: f64 = 0.5;

/// A rectangle by two corners, in any one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

/// What boxes of an answer came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// The mean overlap, from 0 to 1, over as many boxes as the side with more of them has.
    pub mean: f64,
    /// Whether every box was found, and none beside them was given.
    pub is_hit: bool,
}

impl Rectangle {
    /// A rectangle by two opposite corners; nothing where a coordinate is not finite.
    #[must_use]
    pub fn new([x0, y0, x1, y1]: [f64; 4]) -> Option<Self> {
        let all_finite = [x0, y0, x1, y1].iter().all(|coordinate| coordinate.is_finite());
        all_finite.then(|| Self { left: x0.min(x1), top: y0.min(y1), right: x0.max(x1), bottom: y0.max(y1) })
    }

    fn area(self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Intersection over union, from 0 to 1. Two boxes without area overlap when they are the same.
    #[must_use]
    pub fn overlap(self, other: Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        let inside = width.max(0.0) * height.max(0.0);
        let both = self.area() + other.area() - inside;
        if both > 0.0 && both.is_finite() { inside / both } else { f64::from(u8::from(self == other)) }
    }
}

/// Reads boxes: `[x0, y0, x1, y1]`, an object with that below `box`, `bbox`, `bbox_2d` or `region`, or a list of
/// either. Other orders of the four numbers (COCO's width and height, Gemini's y first) cannot be told from this one;
/// ask for this one.
///
/// Nothing where something in it is no box.
#[must_use]
pub fn read(value: &Value) -> Option<Vec<Rectangle>> {
    match one(value) {
        Some(rectangle) => Some(vec![rectangle]),
        None => value.as_array()?.iter().map(one).collect(),
    }
}

fn one(value: &Value) -> Option<Rectangle> {
    let named = ["box", "bbox", "bbox_2d", "region"].iter().find_map(|name| value.get(name));
    let corners: Vec<f64> = named.unwrap_or(value).as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?;
    Rectangle::new(corners.try_into().ok()?)
}

/// Compares boxes after pairing those that overlap most. With none on either side, all were found.
#[must_use]
pub fn compare(truths: &[Rectangle], answers: &[Rectangle]) -> Overlap {
    let looked_at = |all: &'_ [Rectangle], at: usize| all.get(at).copied();
    let overlap = |truth: usize, answer: usize| {
        looked_at(truths, truth).zip(looked_at(answers, answer)).map_or(0.0, |(truth, answer)| truth.overlap(answer))
    };
    let most = truths.len().max(answers.len());
    if most == 0 {
        return Overlap { mean: 1.0, is_hit: true };
    }
    let pairs = pairing::pairs(truths.len().min(MOST), answers.len().min(MOST), overlap);
    let overlaps: Vec<f64> = pairs.iter().map(|(truth, answer)| overlap(*truth, *answer)).collect();
    let found = overlaps.iter().filter(|overlap| **overlap >= FOUND).count();
    Overlap { mean: overlaps.iter().sum::<f64>() * share(1, most), is_hit: found == most }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn boxes(value: &Value) -> Vec<Rectangle> {
        read(value).expect("boxes")
    }

    fn overlap(truth: &Value, answer: &Value) -> Overlap {
        compare(&boxes(truth), &boxes(answer))
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        for (truth, answer, mean, is_hit) in [
            (json!([0, 0, 2, 2]), json!([0, 0, 2, 2]), 1.0, true),
            (json!([0, 0, 2, 2]), json!([1, 0, 3, 2]), 1.0 / 3.0, false),
            (json!([0, 0, 2, 2]), json!([2, 2, 0, 1]), 0.5, true),
            (json!([0, 0, 1, 1]), json!([1, 1, 2, 2]), 0.0, false),
            (json!([1, 1, 1, 1]), json!([1, 1, 1, 1]), 1.0, true),
            (json!([]), json!([]), 1.0, true),
            (json!([]), json!([0, 0, 1, 1]), 0.0, false),
            (json!([[0, 0, 1, 1], [5, 5, 6, 6]]), json!([{"box": [5, 5, 6, 6], "label": "x"}]), 0.5, false),
            (json!([[0, 0, 1, 1], [5, 5, 6, 6]]), json!([[5, 5, 6, 6], [0, 0, 1, 1]]), 1.0, true),
        ] {
            let found = overlap(&truth, &answer);
            assert!((found.mean - mean).abs() < 1e-9 && found.is_hit == is_hit, "{truth} {answer}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_box_is_none() {
        for value in [
            json!("0,0,1,1"),
            json!([0, 0, 1]),
            json!([[0, 0, 1, "1"]]),
            json!({"box": null}),
            json!([[0, 0, 1, 1], 5]),
        ] {
            assert_eq!(read(&value), None, "{value}");
        }
        let huge = boxes(&json!([-1e308, -1e308, 1e308, 1e308]))[0];
        assert!((0.0..=1.0).contains(&huge.overlap(Rectangle::new([0.0, 0.0, 1.0, 1.0]).expect("a box"))));
    }
}
