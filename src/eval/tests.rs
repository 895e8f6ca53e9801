//! Scripted runs of known worth: what counts for whom, what is left out, and whether it is said.

use serde_json::{Value, json};

use super::dataset::{Dataset, Item};
use super::gate;
use super::measured::{Measure, Verdict, measure};
use super::record::Record;
use super::summary::{Method, Summary, summarise};
use crate::gateway::Ask;
use crate::score::{Metric, Settings, Truth, Yardstick};
use crate::statistics::bootstrap::Resampling;
use crate::statistics::power::Detectable;

const METHOD: Method = Method { baseline: 0, resampling: Resampling { resamples: 200, seed: 1 } };
const MODELS: [&str; 2] = ["a", "b"];

/// Questions whose right answer is `right`, and one more without one.
fn set(questions: usize) -> Dataset {
    let item = |(id, truth): (String, Truth)| {
        let metrics = [Metric::Exact, Metric::Cer].into_iter().filter(|_| !truth.texts.is_empty());
        Item {
            ask: Ask { images: [format!("{id}.png")].into(), ..Ask::default() },
            expected: truth.texts.first().map_or(Value::Null, |text| json!(text)),
            tags: Vec::new(),
            yardsticks: metrics
                .map(|metric| Yardstick::new(metric, &truth, Settings::default()).expect("a yardstick"))
                .collect(),
            truth,
            id,
        }
    };
    let known = Truth { texts: vec!["right".into()], ..Truth::default() };
    let labelled = (0..questions).map(|id| (id.to_string(), known.clone()));
    let items = labelled.chain([("open".to_owned(), Truth::default())]).map(item).collect();
    Dataset { path: "set.jsonl".into(), digest: String::new(), items }
}

/// A line of a call, with what it says beyond the usual.
fn call(item: &str, model: &str, repeat: u32, more: Value) -> Record {
    let mut line = json!({"item": item, "model_asked": model, "repeat": repeat, "images_blake3": format!("{item} as it is"),
        "question": format!("{item} of {model}")});
    let Value::Object(more) = more else { panic!("an object") };
    line.as_object_mut().expect("an object").extend(more);
    Record::read(&line).expect("a record")
}

fn said(text: &str) -> Value {
    json!({"text": text, "cost_usd": 0.5, "usage": {"input_tokens": 10, "output_tokens": 2}})
}

fn failed(code: &str) -> Value {
    json!({"error": {"code": code, "message": "why"}})
}

fn of(dataset: &Dataset, records: Vec<Record>, before: Option<Vec<Record>>) -> Summary {
    let models = MODELS.map(str::to_owned);
    let asked = measure(dataset, &models, records, &|_, _| None, false);
    let before = before.map(|before| measure(dataset, &models, before, &|_, _| None, false));
    summarise(&asked, &models, before.as_deref(), METHOD)
}

fn near(one: Option<f64>, other: f64) {
    assert!(one.is_some_and(|one| (one - other).abs() < 1e-12), "{one:?} {other}");
}

#[test]
fn what_has_no_truth_is_no_part_of_what_a_right_answer_costs() {
    let summary = of(&set(1), vec![call("0", "a", 0, said("right")), call("open", "a", 0, said("anything"))], None);
    let cost = summary.models[0].cost;
    near(cost.per_correct, 0.5);
    near(cost.per_call, 0.5);
    near(Some(cost.total), 1.0);
    let nothing = summary.models[1].cost;
    assert!(nothing.total.is_sign_positive() && nothing.per_call.is_none(), "{nothing:?}");
}

#[test]
fn a_cost_that_is_known_in_part_is_no_mean() {
    let records = vec![
        call("0", "a", 0, said("right")),
        call("1", "a", 0, json!({"text": "right"})),
        call("2", "a", 0, failed("UPSTREAM_TIMEOUT")),
        call("3", "a", 0, failed("RATE_LIMITED")),
    ];
    let cost = of(&set(4), records, None).models[0].cost;
    assert_eq!((cost.known, cost.billed, cost.is_whole()), (1, 3, false), "a rate limit bills nothing");
    assert_eq!((cost.per_call, cost.per_correct), (None, None));
    let mut records: Vec<Record> = (0..9).map(|id| call(&id.to_string(), "a", 0, said("right"))).collect();
    records.push(call("9", "a", 0, failed("UPSTREAM_TIMEOUT")));
    let cost = of(&set(10), records, None).models[0].cost;
    assert_eq!((cost.known, cost.billed, cost.per_correct), (9, 10, None));
    near(cost.per_call, 0.5);
}

