//! The configuration file as types: its keys, their defaults, and what they mean.
//!
//! The values of `config.toml` at the repository's root are laid under whatever an operator writes, so the defaults
//! here only matter for keys that file leaves out.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use vision_providers::adapters::chat::Quirks;
use vision_providers::catalog::CardSettings;

use super::units::{Size, Span};
use crate::health;
use crate::layers::limit;
use crate::router::rules::{OneOf, Rule};

/// Everything an operator can set.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who is asked when nothing else decides: provider, provider/model or alias.
    pub default: String,
    /// Who is asked next, in this order.
    pub fallback: Vec<String>,
    pub providers: BTreeMap<String, ProviderConfig>,
    /// Short names for models.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    #[serde(default)]
    pub routes: Vec<Rule>,
    #[serde(default)]
    pub tasks: BTreeMap<String, TaskConfig>,
    pub server: ServerConfig,
    pub intake: IntakeConfig,
    pub uploads: UploadsConfig,
    pub cache: CacheConfig,
    pub deadline: DeadlineConfig,
    pub retry: RetryConfig,
    #[serde(default)]
    pub limit: limit::Settings,
    pub breaker: BreakerConfig,
    pub request: RequestConfig,
    pub compare: CompareConfig,
    #[serde(default)]
    pub http: HttpConfig,
    #[serde(default)]
    pub mcp: McpConfig,
    pub log: LogConfig,
    #[serde(default)]
    pub traces: TracesConfig,
}

/// One provider. What is left out is the preset's.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// The preset: pixtral, openai-compatible, local and so on.
    pub kind: String,
    pub base_url: Option<String>,
    pub key: Option<KeyConfig>,
    /// The header that carries the key, where it is not `Authorization: Bearer`.
    pub key_header: Option<String>,
    /// Sent with every request.
    pub headers: BTreeMap<String, String>,
    /// The default model.
    pub model: Option<String>,
    pub models: Vec<CardSettings>,
    pub quirks: Option<Quirks>,
    /// Members that every request body has besides those of the adapter.
    pub extra_body: serde_json::Map<String, serde_json::Value>,
    /// Words that routes can demand of a provider.
    pub tags: Vec<String>,
    /// Where its calls take more or less time than others'.
    pub deadline: ProviderDeadlineConfig,
    /// Where it takes more or fewer calls than others.
    pub limit: Option<limit::Settings>,
    /// Local only: Tesseract's language codes.
    pub languages: Option<Vec<String>>,
    /// Local only: the Tesseract program.
    pub program: Option<String>,
    /// Local only: what the text of one image may take.
    pub timeout: Option<Span>,
}

/// Where a key is found. Keys themselves never stand in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KeyConfig {
    /// The word `none`.
    Word(NoKey),
    Env(EnvKey),
    File(FileKey),
}

/// The provider asks for no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoKey {
    None,
}

/// The key stands in an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvKey {
    pub env: String,
}

/// The key stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileKey {
    pub file: PathBuf,
}

/// A task of the operator's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    pub prompt: String,
    /// A JSON schema, as JSON text. With one, the answer is `data`; without, `text`.
    pub schema: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port.
    pub listen: String,
    /// Names by which clients may call this server, beside those of loopback.
    #[serde(default)]
    pub allowed_hosts: Vec<String>,
    /// Origins that a request may carry, beside those of loopback.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Keys that callers must have one of, when there are any. `visiongate keys new NAME` makes one.
    #[serde(default)]
    pub keys: BTreeMap<String, CallerConfig>,
    /// An issuer whose tokens let callers in.
    pub oauth: Option<OauthConfig>,
    /// Serve other machines although nobody has to prove who they are.
    #[serde(default)]
    pub allow_unauthenticated: bool,
    #[schemars(range(min = 1, max = 100_000))]
    pub max_connections: usize,
    /// Connections from one address; those of this machine are not counted. A proxy or a container's gateway is one address
    /// for all who come through it.
    #[schemars(range(min = 1, max = 100_000))]
    pub connections_per_address: usize,
    /// Requests worked on at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests: usize,
    /// Requests waiting to be worked on; one more is refused at once.
    #[schemars(range(min = 0, max = 100_000))]
    pub queue: usize,
    /// Memory that the program may use; what the container or the machine has when absent.
    pub max_memory: Option<Size>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntakeConfig {
    /// Folders that image paths may come from, over MCP and HTTP.
    pub roots: Vec<PathBuf>,
    /// Whether MCP clients on this machine may have the image that was copied last.
    #[serde(default)]
    pub clipboard: bool,
    /// The folders whose newest image `latest` is, not over HTTP.
    pub latest: Option<OneOf>,
    pub allow_private_networks: bool,
    /// Per image.
    pub max_bytes: Size,
    /// Per image.
    pub max_pixels: u64,
}

