//! Mistral's OCR: tables back in their places, blocks in the pixels that were sent, long documents, one picture at a time.

use serde_json::{Value, json};
use vision_providers::answer::Rect;
use vision_providers::error::ErrorKind;
use vision_providers::request::{Message, Output, Part, Schema, Task, VisionRequest};
use vision_providers::testkit::{Play, Upstream, about, ctx, document, image, request};

use super::{PATIENCE, provider};

const MODEL: &str = "mistral-ocr-latest";

fn reading() -> VisionRequest {
    let schema = json!({"type": "object", "properties": {"detected_text": {"type": "string"}}});
    VisionRequest {
        messages: vec![about(vec![image(100, 200, 1)], "Read it.")],
        output: Output::Json(Schema { name: "ocr".into(), value: schema.into() }),
        ..request(MODEL, Task::Ocr)
    }
}

fn pages(pages: &Value) -> Play {
    Play::json(200, &json!({"model": "mistral-ocr-4-1", "pages": pages, "usage_info": {"pages_processed": 1}}))
}

#[tokio::test]
async fn a_page_reads_from_its_header_to_its_footer_with_tables_in_place() {
    let block = |left: f64, right: f64| {
        json!({"type": "text", "content": "TOTAL", "top_left_x": left, "top_left_y": 100,
        "bottom_right_x": right, "bottom_right_y": 5000})
    };
    let page = json!({"index": 0, "markdown": "# Bill\n\n![img-0.jpeg](img-0.jpeg)\n\n[tbl-0.html](tbl-0.html)",
        "images": [{"id": "img-0.jpeg"}], "tables": [{"id": "tbl-0.html", "content": "<table>9</table>"}],
        "header": "ACME", "footer": "1/1", "dimensions": {"width": 1000, "height": 2000},
        "blocks": [block(100.0, 500.0), block(-5.0, 9999.0), json!({"type": "image", "content": ""})]});
    let upstream = Upstream::start([pages(&json!([page]))]).await;
    let answer = provider("mistral-ocr", &upstream, MODEL).complete(&ctx(PATIENCE), &reading()).await.expect("a page");
    let read: Value = serde_json::from_str(&answer.text).expect("JSON");
    assert_eq!(read["detected_text"], "ACME\n\n# Bill\n\n\n\n<table>9</table>\n\n1/1");
    let areas: Vec<Rect> = answer.blocks.iter().map(|block| block.area).collect();
    let expected =
        [Rect { left: 10, top: 10, right: 50, bottom: 200 }, Rect { left: 0, top: 10, right: 100, bottom: 200 }];
    assert_eq!(areas, expected);
}

#[tokio::test]
async fn long_documents_and_empty_pages_are_answers() {
    let long = "A line of a long contract.\n".repeat(100_000);
    let upstream = Upstream::start([pages(&json!([{"markdown": long}])), pages(&json!([{"markdown": ""}]))]).await;
    let provider = provider("mistral-ocr", &upstream, MODEL);
    let whole = VisionRequest {
        messages: vec![Message::question(vec![Part::Document(document(b"%PDF-1.7"))], "Read it.")],
        ..reading()
    };
    assert!(provider.complete(&ctx(PATIENCE), &whole).await.expect("a long answer").text.len() > 2_500_000);
    let empty = provider.complete(&ctx(PATIENCE), &reading()).await.expect("an empty page");
    assert_eq!(empty.text, r#"{"detected_text":""}"#);
}

#[tokio::test]
async fn one_picture_is_read_at_a_time_and_schemas_may_be_of_any_kind() {
    let annotated = json!({"model": "m", "pages": [], "document_annotation": "{\"value\": [\"a\"]}", "usage_info": {"pages_processed": 2}});
    let upstream = Upstream::start([Play::json(200, &annotated)]).await;
    let provider = provider("mistral-ocr", &upstream, MODEL);
    let mut both = reading();
    both.messages[0].parts.push(Part::Document(document(b"%PDF-1.7")));
    let refused = provider.complete(&ctx(PATIENCE), &both).await.expect_err("two");
    assert_eq!((refused.kind(), upstream.calls()), (ErrorKind::Unsupported, 0));
    let list = Schema { name: "list".into(), value: json!({"type": "array", "items": {"type": "string"}}).into() };
    let extract = VisionRequest { task: Task::Extract, output: Output::Json(list), ..reading() };
    let answer = provider.complete(&ctx(PATIENCE), &extract).await.expect("data");
    assert_eq!(answer.text, r#"["a"]"#);
    assert_eq!(answer.usage.map(|usage| (usage.pages, usage.annotated_pages)), Some((0, 2)));
}