#[test]
fn remembered_answers_say_nothing_of_money_tokens_and_steadiness() {
    let cached =
        json!({"text": "right", "cached": true, "cost_usd": 0.0, "usage": {"input_tokens": 10, "output_tokens": 2}});
    let records = vec![
        call("0", "a", 0, said("right")),
        call("0", "a", 1, cached.clone()),
        call("1", "a", 0, said("wrong")),
        call("1", "a", 1, cached.clone()),
        call("0", "b", 0, cached.clone()),
        call("0", "b", 1, cached),
    ];
    let summary = of(&set(2), records, None);
    let model = &summary.models[0];
    near(model.cost.per_call, 0.5);
    near(model.cost.per_correct, 1.0);
    assert_eq!((model.calls.input_tokens, model.calls.counted, model.calls.cached), (20, 2, 2));
    assert!(model.stability.is_none() && summary.models[1].stability.is_none());
    assert_eq!(summary.models[1].cost.per_call, None, "nobody was paid");
}

#[test]
fn failures_agree_with_nothing() {
    let fails = |item: &str| [0, 1].map(|repeat| call(item, "a", repeat, failed("UPSTREAM_ERROR")));
    assert_eq!(of(&set(1), fails("0").into(), None).models[0].stability, None);
    let mut records: Vec<Record> = fails("0").into();
    records.extend(
        [said("right"), said("right"), failed("REFUSED")].into_iter().zip(0..).map(|(it, at)| call("1", "a", at, it)),
    );
    records.extend([said("right"), said("wrong")].into_iter().zip(0..).map(|(it, at)| call("2", "a", at, it)));
    let found = of(&set(3), records, None).models[0].stability.expect("two questions");
    assert_eq!((found.questions, found.left_out), (2, 1));
    near(Some(found.same), 0.5);
    near(Some(found.agreement), 0.5);
}

#[test]
fn what_the_set_is_at_fault_for_is_charged_to_no_model() {
    let missing = || json!({"error": {"code": "INVALID_INPUT", "message": "no such file"}, "images_blake3": null});
    let records = MODELS.into_iter().flat_map(|model| {
        [
            call("0", model, 0, said("right")),
            call("1", model, 0, missing()),
            call(
                "2",
                model,
                0,
                json!({"error": {"code": "IMAGE_CORRUPT", "message": "decoding the image: cut short"}}),
            ),
            call("3", model, 0, if model == "a" { failed("IMAGE_CORRUPT") } else { said("right") }),
            call("4", model, 0, failed("INVALID_INPUT")),
        ]
    });
    let summary = of(&set(5), records.collect(), None);
    let ids: Vec<&str> = summary.unaskable.iter().map(|it| it.item.as_str()).collect();
    assert_eq!((ids, summary.unaskable[0].message.as_str()), (vec!["1", "2"], "no such file"));
    let [one, other] = [&summary.models[0], &summary.models[1]];
    assert_eq!((one.calls.made, one.calls.unaskable, other.calls.made), (3, 2, 3));
    near(one.score.map(|score| score.mean), 1.0 / 3.0);
    near(other.score.map(|score| score.mean), 2.0 / 3.0);
    assert_eq!(one.calls.codes.get("IMAGE_CORRUPT"), Some(&1), "a vendor said so, and not this program");
    assert_eq!((summary.common, summary.items), (3, 6));
}

