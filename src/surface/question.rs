//! The arguments with which commands are asked a question, and how their failures are shown.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::Value;
use vision_providers::request::{CacheMode, Detail, Effort, Sampling};

use crate::clean;
use crate::failure::Failure;
use crate::gateway::Ask;
use crate::intake::fit::Region;
use crate::router::plan::Fallback;
use crate::surface::answer;
use crate::surface::cli::{print_json, tell};

/// One question to one model.
#[derive(Debug, clap::Args)]
pub(super) struct QuestionArgs {
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    asked: AskedArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImageArgs {
    /// A path, file:// URI, https:// URL, data: URI, clipboard, latest, latest:2, or - for standard input
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Who is asked.
#[derive(Debug, clap::Args)]
pub(super) struct ChoiceArgs {
    /// A provider, provider/model or alias
    #[arg(short, long)]
    model: Option<String>,
    /// Whether somebody else may answer when the chosen model cannot
    #[arg(long, value_enum, default_value_t = FallbackArg::Auto)]
    fallback: FallbackArg,
}

/// What is asked, whoever is asked and about whatever.
#[derive(Debug, clap::Args)]
pub(super) struct AskedArgs {
    /// The question
    #[arg(short, long)]
    prompt: Option<String>,
    /// describe, ocr, ask, extract, or a task of the configuration
    #[arg(short, long)]
    task: Option<String>,
    /// A file with the JSON schema that the answer must follow
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Ask only models that say where the text stands
    #[arg(long)]
    boxes: bool,
    /// How closely to look
    #[arg(long, value_enum, default_value_t = DetailArg::Auto)]
    detail: DetailArg,
    /// A part of the image, in fractions of its width and height
    #[arg(long, value_name = "X0,Y0,X1,Y1", value_delimiter = ',', allow_hyphen_values = true)]
    region: Option<Vec<f64>>,
    /// Standing instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// How freely the model chooses its words, from 0; its own default when absent
    #[arg(long, value_name = "N")]
    temperature: Option<f64>,
    /// The most tokens that the answer may have
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// A number with which a model that takes one answers alike each time
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    seed: Option<i64>,
    /// What to do with remembered answers
    #[arg(long, value_enum)]
    cache: Option<CacheArg>,
    /// How hard the model should think, where it can choose; as little as it can when absent
    #[arg(long, value_enum)]
    effort: Option<EffortArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FallbackArg {
    /// Those of the configuration
    Auto,
    /// Nobody
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DetailArg {
    Auto,
    Low,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EffortArg {
    Low,
    Medium,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CacheArg {
    Use,
    Refresh,
    Bypass,
}

impl QuestionArgs {
    /// What is asked.
    ///
    /// # Errors
    /// `INVALID_INPUT` when a file or a number cannot be used.
    pub(super) fn ask(self) -> Result<Ask, Failure> {
        Ok(self.images.of(self.choice.of(self.asked.ask()?)))
    }
}

impl ImageArgs {
    /// The question, about these images.
    pub(super) fn of(self, ask: Ask) -> Ask {
        Ask { images: self.images.into(), ..ask }
    }
}

impl ChoiceArgs {
    /// The question, to whoever was chosen.
    pub(super) fn of(self, ask: Ask) -> Ask {
        let fallback = match self.fallback {
            FallbackArg::Auto => Fallback::Auto,
            FallbackArg::None => Fallback::Never,
        };
        Ask { model: self.model, fallback, ..ask }
    }
}

impl AskedArgs {
    /// What is asked, about nothing yet.
    ///
    /// # Errors
    /// `INVALID_INPUT` when a file or a number cannot be used.
    pub(super) fn ask(self) -> Result<Ask, Failure> {
        let args = self;
        let schema = args.schema.map(|file| read_schema(&file)).transpose()?;
        let region = args.region.map(|edges| {
            let count = edges.len();
            let edges = <[f64; 4]>::try_from(edges);
            edges
                .map_err(|_| Failure::invalid(format!("`--region` takes four numbers, not {count}")))
                .and_then(Region::new)
        });
        Ok(Ask {
            prompt: args.prompt,
            task: args.task,
            schema,
            boxes: args.boxes,
            detail: match args.detail {
                DetailArg::Auto => Detail::Auto,
                DetailArg::Low => Detail::Low,
                DetailArg::High => Detail::High,
            },
            region: region.transpose()?,
            system: args.system,
            sampling: Sampling {
                temperature: args.temperature,
                seed: args.seed,
                max_output_tokens: args.max_tokens,
                effort: match args.effort {
                    None => Effort::Least,
                    Some(EffortArg::Low) => Effort::Low,
                    Some(EffortArg::Medium) => Effort::Medium,
                    Some(EffortArg::High) => Effort::High,
                },
                ..Sampling::default()
            },
            cache: args.cache.map(|cache| match cache {
                CacheArg::Use => CacheMode::Use,
                CacheArg::Refresh => CacheMode::Refresh,
                CacheArg::Bypass => CacheMode::Bypass,
            }),
            ..Ask::default()
        })
    }
}

fn read_schema(file: &std::path::Path) -> Result<Arc<Value>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::invalid(format!("reading the schema {shown}: {error}")))?;
    let schema = serde_json::from_str(&text);
    schema
        .map(Arc::new)
        .map_err(|error| Failure::invalid(format!("reading the schema {shown}: it is not JSON: {error}")))
}

/// Shows an error where the command's reader looks for it.
pub(super) fn show_failure(failure: &Failure, json: bool) {
    if json {
        return print_json(&answer::error(failure));
    }
    // Names in it may be a stranger's.
    tell(&clean::text(&format!("error: {failure}")));
    if let Some(advice) = &failure.advice {
        tell(&format!("hint: {advice}"));
    }
}
