//! The report is held to the figures that it shows, and to what hostile models and sets may write.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::eval::dataset::{Dataset, Item};
use crate::eval::manifest::{AskedModel, Judging};
use crate::eval::measured::{Verdict, measure};
use crate::eval::record::Record;
use crate::eval::summary::{Method, summarise};
use crate::gateway::Ask;
use crate::score::{Metric, Settings, Truth, Yardstick};
use crate::statistics::bootstrap::Resampling;

const METHOD: Method = Method { baseline: 0, resampling: Resampling { resamples: 200, seed: 1 } };

/// Names of models that would be much else in a page or in a spreadsheet.
const HOSTILE: [&str; 2] = ["=HYPERLINK(\"http://evil\")", "</title><script>alert('model')</script>"];

fn item(id: &str, tags: &[&str]) -> Item {
    let truth = Truth { texts: vec!["the cat sat".into()], data: None, schema: None };
    let yardstick = |metric| Yardstick::new(metric, &truth, Settings::default()).expect("a yardstick");
    Item {
        id: id.to_owned(),
        ask: Ask { images: [format!("{id}.png")].into(), prompt: Some("Who sat?".into()), ..Ask::default() },
        expected: json!("the cat sat"),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        yardsticks: [Metric::Exact, Metric::Anls].map(yardstick).to_vec(),
        truth,
    }
}

fn set(items: Vec<Item>) -> Dataset {
    Dataset { path: PathBuf::from("sets/cats.jsonl"), digest: "0123456789abcdef".into(), items }
}

fn said(item: &Item, model: &str, text: &str) -> Record {
    let line = json!({"item": item.id, "model_asked": model, "repeat": 0, "images_blake3": format!("{}.png", item.id), "text": text, "provider": "acme",
        "model": "cat-7", "latency_ms": 812.4, "cost_usd": 0.000_5, "finish_reason": "stop",
        "usage": {"input_tokens": 1000, "output_tokens": 5}});
    Record::read(&line).expect("a record")
}

fn failed(item: &Item, model: &str, code: &str) -> Record {
    let line = json!({"item": item.id, "model_asked": model, "repeat": 0,
        "images_blake3": format!("{}.png", item.id), "error": {"code": code, "message": "asking the model: 500 <b>boom</b>"}});
    Record::read(&line).expect("a record")
}

fn manifest(models: &[String]) -> Manifest {
    let model = |name: &String| AskedModel {
        name: name.clone(),
        resolved: format!("acme/{name}"),
        price: Some((0.4, 2.0)),
        source: "acme price page, 2026-11-01".into(),
    };
    Manifest {
        version: "0.1.0",
        date: "2026-11-20".into(),
        dataset: "sets/cats.jsonl".into(),
        dataset_digest: "0123456789abcdef".into(),
        models: models.iter().map(model).collect(),
        standing: "Say what you see.",
        prompts: vec![("ocr".into(), "Read it.".into())],
        repeats: 1,
        seed: 42,
        temperature: Some(0.0),
        max_output_tokens: 512,
        cache: "bypass",
        stopped: Some("the sum was spent".into()),
        not_asked: 3,
        judge: Some(Judging { model: "acme/judge".into(), prompt: "Is it right?".into() }),
    }
}

/// A report and a table of what these models said to these questions.
fn rendered(dataset: &Dataset, models: &[&str], records: Vec<Record>) -> (String, String) {
    let models: Vec<String> = models.iter().map(|&model| model.to_owned()).collect();
    let verdict = |_: &Item, record: &Record| {
        record.said().map(|said| Verdict { is_right: said.contains("cat"), reason: "<i>because</i>".into() })
    };
    let asked = measure(dataset, &models, records, &verdict, false);
    let summary = summarise(&asked, &models, None, METHOD);
    let mut album = Album::default();
    album.add(&dataset.items[0].id, Thumbnail::jpeg(b"\xff\xd8\xff", 160, 90));
    let page = html(&manifest(&models), &summary, &asked, &album).expect("a page");
    (page, csv(&summary).expect("a table"))
}

