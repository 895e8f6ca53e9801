//! From figures to places in a picture: even steps for shares, decades for money and time.

/// A range of figures along an axis, and the figures that are written beside it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    pub(super) ticks: Vec<f64>,
    is_logarithmic: bool,
}

impl Scale {
    /// An axis of shares that holds all of these, between 0 and 1, ending on even figures.
    pub(super) fn shares(figures: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = ends(figures).unwrap_or((0.0, 1.0));
        let (low, high) = (low.clamp(0.0, 1.0), high.clamp(0.0, 1.0));
        let is_enough = |step: &f64| (high - low) / step <= 5.0;
        let step = [0.01, 0.02, 0.05, 0.1, 0.2].into_iter().find(is_enough).unwrap_or(0.25);
        let below = (low / step + 1e-9).floor();
        let above = (high / step - 1e-9).ceil().max(below + 1.0);
        let (below, above) = if above * step > 1.0 + 1e-9 { (below - 1.0, above - 1.0) } else { (below, above) };
        let ticks = (0..12).map(|at| (below + f64::from(at)) * step).take_while(|tick| *tick <= above * step + 1e-9);
        Self { low: below * step, high: above * step, ticks: ticks.collect(), is_logarithmic: false }
    }

    /// An axis of decades that holds all of these, which are above 0, with some room at both ends.
    pub(super) fn decades(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = ends(figures).filter(|(low, _)| *low > 0.0)?;
        let room = ((high / low).ln() * 0.12).max(0.35);
        let (low, high) = (low.ln() - room, high.ln() + room);
        let is_long = high - low > 8.5;
        let leads: &[f64] = if is_long { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let ticks = (-12..=12).flat_map(|power| leads.iter().map(move |lead| lead * 10_f64.powi(power)));
        let ticks = ticks.filter(|tick| (low..=high).contains(&tick.ln())).collect();
        Some(Self { low, high, ticks, is_logarithmic: true })
    }

    /// How far along the axis a figure lies, from 0 to 1.
    pub(super) fn place(&self, figure: f64) -> f64 {
        let figure = if self.is_logarithmic { figure.ln() } else { figure };
        ((figure - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn ends(figures: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = figures.into_iter().filter(|figure| figure.is_finite());
    finite.fold(None, |ends, figure| {
        let (low, high) = ends.unwrap_or((figure, figure));
        Some((figure.min(low), figure.max(high)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_end_on_even_figures_and_stay_possible() {
        let scale = Scale::shares([0.62, 0.91]);
        assert!((scale.low - 0.6).abs() < 1e-9 && (scale.high - 1.0).abs() < 1e-9, "{scale:?}");
        assert!((scale.place(0.8) - 0.5).abs() < 1e-9);
        for figures in [vec![], vec![1.0], vec![0.0], vec![0.0, 1.0], vec![f64::NAN, 0.5]] {
            let scale = Scale::shares(figures);
            assert!(scale.low >= -1e-9 && scale.high <= 1.0 + 1e-9 && scale.low < scale.high, "{scale:?}");
            assert!((2..=7).contains(&scale.ticks.len()), "{scale:?}");
        }
    }

    #[test]
    fn decades_hold_what_is_shown() {
        let scale = Scale::decades([0.3, 45.0]).expect("a scale");
        assert!(scale.place(0.3) > 0.05 && scale.place(45.0) < 0.95);
        assert!(scale.ticks.len() >= 3, "{scale:?}");
        assert!(!Scale::decades([7.0]).expect("a scale").ticks.is_empty());
        assert!(Scale::decades([0.0, 1.0]).is_none() && Scale::decades([]).is_none());
    }
}
