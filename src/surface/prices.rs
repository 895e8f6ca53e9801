//! The command that compares the catalog's prices with a file of newer ones, and writes what differs as configuration.
//!
//! The file is `LiteLLM`'s `model_prices_and_context_window.json`, which its operator fetches: nothing here opens a
//! network. What is printed is meant for the end of one's own configuration, where it outranks the catalog.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use vision_providers::catalog::Catalog;
use vision_providers::model::{Date, ModelCard};
use vision_providers::price::{Above, MicroUsd, Price};

use crate::gateway::Gateway;
use crate::surface::cli::{print, tell};

/// Runs the command.
pub(super) fn run(gateway: &Gateway, file: &Path) -> ExitCode {
    let shown = file.display();
    let read = std::fs::read_to_string(file).map_err(|error| error.to_string());
    let listed = read.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    let listed = match listed {
        Ok(listed) if listed.is_object() => listed,
        Ok(_) => return refused(&format!("reading the prices of {shown}: it holds no object of models")),
        Err(error) => return refused(&format!("reading the prices of {shown}: {error}")),
    };
    let Ok(catalog) = Catalog::built_in() else { return refused("reading the catalog that is built in") };
    let source = file.file_name().map_or("a file".into(), |name| name.to_string_lossy().replace('"', ""));
    let (mut compared, mut changed) = (0, 0);
    let today = Date::today();
    for (name, backend) in &gateway.roster.backends {
        let Some(preset) = catalog.preset(&backend.kind) else { continue };
        let Some(prefix) = preset.price_prefix.as_deref() else { continue };
        // What is retired is asked under its successor's name.
        let cards = backend.provider.models().iter().filter(|card| card.retired_by(&today).is_none());
        for card in cards {
            let canonical = preset.cards.iter().find(|known| known.is_called(card.id.as_str())).map(|known| &known.id);
            let names = canonical.into_iter().chain([&card.id]).chain(&card.aliases);
            let rows = names.map(|name| &listed[format!("{prefix}{name}")]);
            let Some(price) = rows.filter(|row| row.is_object()).find_map(|row| read_price(row, card.price)) else {
                continue;
            };
            compared += 1;
            if card.price != Some(price) {
                changed += 1;
                print(&table(name, card, &price, &source));
            }
        }
    }
    tell(&format!("{compared} models were compared: {changed} have other prices"));
    if compared == 0 {
        return refused(&format!("{shown} knows none of the models: is it a file of prices as LiteLLM keeps it?"));
    }
    ExitCode::SUCCESS
}

fn refused(why: &str) -> ExitCode {
    tell(&format!("error: {why}"));
    ExitCode::FAILURE
}

/// A row of the file: US dollars per token and per page. Where the row says nothing, what was known still holds; a row
/// that makes no sense is none.
fn read_price(row: &Value, known: Option<Price>) -> Option<Price> {
    let dollars = |key: &str, times: f64| {
        let amount = row[key].as_f64()?;
        let micro = MicroUsd::from_dollars(amount * times)?.0;
        // Less than a millionth of a dollar for a million tokens is a slip of the pen.
        (micro > 0 || amount == 0.0).then_some(micro)
    };
    let per_token = |key: &str| dollars(key, 1e6);
    let page = dollars("ocr_cost_per_page", 1.0);
    let (input, output) = match (per_token("input_cost_per_token"), per_token("output_cost_per_token"), page) {
        (Some(input), Some(output), _) => (input, output),
        (None, None, Some(_)) => (0, 0),
        _ => return None,
    };
    let tier = |key: &String| {
        let thousands = key.strip_prefix("input_cost_per_token_above_")?.strip_suffix("k_tokens")?;
        Some(Above {
            tokens: thousands.parse::<u64>().ok()?.checked_mul(1000)?,
            input: per_token(key)?,
            output: per_token(&format!("output_cost_per_token_above_{thousands}k_tokens"))?,
        })
    };
    let dearest = row.as_object()?.keys().filter_map(tier).max_by_key(|above| above.tokens);
    // What is cached is never dearer than what is not.
    let cached = per_token("cache_read_input_token_cost").or(known.map(|known| known.cached)).unwrap_or(input);
    Some(Price {
        input,
        output,
        cached: cached.min(input),
        above: dearest.or(known.and_then(|known| known.above)),
        page: page.unwrap_or(0),
        annotated_page: dollars("annotation_cost_per_page", 1.0).or(page).unwrap_or(0),
    })
}

/// The card that an operator's configuration needs for this price.
fn table(provider: &str, card: &ModelCard, price: &Price, source: &str) -> String {
    let dollars = |micro: u64| MicroUsd(micro).dollars();
    let mut members = format!(
        "input = {}, output = {}, cached = {}",
        dollars(price.input),
        dollars(price.output),
        dollars(price.cached)
    );
    if let Some(Above { tokens, input, output }) = price.above {
        let above = format!("tokens = {tokens}, input = {}, output = {}", dollars(input), dollars(output));
        members = format!("{members}, above = {{ {above} }}");
    }
    if price.page > 0 {
        let (page, annotated) = (dollars(price.page), dollars(price.annotated_page));
        members = format!("{members}, page = {page}, annotated_page = {annotated}");
    }
    let (id, today) = (&card.id, Date::today());
    format!(
        "[[providers.\"{provider}\".models]]\nid = \"{id}\"\nprice = {{ {members} }}\nsource = \"{source}\"\nas_of = \"{today}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_read_with_their_tiers_and_pages() {
        let row = json!({"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7, "cache_read_input_token_cost": 1.5e-8,
            "input_cost_per_token_above_128k_tokens": 2e-7, "output_cost_per_token_above_128k_tokens": 7e-7,
            "input_cost_per_token_above_272k_tokens": 3e-7, "output_cost_per_token_above_272k_tokens": 9e-7});
        let above = Some(Above { tokens: 272_000, input: 300_000, output: 900_000 });
        let expected = Price { input: 150_000, output: 600_000, cached: 15_000, above, ..Price::default() };
        assert_eq!(read_price(&row, None), Some(expected));
        let silent = json!({"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7});
        assert_eq!(read_price(&silent, Some(expected)), Some(expected), "what a row does not say still holds");
        let ocr = json!({"ocr_cost_per_page": 0.004, "annotation_cost_per_page": 0.005});
        assert_eq!(read_price(&ocr, None), Some(Price { page: 4000, annotated_page: 5000, ..Price::default() }));
        for nonsense in [
            json!(null),
            json!({}),
            json!({"input_cost_per_token": "cheap"}),
            json!({"input_cost_per_token": -1}),
            json!({"input_cost_per_token": 1e-7, "output_cost_per_token": null}),
            json!({"input_cost_per_token": 3e-14, "output_cost_per_token": 1e-7}),
        ] {
            assert_eq!(read_price(&nonsense, None), None, "{nonsense}");
        }
    }
}