/// Twenty questions; the first model is right in all, the second in a half, the third fails in one and is right in 19.
fn plain() -> (String, String) {
    let dataset =
        set((0..20).map(|at| item(&format!("cat {at}"), &["pets", if at < 5 { "few" } else { "many" }])).collect());
    let mut records = Vec::new();
    for (at, item) in dataset.items.iter().enumerate() {
        records.push(said(item, "alpha", "the cat sat"));
        records.push(said(item, "beta", if at % 2 == 0 { "the cat sat" } else { "the dog sat" }));
        records.push(if at == 8 { failed(item, "gamma", "RATE_LIMITED") } else { said(item, "gamma", "the cat sat") });
    }
    rendered(&dataset, &["beta", "alpha", "gamma"], records)
}

#[test]
fn figures_appear_as_they_were_computed() {
    let (page, _) = plain();
    for expected in [
        // The score of each, the difference of the second to the first, and that two of them cannot be told apart.
        "100.0\u{a0}%",
        "50.0\u{a0}%",
        "95.0\u{a0}%",
        "+50.0",
        "Not distinguishable from gamma, which does not say that they are alike.",
        // All three are held against each other at once.
        "5 % shared among 3\u{a0}comparisons",
        // Time and money: a thousand calls at 0.0005, and what a right answer of the second costs.
        "812\u{a0}ms",
        "$0.500",
        "$0.00100",
        // What was run, and what was not.
        "0123456789abcdef",
        "acme price page, 2026-11-01",
        "seed 42",
        "Say what you see.",
        "Read it.",
        "acme/judge",
        "Is it right?",
        "the sum was spent",
        "3\u{a0}calls are missing",
        "acme/cat-7",
        // The rest: failures, tags, the mark of a difference, and whom to believe that it is right.
        "RATE_LIMITED",
        "pets",
        "<del>cat</del><ins>dog</ins>",
        "Judged wrong",
        "data:image/jpeg;base64,/9j/",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(
        page.contains(r#"data-marks="rrw""#) && page.contains(r#"data-marks="rer""#) && page.contains("data-disagrees")
    );
    assert_eq!(page.matches("<details class=\"item\"").count(), 20);
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_only_the_own_script_may_run() {
    let (page, _) = plain();
    for outside in ["http:", "https:", "//cdn", "@import", "url(", " style=\"", " onclick", "javascript:"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for (element, text) in [("style", STYLE), ("script", SCRIPT)] {
        let inside =
            page.split(&format!("<{element}>")).nth(1).and_then(|rest| rest.split(&format!("</{element}>")).next());
        assert_eq!(inside, Some(text.0), "what stands there is what the policy names");
        assert!(
            page.contains(&format!("{element}-src &#39;sha256-{}", text.digest().replace('+', "&#43;")))
                || page.contains(&format!("{element}-src &#39;sha256-{}", text.digest()))
        );
    }
    assert!(page.contains("default-src &#39;none&#39;"));
}

#[test]
fn whatever_strangers_write_stays_text() {
    let attack = "</script></textarea></p><img src=x onerror=alert(1)><!-- \u{202e}evil\u{0}\u{1b}[2J {{ 7 * 7 }}";
    let mut hostile = item(attack, &["\"><script>alert('tag')</script>"]);
    hostile.ask.prompt = Some(attack.to_owned());
    hostile.truth.texts = vec![format!("truth {attack}")];
    let dataset = set(vec![hostile, item("b", &["b"])]);
    let records = vec![
        said(&dataset.items[0], HOSTILE[0], attack),
        failed(&dataset.items[0], HOSTILE[1], "<script>CODE</script>"),
        said(&dataset.items[1], HOSTILE[0], &format!("{attack} the cat sat")),
        said(&dataset.items[1], HOSTILE[1], "the cat sat"),
    ];
    let (page, table) = rendered(&dataset, &HOSTILE, records);
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    assert_eq!((page.matches("<img").count(), page.matches("<!--").count()), (1, 0));
    for sign in ['\u{202e}', '\0', '\u{1b}'] {
        assert!(!page.contains(sign) && !table.contains(sign), "{sign:?}");
    }
    assert!(page.contains("{{ 7 * 7 }}") && !page.contains("<i>because") && !page.contains("<b>boom"));
    let models: Vec<String> =
        rows(&table).iter().map(|row| row["model"].as_str().expect("a name").to_owned()).collect();
    assert!(models.contains(&format!("'{}", HOSTILE[0])), "{models:?}");
}

#[test]
fn the_file_stays_small_whatever_is_said() {
    let dataset = set((0..4).map(|at| item(&at.to_string(), &[])).collect());
    let long = ["word ".repeat(200_000), "x".repeat(1_000_000)];
    let answers = dataset.items.iter().zip(long.iter().cycle());
    let (page, _) = rendered(&dataset, &["alpha"], answers.map(|(item, text)| said(item, "alpha", text)).collect());
    assert!(page.len() < 100_000, "{} bytes", page.len());
    assert!(page.contains("more characters are not shown"));
}

#[test]
fn questions_beyond_the_bound_are_left_out_and_said_to_be() {
    let dataset = set((0..2050).map(|at| item(&at.to_string(), &[])).collect());
    let records = dataset.items.iter().map(|item| said(item, "alpha", "the cat sat")).collect();
    let (page, _) = rendered(&dataset, &["alpha"], records);
    assert_eq!(page.matches("<details class=\"item\"").count(), 2000);
    assert!(page.contains("The first 2000 questions are shown; 50 more"));
}

#[test]
fn a_file_is_bounded_in_bytes_whatever_signs_are_in_it() {
    let open =
        |at: usize| Item { truth: Truth::default(), yardsticks: Vec::new(), ..item(&at.to_string(), &["<\"&'>"]) };
    let dataset = set((0..2000).map(open).collect());
    // Every sign takes five bytes where it is escaped, and four where it is not.
    let hostile = ["<&".repeat(2500), "\u{1f4a5}".repeat(5000)];
    let answers = dataset.items.iter().zip(hostile.iter().cycle());
    let (page, _) = rendered(&dataset, &["alpha"], answers.map(|(item, text)| said(item, "alpha", text)).collect());
    assert!(page.len() < room::MOST && page.len() > room::MOST / 2, "{} bytes", page.len());
    let shown = page.matches("<details class=\"item\"").count();
    assert!(shown > 500 && page.contains(&format!("The first {shown} questions are shown; {} more", 2000 - shown)));
}

#[test]
fn pictures_leave_room_for_what_was_said() {
    let dataset = set((0..400).map(|at| item(&at.to_string(), &[])).collect());
    let records: Vec<Record> = dataset.items.iter().map(|item| said(item, "alpha", "the cat sat")).collect();
    let models = ["alpha".to_owned()];
    let asked = measure(&dataset, &models, records, &|_, _| None, false);
    let mut album = Album::default();
    for item in &dataset.items {
        album.add(&item.id, Thumbnail::jpeg(&vec![7; 60_000], 640, 480));
    }
    let page = html(&manifest(&models), &summarise(&asked, &models, None, METHOD), &asked, &album).expect("a report");
    assert!(page.len() < 14_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<details class=\"item\"").count(), 400);
    assert!(page.matches("<img").count() > 100 && page.contains("Not all pictures are shown"));
}

#[test]
fn what_the_figures_are_not_about_is_said() {
    let dataset = set((0..4).map(|at| item(&at.to_string(), &[])).collect());
    let mut records: Vec<Record> = Vec::new();
    for model in ["alpha", "beta"] {
        let mut all: Vec<Record> = dataset.items.iter().map(|item| said(item, model, "the cat sat")).collect();
        all[0] = Record { images: None, ..failed(&dataset.items[0], model, "IMAGE_TOO_LARGE") };
        all[1].cached = true;
        all[2].cost_usd = None;
        records.append(&mut all);
    }
    let models = ["alpha", "beta"].map(str::to_owned);
    let unheard = |item: &Item, _: &Record| (item.id != "3").then(|| Verdict { is_right: true, reason: String::new() });
    let asked = measure(&dataset, &models, records, &unheard, true);
    let summary = summarise(&asked, &models, None, METHOD);
    let page = html(&manifest(&models), &summary, &asked, &Album::default()).expect("a report");
    for expected in [
        "3\u{a0}calls are missing and 2\u{a0}verdicts are missing.",
        "4\u{a0}questions say what is right; none has a score yet",
        "Score: the mean of judged (4\u{a0}questions)",
        "1\u{a0}question could not be put to every model",
        "0 (IMAGE_TOO_LARGE: asking the model",
        "2\u{a0}answers have no verdict",
        "2 of 6\u{a0}answers were remembered",
        "1/2 known",
        "≥\u{a0}$",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("says what is right, so that"), "every question says it");
    let table = csv(&summary).expect("a table");
    let row = &rows(&table)[0];
    assert_eq!(
        (&row["cost_usd_per_call"], &row["cost_calls"], &row["cost_known_calls"]),
        (&json!(""), &json!("2"), &json!("1"))
    );
    assert_eq!(
        (&row["not_askable"], &row["not_judged"], &row["smallest_detectable_difference"]),
        (&json!("1"), &json!("1"), &json!(""))
    );
}

#[test]
fn of_what_the_order_is_made_and_what_it_can_show_is_said() {
    let dataset = set((0..2).map(|at| item(&at.to_string(), &[])).collect());
    let all = dataset.items.iter();
    let records = all.flat_map(|item| ["alpha", "beta"].map(|model| said(item, model, "the cat sat"))).collect();
    let (page, _) = rendered(&dataset, &["alpha", "beta"], records);
    for expected in [
        "made of the 2 about 2\u{a0}pictures that every model has a score for",
        "not even a difference of 100 points",
        "3\u{a0}calls are missing.",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
}

#[test]
fn tags_that_are_not_shown_are_counted() {
    let page = |tags: usize| {
        let dataset = set((0..tags).map(|at| item(&at.to_string(), &[&format!("tag {at:02}")])).collect());
        rendered(&dataset, &["alpha"], dataset.items.iter().map(|it| said(it, "alpha", "the cat sat")).collect()).0
    };
    let cut = page(61);
    assert!(cut.contains("11\u{a0}more tags are not shown") && cut.contains("<bdi>tag 49</bdi></th>"));
    assert!(!cut.contains("<bdi>tag 50</bdi></th>") && !page(50).contains("not shown: these"));
}

#[test]
fn a_run_of_which_nothing_is_known_has_a_report() {
    let dataset = set(vec![item("a", &[])]);
    let (page, table) = rendered(&dataset, &["alpha", "beta"], Vec::new());
    let shown = page.split("<script>").next().expect("what stands before the script");
    assert!(shown.contains("Leaderboard") && !shown.contains("NaN") && !shown.contains(">inf"));
    assert_eq!(rows(&table).len(), 2);
}

#[test]
fn the_table_reads_back() {
    let (_, table) = plain();
    let rows = rows(&table);
    let row = |model: &str| rows.iter().find(|row| row["model"] == model).expect("a row");
    let figure = |model: &str, column: &str| row(model)[column].as_str().and_then(|it| it.parse::<f64>().ok());
    assert_eq!((figure("alpha", "score"), figure("beta", "score")), (Some(1.0), Some(0.5)));
    let (low, high) = (figure("beta", "score_low").expect("an end"), figure("beta", "score_high").expect("an end"));
    assert!(low > 0.25 && low < 0.5 && high > 0.5 && high < 0.75, "{low} {high}");
    assert_eq!(
        (figure("alpha", "difference_to_baseline"), figure("beta", "difference_to_baseline")),
        (Some(0.5), None)
    );
    assert_eq!((figure("alpha", "better_items"), figure("gamma", "worse_items")), (Some(10.0), Some(1.0)));
    assert_eq!((figure("gamma", "error_rate"), &row("gamma")["error_codes"]), (Some(0.05), &json!("RATE_LIMITED 1")));
    let thousand = figure("alpha", "cost_usd_per_1000_calls").expect("a cost");
    assert!((thousand - 0.5).abs() < 1e-9 && figure("alpha", "latency_ms_p50") == Some(812.4));
    assert_eq!((&rows[0]["rank"], &rows[0]["model"]), (&json!("1"), &json!("alpha")));
}

/// The rows of a table, by the names of their columns.
fn rows(table: &str) -> Vec<Value> {
    let mut reader = ::csv::Reader::from_reader(table.as_bytes());
    let names = reader.headers().expect("names").clone();
    let row = |row: std::result::Result<::csv::StringRecord, ::csv::Error>| {
        let row = row.expect("a row");
        let fields = names.iter().zip(row.iter()).map(|(name, value)| (name.to_owned(), json!(value)));
        Value::Object(fields.collect())
    };
    reader.records().map(row).collect()
}