#[test]
fn answers_without_a_verdict_are_counted() {
    let dataset = set(2);
    let records = vec![call("0", "a", 0, said("x")), call("1", "a", 0, said("y")), call("open", "a", 0, said("z"))];
    let verdict = |item: &Item, _: &Record| (item.id == "0").then(|| Verdict { is_right: true, reason: String::new() });
    let models = ["a".to_owned()];
    let summary = summarise(&measure(&dataset, &models, records, &verdict, true), &models, None, METHOD);
    assert_eq!((summary.unjudged(), summary.models[0].score), (1, None), "a half of the verdicts says little");
}

/// Twenty answers and five failures of each model, of which so many answers of `a` have a verdict, and all of `b`.
fn judged(verdicts: usize) -> Summary {
    let dataset = set(25);
    let call_of = |model: &'static str| {
        move |id: usize| call(&id.to_string(), model, 0, if id < 20 { said("x") } else { failed("UPSTREAM_ERROR") })
    };
    let records: Vec<Record> = MODELS.into_iter().flat_map(|model| (0..25).map(call_of(model))).collect();
    let verdict = |item: &Item, record: &Record| {
        let is_given = record.model == "b" || item.id.parse::<usize>().is_ok_and(|id| id < verdicts);
        (is_given && record.said().is_some()).then(|| Verdict { is_right: true, reason: String::new() })
    };
    let models = MODELS.map(str::to_owned);
    summarise(&measure(&dataset, &models, records, &verdict, true), &models, None, METHOD)
}

#[test]
fn failures_alone_make_no_score_while_verdicts_are_missing() {
    let condition = |text: &str| [text.parse::<gate::Condition>().expect("a condition")];
    for (verdicts, mean) in [(0, None), (17, None), (18, Some(18.0 / 23.0)), (20, Some(0.8))] {
        let summary = judged(verdicts);
        let found = summary.models[0].score.map(|score| score.mean);
        assert_eq!(found.map(|it| format!("{it:.6}")), mean.map(|it: f64| format!("{it:.6}")), "{verdicts}");
        assert_eq!(summary.models[0].figures.contains_key(&Measure::Judged), mean.is_some());
        near(summary.models[1].score.map(|score| score.mean), 0.8);
        for measure in ["score", "judged"] {
            let least = gate::unmet(&summary, &condition(&format!("{measure}=0")), &[]);
            let loss = gate::unmet(&summary, &[], &condition(&format!("{measure}=1")));
            if verdicts == 20 {
                assert_eq!((least.len(), loss.len()), (0, 0), "{least:?} {loss:?}");
                continue;
            }
            let why = format!("a: {measure} is not known while verdicts are missing (of answers: {})", 20 - verdicts);
            assert_eq!(
                (least, loss),
                (vec![why.clone()], vec![why]),
                "a baseline that is not known compares with nothing"
            );
        }
    }
}

#[test]
fn conditions_do_not_fail_for_the_noise_of_fractions() {
    let tenths = |model: &'static str, rights: usize, items: usize| {
        (0..items)
            .map(move |id| call(&id.to_string(), model, 0, said(if id % 10 < rights { "right" } else { "wrong" })))
    };
    let summary = of(&set(30), tenths("a", 9, 30).chain(tenths("b", 8, 30)).collect(), None);
    let least = |figure: &str| gate::unmet(&summary, &[figure.parse().expect("a condition")], &[]);
    assert_eq!((least("score=0.8").len(), least("score=0.8000001").len()), (0, 1));
    // Nine tenths thirty times over, and a tenth between two of them, are neither exactly.
    let mut summary = summary;
    summary.models[1].score.as_mut().expect("a score").mean = 0.9 - 0.1;
    summary.models[0].score.as_mut().expect("a score").mean = [0.9; 30].iter().sum::<f64>() / 30.0;
    summary.models[1].versus.as_mut().expect("a difference").mean = 0.8 - 0.9;
    for (figure, models) in [("score=0.9", 1), ("score=0.8", 0), ("score=0.900001", 2)] {
        let unmet = gate::unmet(&summary, &[figure.parse().expect("a condition")], &[]);
        assert_eq!(unmet.len(), models, "{figure}: {unmet:?}");
    }
    assert_eq!((unmet(&summary, "score=0.1").len(), unmet(&summary, "score=0.0999999").len()), (0, 1));
}

