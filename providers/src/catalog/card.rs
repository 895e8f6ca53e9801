//! A model card as operators and the catalog write it: only what differs from the provider's assumptions.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::image::Format;
use crate::model::{Date, JsonMode, Limits, ModelCard, Retirement};
use crate::parameters::{Parameters, SamplingRule};
use crate::price::{Above, MicroUsd, Price};
use crate::request::{ModelId, Task};
use crate::tokens::{Basis, TokenRule};

/// See [`ModelCard`]; what is absent is inherited.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardSettings {
    /// The name the backend knows the model by.
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub tasks: Option<Vec<TaskSettings>>,
    pub boxes: Option<bool>,
    pub json: Option<JsonMode>,
    /// Whether temperature and `top_p` are taken.
    pub sampling: Option<SamplingRule>,
    pub max_temperature: Option<f64>,
    pub seed: Option<bool>,
    /// The most stop sequences.
    pub stop: Option<usize>,
    /// The vendor's words for how hard to think, the least first; that one is sent unless more is asked for.
    pub reasoning: Option<Vec<String>>,
    pub limits: Option<LimitSettings>,
    pub tokens: Option<TokenRule>,
    /// How sure the rule for tokens is.
    pub tokens_basis: Option<Basis>,
    /// US dollars per million tokens.
    pub price: Option<PriceSettings>,
    /// The first day on which calls fail, `YYYY-MM-DD`.
    pub retired: Option<String>,
    pub successor: Option<String>,
    /// Where the figures come from.
    pub source: Option<String>,
    /// The day of the figures, `YYYY-MM-DD`.
    pub as_of: Option<String>,
}

/// See [`Task`]. Nothing is said about single tasks here: described ones would not be one plain list in the schema, and
/// whoever writes a wrong one would not be told the right ones.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskSettings {
    Describe,
    Ocr,
    Ask,
    Extract,
}

/// See [`Limits`]; what is absent is inherited.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    pub max_images: Option<usize>,
    /// Encoded bytes per image, before base64.
    pub max_bytes: Option<usize>,
    /// Encoded bytes of all images and documents together.
    pub max_total_bytes: Option<usize>,
    /// Bytes of a PDF; 0 when the model reads none.
    pub max_document_bytes: Option<usize>,
    /// Pixels.
    pub max_side: Option<u32>,
    /// Pixels.
    pub target_side: Option<u32>,
    /// Pixels, where little detail is wanted.
    pub low_side: Option<u32>,
    pub max_output_tokens: Option<u32>,
    /// Tokens of question and answer together.
    pub context: Option<u64>,
    pub formats: Option<Vec<Format>>,
}

/// US dollars per million tokens, and per page.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    pub input: f64,
    pub output: f64,
    pub cached: Option<f64>,
    /// Where long requests cost more.
    pub above: Option<AboveSettings>,
    pub page: Option<f64>,
    pub annotated_page: Option<f64>,
}

/// The prices of a whole request whose input is longer than so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AboveSettings {
    pub tokens: u64,
    pub input: f64,
    pub output: f64,
}

/// The card of which nothing is known: a preset fills it.
pub(super) fn nothing_known() -> ModelCard {
    ModelCard {
        id: ModelId::from("unknown"),
        aliases: Vec::new(),
        tasks: Task::ALL.to_vec(),
        boxes: false,
        json: JsonMode::Prompt,
        parameters: Parameters {
            sampling: SamplingRule::Always,
            max_temperature: 2.0,
            seed: true,
            stop: 16,
            reasoning: Vec::new(),
        },
        limits: Limits {
            max_images: 0,
            max_bytes: 0,
            max_total_bytes: 100_000_000,
            max_document_bytes: 0,
            max_side: 0,
            target_side: 0,
            low_side: 512,
            max_output_tokens: None,
            context: None,
            formats: Vec::new(),
        },
        tokens: TokenRule::Unknown,
        basis: Basis::Assumed,
        price: None,
        retirement: None,
        source: String::new(),
    }
}

