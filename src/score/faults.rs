//! Faults of known evaluation suites, each with a test that we do not share it.

use super::{Figures, Metric, Settings, Truth, Yardstick};

fn measured(metric: Metric, truth: &str, answer: &str) -> f64 {
    let truth = Truth { texts: vec![truth.into()], ..Truth::default() };
    Yardstick::new(metric, &truth, Settings::default()).expect("a yardstick").measure(answer)
}

/// `VLMEvalKit` e8e78f05 hands answers to Python's `eval`.
#[test]
fn answers_are_text_and_never_run() {
    for answer in ["__import__('os').system('touch x')", "1/0", "9**9**9", "[0]*10**10", "open('/etc/passwd').read()"] {
        for metric in Metric::ALL {
            let truth = Truth {
                texts: vec!["5".into()],
                data: Some(serde_json::json!([0, 0, 1, 1])),
                schema: Some(serde_json::json!({"type": "number"})),
            };
            let worth = Yardstick::new(metric, &truth, Settings::default()).expect("a yardstick").measure(answer);
            let is_nothing = worth < 0.1 || metric.better() == super::Better::Lower && worth >= 1.0;
            assert!(is_nothing, "{metric} of {answer}: {worth}");
        }
    }
    assert!(measured(Metric::Numeric, "2", "1+1") < 0.5, "sums are not added up either");
}

/// `VLMEvalKit` compares normalised texts and divides by the length of texts as they came, so that spaces make an
/// answer better.
#[test]
fn anls_divides_by_the_length_of_what_it_compares() {
    let spaced = "hexxo          ";
    assert!((measured(Metric::Anls, "hello", spaced) - 0.6).abs() < 1e-9);
    assert!((measured(Metric::Anls, "hello", "hexxo") - 0.6).abs() < 1e-9);
}

/// `VLMEvalKit` compares texts where the target is 0, because there are no 5 % of it.
#[test]
fn relaxed_accuracy_knows_zero() {
    for (truth, answer, expected) in [("0", "0.0", 1.0), ("0.00", "-0", 1.0), ("0", "0%", 1.0), ("0", "0.04", 0.0)] {
        assert!((measured(Metric::RelaxedAccuracy, truth, answer) - expected).abs() < 1e-9, "{answer} for {truth}");
    }
}

/// Relaxed accuracy of the suites divides every number with a percent sign by 100, so that `14%` is wrong for 14.
#[test]
fn a_percent_sign_does_not_make_a_right_answer_wrong() {
    for (truth, answer, expected) in
        [("14", "14%", 1.0), ("14%", "14", 1.0), ("0.14", "14%", 1.0), ("14", "1400%", 0.0), ("1,234", "1234", 1.0)]
    {
        assert!((measured(Metric::RelaxedAccuracy, truth, answer) - expected).abs() < 1e-9, "{answer} for {truth}");
    }
}

/// `float()` of Python takes `nan`, `inf` and `1_0`, and a comparison with NaN is a result that nobody sees.
#[test]
fn what_is_not_finite_is_no_number() {
    for answer in ["nan", "inf", "-inf", "1e999", "Infinity"] {
        assert!(measured(Metric::RelaxedAccuracy, "5", answer) < 0.5, "{answer}");
        assert!(measured(Metric::Numeric, "5", answer) < 0.5, "{answer}");
    }
}

/// Substring containment takes any long answer: `OCRBench`'s fault is documented, so both figures have to be looked at.
/// An exact measure stands beside it that an answer with everything in it does not satisfy.
#[test]
fn saying_everything_is_not_exact() {
    let everything = "Paris London Rome Madrid Berlin";
    assert!(measured(Metric::Contains, "Rome", everything) > 0.5);
    assert!(measured(Metric::Exact, "Rome", everything) < 0.5);
    assert!(measured(Metric::TokenF1, "Rome", everything) < 0.5);
}

/// Token measures that split at white space give Chinese and Japanese all or nothing.
#[test]
fn scripts_without_spaces_are_measured_by_character() {
    assert!((measured(Metric::TokenF1, "東京都庁", "東京都") - 6.0 / 7.0).abs() < 1e-9);
    assert!((measured(Metric::WerNormalized, "東京都庁", "東京都") - 0.25).abs() < 1e-9);
}

/// Measures of bytes or of one Unicode form call the same word different.
#[test]
fn the_same_word_in_another_unicode_form_is_the_same() {
    for metric in [Metric::Exact, Metric::Contains] {
        assert!((measured(metric, "café", "CAFE\u{301}") - 1.0).abs() < 1e-9, "{metric}");
    }
    assert!(measured(Metric::CerNormalized, "café", "cafe\u{301}").abs() < 1e-9);
    assert!((measured(Metric::Cer, "漢字", "漢了") - 0.5).abs() < 1e-9, "one of two characters");
}

/// A pattern with a backtracking matcher, an edit distance without a bound, or a figure that is no number lets one
/// answer stop a run or spoil its mean.
#[test]
fn no_answer_takes_for_ever_or_leaves_the_scale() {
    let answers = [
        "a".repeat(300_000),
        format!("e{}", "\u{301}".repeat(100_000)),
        "[".repeat(100_000),
        "1,".repeat(100_000),
        format!("[{}0]", "[0,0,1,1],".repeat(20_000)),
        "\u{0}\u{202e}\u{feff}".into(),
        String::new(),
    ];
    for metric in Metric::ALL {
        let truth = Truth {
            texts: vec![if metric == Metric::Numeric { "5".into() } else { "(a+)+$".into() }],
            data: Some(serde_json::json!([[0, 0, 1, 1]])),
            schema: Some(serde_json::json!({"type": "string", "pattern": "^(a+)+$"})),
        };
        let yardstick = Yardstick::new(metric, &truth, Settings::default()).expect("a yardstick");
        for answer in &answers {
            let worth = yardstick.measure(answer);
            let is_fit = match metric.figures() {
                Figures::Proportion => worth.abs() < 1e-9 || (worth - 1.0).abs() < 1e-9,
                Figures::Share => (0.0..=1.0).contains(&worth),
                Figures::Rate => worth.is_finite() && worth >= 0.0,
            };
            assert!(is_fit, "{metric} of {answer:.20}: {worth}");
        }
    }
}
