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
    pub json: Option<JsonSettings>,
    /// Whether temperature and `top_p` are taken.
    pub sampling: Option<SamplingSettings>,
    pub max_temperature: Option<f64>,
    pub seed: Option<bool>,
    /// The most stop sequences.
    pub stop: Option<usize>,
    /// The vendor's words for how hard to think, the least first; that one is sent unless more is asked for.
    pub reasoning: Option<Vec<String>>,
    pub limits: Option<LimitSettings>,
    pub tokens: Option<TokenSettings>,
    /// How sure the rule for tokens is.
    pub tokens_basis: Option<BasisSettings>,
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

/// See [`Task`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskSettings {
    Describe,
    Ocr,
    Ask,
    Extract,
}

/// See [`JsonMode`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonSettings {
    Schema,
    Object,
    Prompt,
}

/// See [`SamplingRule`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplingSettings {
    Always,
    WithoutReasoning,
    Never,
}

/// See [`Basis`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BasisSettings {
    Exact,
    Documented,
    Assumed,
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
    pub formats: Option<Vec<FormatSettings>>,
}

/// See [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatSettings {
    Jpeg,
    Png,
    Webp,
    Gif,
}

/// See [`TokenRule`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenSettings {
    Rows { largest_side: u32, cell: u32 },
    Cells { cell: u32, largest_side: u32, most: u64 },
    Tiles { base: u64, tile: u64 },
    Patches { largest_side: u32, most: u64, per_mille: u64 },
    Levels { low: u64, medium: u64, high: u64 },
    Crops,
    Flat { tokens: u64 },
    Grid { tile: u32, per_tile: u64, most: u64 },
    Halves { tile: u32, per_tile: u64, most: u64 },
    Free,
    Unknown,
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
        let tokens = match self.tokens {
            None => base.tokens,
            Some(rule) => rule.parse().map_err(|why| format!("model {id}: {why}"))?,
        };
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
            json: self.json.map_or(base.json, JsonMode::from),
            parameters: self.parameters_over(&base.parameters),
            limits,
            tokens,
            basis: self.tokens_basis.map_or(base.basis, Basis::from),
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
            sampling: self.sampling.map_or(base.sampling, SamplingRule::from),
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
        let formats = own.formats.map(|formats| formats.into_iter().map(Format::from).collect());
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
            formats: formats.unwrap_or_else(|| base.formats.clone()),
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

impl TokenSettings {
    fn parse(self) -> Result<TokenRule, String> {
        let (sizes, rule) = match self {
            Self::Rows { largest_side, cell } => {
                ([largest_side.into(), cell.into(), 1], TokenRule::Rows { largest_side, cell })
            }
            Self::Cells { cell, largest_side, most } => {
                ([cell.into(), largest_side.into(), most], TokenRule::Cells { cell, largest_side, most })
            }
            Self::Tiles { base, tile } => ([base, tile, 1], TokenRule::Tiles { base, tile }),
            Self::Patches { largest_side, most, per_mille } => {
                ([largest_side.into(), most, per_mille], TokenRule::Patches { largest_side, most, per_mille })
            }
            Self::Levels { low, medium, high } => ([low, medium, high], TokenRule::Levels { low, medium, high }),
            Self::Crops => ([1; 3], TokenRule::Crops),
            Self::Flat { tokens } => ([tokens, 1, 1], TokenRule::Flat { tokens }),
            Self::Grid { tile, per_tile, most } => {
                ([tile.into(), per_tile, most], TokenRule::Grid { tile, per_tile, most })
            }
            Self::Halves { tile, per_tile, most } => {
                ([tile.into(), per_tile, most], TokenRule::Halves { tile, per_tile, most })
            }
            Self::Free => ([1; 3], TokenRule::Free),
            Self::Unknown => ([1; 3], TokenRule::Unknown),
        };
        let sensible = sizes.iter().all(|size| (1..=1_000_000).contains(size));
        if sensible { Ok(rule) } else { Err("`tokens` needs sizes from 1 to 1,000,000".into()) }
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

impl From<JsonSettings> for JsonMode {
    fn from(mode: JsonSettings) -> Self {
        match mode {
            JsonSettings::Schema => Self::Schema,
            JsonSettings::Object => Self::Object,
            JsonSettings::Prompt => Self::Prompt,
        }
    }
}

impl From<FormatSettings> for Format {
    fn from(format: FormatSettings) -> Self {
        match format {
            FormatSettings::Jpeg => Self::Jpeg,
            FormatSettings::Png => Self::Png,
            FormatSettings::Webp => Self::Webp,
            FormatSettings::Gif => Self::Gif,
        }
    }
}

impl From<SamplingSettings> for SamplingRule {
    fn from(rule: SamplingSettings) -> Self {
        match rule {
            SamplingSettings::Always => Self::Always,
            SamplingSettings::WithoutReasoning => Self::WithoutReasoning,
            SamplingSettings::Never => Self::Never,
        }
    }
}

impl From<BasisSettings> for Basis {
    fn from(basis: BasisSettings) -> Self {
        match basis {
            BasisSettings::Exact => Self::Exact,
            BasisSettings::Documented => Self::Documented,
            BasisSettings::Assumed => Self::Assumed,
        }
    }
}
