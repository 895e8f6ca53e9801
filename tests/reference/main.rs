//! Measures cases that come as lines of JSON, one result for each line, for `check.py` to hold against other programs.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};
use visiongate::score::{Metric, Settings, Truth, Yardstick, boxes};
use visiongate::statistics::bootstrap::{self, Resampling};
use visiongate::statistics::{Interval, Level, Sample, correction, power, quantile, sign, wilson};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let case: Value = serde_json::from_str(&line?)?;
        let result = measured(&case).ok_or_else(|| format!("no such case: {case}"))?;
        writeln!(out, "{result}")?;
    }
    out.flush()?;
    Ok(())
}

/// The result of one case; nothing for a case that is not known.
fn measured(case: &Value) -> Option<Value> {
    let figure = |name: &str| case[name].as_f64();
    let count = |name: &str| usize::try_from(case[name].as_u64()?).ok();
    let figures = |name: &str| case[name].as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    let ends = |interval: Interval| json!([interval.low, interval.high]);
    Some(match case["kind"].as_str()? {
        "wilson" => ends(wilson::interval(count("successes")?, count("count")?, Level::new(figure("level")?)?)),
        "mcnemar" => json!(sign::exact(count("wins")?, count("losses")?)),
        "randomised" => json!(sign::randomised(&figures("differences")?, count("draws")?, 1)),
        "quantile" => json!(quantile::quantile(&figures("values")?, figure("share")?)?),
        "bca" => {
            let resampling = Resampling { resamples: count("resamples")?, seed: 1 };
            ends(bootstrap::bca(&Sample::independent(figures("values")?)?, Level::NINETY_FIVE, resampling))
        }
        "standard_error" => {
            let clusters = case["clusters"].as_array()?.iter().filter_map(Value::as_u64);
            json!(Sample::new(clusters.zip(figures("values")?))?.standard_error())
        }
        "holm" => json!(correction::holm(&figures("values")?)),
        "bonferroni" => json!(correction::bonferroni(&figures("values")?)),
        "detectable" => {
            json!(power::detectable(figure("standard_error")?, figure("freedom")?, Level::NINETY_FIVE, power::USUAL))
        }
        "overlap" => {
            let rectangle = |name: &str| boxes::Rectangle::new(figures(name)?.try_into().ok()?);
            json!(rectangle("one")?.overlap(rectangle("other")?))
        }
        metric => {
            let texts = case["truths"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let truth = Truth { texts, ..Truth::default() };
            let metric: Metric = metric.parse().ok()?;
            json!(Yardstick::new(metric, &truth, Settings::default()).ok()?.measure(case["answer"].as_str()?))
        }
    })
}