fn unmet(summary: &Summary, condition: &str) -> Vec<String> {
    gate::unmet(summary, &[], &[condition.parse().expect("a condition")])
}

#[test]
fn losses_are_those_on_the_same_questions() {
    // The baseline was also asked easier ones: its mean is higher, and it is no better where both were asked.
    let mut records = vec![call("0", "a", 0, said("rig")), call("0", "b", 0, said("righ"))];
    records.extend((1..5).map(|id| call(&id.to_string(), "a", 0, said("right"))));
    let summary = of(&set(5), records, None);
    assert!(summary.models[0].score.expect("a score").mean > summary.models[1].score.expect("a score").mean);
    for condition in ["score=0", "exact=0", "cer=0"] {
        assert_eq!(unmet(&summary, condition), Vec::<String>::new(), "{condition}");
    }
    near(summary.models[1].gaps.get(&Measure::Metric(Metric::Cer)).map(|gap| gap.mean), -0.2);
    let worse = vec![call("0", "a", 0, said("right")), call("0", "b", 0, said("rig"))];
    let summary = of(&set(1), worse, None);
    let said = unmet(&summary, "cer=0.3");
    assert_eq!(said, ["b: cer is worse by 0.4000 than the baseline a, by more than 0.3 (questions compared: 1)"]);
    assert_eq!(unmet(&summary, "cer=0.5").len(), 0);
    let unknown = unmet(&summary, "anls=0.1");
    assert_eq!(unknown, ["b: no question can be compared by anls with the baseline a"]);
}

#[test]
fn an_earlier_run_is_compared_where_it_asked_the_same() {
    let asked = |text: &'static str| move |item: usize| call(&item.to_string(), "a", 0, said(text));
    let now: Vec<Record> = (0..4).map(asked("wrong")).collect();
    let mut before: Vec<Record> = (0..3).map(asked("right")).collect();
    before[1].question = Some("in other words".into());
    before[2].images = Some("another picture of that name".into());
    let summary = of(&set(4), now.clone(), Some(before.clone()));
    let score = summary.earlier[0].as_ref().and_then(|earlier| earlier.score).expect("one question");
    assert_eq!(score.items, 1);
    let said = summary.warnings.join("\n");
    for reason in ["asked something else", "about other pictures", "not asked in the earlier run"] {
        assert!(said.contains(&format!("1 of 4 questions was {reason}")), "{said}");
    }
    let unmet_now = unmet(&summary, "score=0.5");
    assert!(
        unmet_now[0].starts_with("a: score is worse by 1.0000 than in the earlier run, by more than 0.5"),
        "{unmet_now:?}"
    );
    before.remove(0);
    let summary = of(&set(4), now.clone(), Some(before));
    assert!(summary.warnings.iter().any(|warning| warning.contains("nothing is compared")), "{:?}", summary.warnings);
    assert_eq!(unmet(&summary, "score=1")[0], "a: no question can be compared by score with the earlier run");
    assert!(of(&set(4), now.clone(), Some(now)).warnings.is_empty());
}

#[test]
fn what_a_set_can_show_is_of_the_questions_that_all_were_asked() {
    let answer = |model: &str, item: usize| {
        let is_right = if model == "a" { item.is_multiple_of(3) } else { !item.is_multiple_of(3) };
        call(&item.to_string(), model, 0, said(if is_right { "right" } else { "wrong" }))
    };
    let records = |common: usize| {
        let all = (0..40).map(|item| answer("a", item)).chain((0..common).map(|item| answer("b", item)));
        all.collect::<Vec<_>>()
    };
    let summary = of(&set(40), records(40), None);
    assert!(matches!(summary.detectable(), Some(Detectable::From(least)) if least > 0.2 && least < 0.6));
    let few = of(&set(40), records(6), None);
    assert_eq!((few.common, few.common_clusters, few.clusters), (6, 6, 41));
    assert_eq!(few.detectable(), Some(Detectable::Nothing));
    assert_eq!(of(&set(40), records(1), None).detectable(), Some(Detectable::Unknown));
}
