//! Names beside points in a picture, each where it covers least of what is there already.

use super::plot::{BOTTOM, LEFT, RIGHT, TOP};

/// About how wide a letter of a name is, and how high.
const LETTER: f64 = 8.2;
const LINE: f64 = 15.0;
/// Letters of a name.
const LONGEST: usize = 28;
/// Between a point and its name.
const GAP: f64 = 10.0;

/// A point with its interval, in the picture's own units from its upper left corner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A name and where it stands.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) anchor: &'static str,
    area: Area,
}

/// Left, top, right and bottom.
type Area = [f64; 4];

/// What is taken.
#[derive(Debug, Default)]
pub(super) struct Labels {
    taken: Vec<Area>,
}

impl Labels {
    /// Names that leave these points alone.
    pub(super) fn beside(marks: impl IntoIterator<Item = Mark>) -> Self {
        let taken = marks.into_iter().flat_map(|mark| {
            let point = [mark.x - 7.0, mark.y - 7.0, mark.x + 7.0, mark.y + 7.0];
            // A name that crosses a line is harder to read than one that touches it.
            [point, [mark.x - 5.0, mark.top, mark.x + 5.0, mark.bottom]]
        });
        Self { taken: taken.collect() }
    }

    /// A place for the name of a point.
    pub(super) fn place(&mut self, mark: Mark, name: &str) -> Label {
        let text = shortened(name);
        let width = f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)) * LETTER;
        let label = |anchor: &'static str, middle: f64| {
            let (x, left) = match anchor {
                "start" => (mark.x + GAP, mark.x + GAP),
                "end" => (mark.x - GAP, mark.x - GAP - width),
                _ => (mark.x, mark.x - width / 2.0),
            };
            let area = [left, middle - LINE / 2.0, left + width, middle + LINE / 2.0];
            Label { text: text.clone(), x, y: middle + 4.0, anchor, area }
        };
        let beside = [0.0, -14.0, 14.0, -28.0, 28.0, -42.0, 42.0];
        let beside = beside.into_iter().flat_map(|down| ["start", "end"].map(|anchor| label(anchor, mark.y + down)));
        let beyond = [mark.top - GAP, mark.bottom + GAP, mark.top - 2.5 * GAP, mark.bottom + 2.5 * GAP];
        let labels = beside.chain(beyond.map(|middle| label("middle", middle)));
        let badness = |label: &Label| {
            let covered: f64 = self.taken.iter().map(|taken| overlap(label.area, *taken)).sum();
            let is_left = f64::from(u8::from(label.anchor == "end"));
            covered * 2.0 + outside(label.area) * 40.0 + (label.y - mark.y).abs() * 0.4 + is_left
        };
        let best = labels.map(|label| (badness(&label), label)).min_by(|one, other| one.0.total_cmp(&other.0));
        let best = best.map_or_else(|| label("start", mark.y), |(_, label)| label);
        self.taken.push(best.area);
        best
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let head: String = name.chars().take(LONGEST - 1).collect();
    format!("{head}…")
}

/// How far an area leaves the picture.
fn outside([left, top, right, bottom]: Area) -> f64 {
    (LEFT - left).max(0.0) + (right - RIGHT - 12.0).max(0.0) + (TOP - top).max(0.0) + (bottom - BOTTOM).max(0.0)
}

fn overlap(one: Area, other: Area) -> f64 {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    width.max(0.0) * height.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_neighbours_do_not_cover_each_other() {
        let mark = |x: f64, y: f64| Mark { x, y, top: y - 20.0, bottom: y + 20.0 };
        let marks = [mark(300.0, 100.0), mark(330.0, 104.0), mark(735.0, 100.0), mark(60.0, 330.0)];
        let mut labels = Labels::beside(marks);
        let placed = marks.map(|mark| labels.place(mark, "a-model-of-some-name"));
        for (at, one) in placed.iter().enumerate() {
            assert!(outside(one.area) < 1.0, "{one:?}");
            for other in &placed[at + 1..] {
                assert!(overlap(one.area, other.area) < 1.0, "{one:?} {other:?}");
            }
        }
        assert_eq!((placed[0].anchor, placed[2].anchor), ("end", "end"));
        assert_eq!(labels.place(mark(100.0, 100.0), &"m".repeat(90)).text.chars().count(), 28);
    }
}