/// A caller, by the name under which it is known to rules and logs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerConfig {
    /// The digest of its key; the key itself stands nowhere.
    pub hash: String,
    /// Providers and models that it may ask; all when absent.
    pub models: Option<Vec<String>>,
    /// Tags that a provider must have to be asked for it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Folders that its images may come from, in place of `intake.roots`.
    pub roots: Option<Vec<PathBuf>>,
    /// Questions; each model of a comparison and each item of a batch is one.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
}

/// Callers with tokens of an OAuth issuer. We are the resource; who may have a token is the issuer's business.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthConfig {
    /// Who signs the tokens, exactly as its own documents write it.
    pub issuer: String,
    /// The address under which clients know this server, with its path: `https://vision.example.com/mcp`.
    pub resource: String,
    /// What tokens are meant for; the resource when absent.
    pub audience: Option<Vec<String>>,
    /// Where the issuer's keys are; its own documents say so when absent.
    pub jwks: Option<String>,
    /// Scopes that a token needs, all of them.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim that tells callers apart; `sub` when absent.
    pub name_claim: Option<String>,
    /// Providers and models that these callers may ask; all when absent.
    pub models: Option<Vec<String>>,
    /// Tags that a provider must have to be asked for them.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Questions of each caller.
    #[schemars(range(min = 1))]
    pub requests_per_minute: Option<NonZeroU32>,
}

/// Images that clients send ahead over HTTP. They are kept in memory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadsConfig {
    /// Bytes of all of them together.
    pub capacity: Size,
    /// How long a handle can be used.
    pub ttl: Span,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    pub capacity: Size,
    pub ttl: Span,
    /// Absent: answers are forgotten when the program ends.
    pub disk: Option<DiskConfig>,
}

/// A second memory, in files.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// A folder of its own that nobody else can write to.
    pub path: PathBuf,
    pub capacity: Size,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadlineConfig {
    /// One budget for the whole call.
    pub total: Span,
    /// The most that one call to a provider may take of it while somebody else could still be asked.
    pub attempt: Span,
    /// The longest silence before a stream begins.
    pub first_byte: Span,
    /// The longest silence in the middle of a stream.
    pub idle: Span,
}

/// See [`DeadlineConfig`]; what is absent is as for everybody.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderDeadlineConfig {
    pub attempt: Option<Span>,
    pub first_byte: Option<Span>,
    pub idle: Option<Span>,
}

/// When a model that fails is left to rest.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row.
    #[schemars(range(min = 1, max = 1000))]
    pub failures: u32,
    /// How long it rests at first; doubled each time that asking again fails.
    pub open: Span,
    /// The longest rest.
    pub longest: Span,
}

impl BreakerConfig {
    /// The settings of a provider's health; a call of which gets so much time at most.
    #[must_use]
    pub fn settings(&self, attempt: Duration) -> health::Settings {
        let (failures, open, longest) = (self.failures, self.open.0, self.longest.0);
        health::Settings { failures, open, longest, fair: attempt / 4 }
    }
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryConfig {
    /// Calls to one provider in all, the first included.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// The longest that a provider's own hint is waited for.
    pub longest_wait: Span,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestConfig {
    /// When the caller sets none.
    #[schemars(range(min = 1))]
    pub max_output_tokens: u32,
}

/// Models that are asked the same.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareConfig {
    /// At once.
    #[schemars(range(min = 2, max = 32))]
    pub max_models: usize,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// A proxy for calls to providers. Those of the environment are not used.
    pub proxy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McpConfig {
    /// The tools to offer; all when absent.
    pub tools: Option<Vec<String>>,
}

/// Where spans go, if anywhere.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// An OTLP collector over HTTP, such as `http://localhost:4318`.
    pub endpoint: Option<String>,
    /// Sent along with every batch, each from the environment or a file.
    pub headers: BTreeMap<String, KeyConfig>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}