impl CardSettings {
    /// The card that these settings make of `base`.
    ///
    /// # Errors
    /// Says which figure makes no sense.
    pub fn over(&self, base: &ModelCard) -> Result<ModelCard, String> {
        let id = &self.id;
        if id.is_empty() {
            return Err("a model needs an `id`".into());
        }
        let limits = self.limits_over(&base.limits).map_err(|why| format!("model {id}: {why}"))?;
        if !self.tokens.is_none_or(TokenRule::is_sensible) {
            return Err(format!("model {id}: `tokens` needs sizes from 1 to 1,000,000"));
        }
        let day = |key: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Date::parse(text)
                .map(Some)
                .ok_or_else(|| format!("model {id}: `{key}` is not a day such as 2026-11-20: {text}")),
        };
        let retirement = day("retired", &self.retired)?
            .map(|on| Retirement { on, successor: self.successor.as_deref().map(ModelId::from) });
        let as_of = day("as_of", &self.as_of)?;
        let source = match (&self.source, as_of) {
            (Some(source), Some(day)) => format!("{source} ({day})"),
            (Some(source), None) => source.clone(),
            (None, _) => base.source.clone(),
        };
        Ok(ModelCard {
            id: ModelId::from(id.as_str()),
            aliases: self.aliases_over(base),
            tasks: self
                .tasks
                .as_ref()
                .map_or_else(|| base.tasks.clone(), |tasks| tasks.iter().map(|task| (*task).into()).collect()),
            boxes: self.boxes.unwrap_or(base.boxes),
            json: self.json.unwrap_or(base.json),
            parameters: self.parameters_over(&base.parameters),
            limits,
            tokens: self.tokens.unwrap_or(base.tokens),
            basis: self.tokens_basis.unwrap_or(base.basis),
            price: match self.price {
                Some(price) => Some(price.parse().map_err(|why| format!("model {id}: {why}"))?),
                None => base.price,
            },
            retirement: retirement.or_else(|| base.retirement.clone()),
            source,
        })
    }

    fn parameters_over(&self, base: &Parameters) -> Parameters {
        Parameters {
            sampling: self.sampling.unwrap_or(base.sampling),
            max_temperature: self.max_temperature.unwrap_or(base.max_temperature),
            seed: self.seed.unwrap_or(base.seed),
            stop: self.stop.unwrap_or(base.stop),
            reasoning: self.reasoning.clone().unwrap_or_else(|| base.reasoning.clone()),
        }
    }

    fn limits_over(&self, base: &Limits) -> Result<Limits, String> {
        let own = self.limits.clone().unwrap_or_default();
        let sides = [own.target_side, own.max_side, own.low_side, own.max_output_tokens];
        let amounts = [own.max_images, own.max_bytes, own.max_total_bytes];
        if sides.contains(&Some(0)) || amounts.contains(&Some(0)) {
            return Err("`limits` needs sizes above 0".into());
        }
        Ok(Limits {
            max_images: own.max_images.unwrap_or(base.max_images),
            max_bytes: own.max_bytes.unwrap_or(base.max_bytes),
            max_total_bytes: own.max_total_bytes.unwrap_or(base.max_total_bytes),
            max_document_bytes: own.max_document_bytes.unwrap_or(base.max_document_bytes),
            max_side: own.max_side.unwrap_or(base.max_side),
            target_side: own.target_side.unwrap_or(base.target_side),
            low_side: own.low_side.unwrap_or(base.low_side),
            max_output_tokens: own.max_output_tokens.or(base.max_output_tokens),
            context: own.context.or(base.context),
            formats: own.formats.unwrap_or_else(|| base.formats.clone()),
        })
    }

    /// Every name of either card but the one that this card goes by.
    fn aliases_over(&self, base: &ModelCard) -> Vec<ModelId> {
        let own = self.aliases.iter().map(|alias| ModelId::from(alias.as_str()));
        let known = base.is_called(&self.id).then(|| [base.id.clone()].into_iter().chain(base.aliases.iter().cloned()));
        let mut aliases: Vec<ModelId> = own.chain(known.into_iter().flatten()).collect();
        aliases.retain(|alias| alias.as_str() != self.id);
        aliases.dedup();
        aliases
    }
}

impl PriceSettings {
    fn parse(self) -> Result<Price, String> {
        let micro = |dollars: f64| {
            let amount = MicroUsd::from_dollars(dollars).map(|amount| amount.0);
            amount.ok_or_else(|| format!("a price of {dollars} dollars makes no sense"))
        };
        let above = |above: AboveSettings| {
            Ok::<_, String>(Above { tokens: above.tokens, input: micro(above.input)?, output: micro(above.output)? })
        };
        let input = micro(self.input)?;
        Ok(Price {
            input,
            output: micro(self.output)?,
            cached: self.cached.map_or(Ok(input), micro)?,
            above: self.above.map(above).transpose()?,
            page: self.page.map_or(Ok(0), micro)?,
            annotated_page: self.annotated_page.map_or(Ok(0), micro)?,
        })
    }
}

impl From<TaskSettings> for Task {
    fn from(task: TaskSettings) -> Self {
        match task {
            TaskSettings::Describe => Self::Describe,
            TaskSettings::Ocr => Self::Ocr,
            TaskSettings::Ask => Self::Ask,
            TaskSettings::Extract => Self::Extract,
        }
    }
}
