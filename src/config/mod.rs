//! The configuration: built-in values, the operator's file over them, the environment over both.
//!
//! It is the only reader of the environment. Whatever is wrong is reported in one run, with file, key and hint.

mod faults;
mod shape;
mod units;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use figment::providers::Env;
use figment::value::{Dict, Map as Profiles, UncasedStr};
use figment::{Figment, Metadata, Profile, Provider};
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::Url;

pub use self::faults::Fault;
pub(crate) use self::faults::nearest;
pub use self::shape::{
    CallerConfig, Config, IntakeConfig, KeyConfig, LogFormat, LogLevel, OauthConfig, ProviderConfig, UploadsConfig,
};
use crate::spans::Collector;

/// The shipped configuration, which every operator's file is laid over.
pub const BUILT_IN: &str = include_str!("../../config.toml");
const BUILT_IN_NAME: &str = "the built-in configuration";
const PREFIX: &str = "VISIONGATE_";

/// A configuration that can be used but for its faults, and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The operator's file, when there is one.
    pub file: Option<PathBuf>,
    /// Faults of shape: reported together with the faults of meaning.
    pub faults: Vec<Fault>,
    figment: Figment,
}

impl Loaded {
    /// Whether a key is as it was shipped.
    pub(crate) fn is_built_in(&self, key: &str) -> bool {
        faults::place(&self.figment, key) == BUILT_IN_NAME
    }

    /// A fault of meaning, found after loading.
    #[must_use]
    pub fn fault(&self, key: &str, message: impl Into<String>) -> Fault {
        Fault { place: faults::place(&self.figment, key), key: key.to_owned(), message: message.into(), hint: None }
    }
}

/// Loads the configuration from `named`, or `$VISIONGATE_CONFIG`, or the user's configuration folder, or the built-in
/// one alone. Never from the working directory: MCP clients start servers in other people's folders.
///
/// # Errors
/// All faults of syntax and shape, when they leave nothing that could be looked at.
pub fn load(named: Option<&Path>) -> Result<Loaded, Vec<Fault>> {
    let file = named.map(Path::to_owned).or_else(|| variable("VISIONGATE_CONFIG").map(PathBuf::from));
    if let Some(file) = &file
        && !file.is_file()
    {
        return Err(vec![Fault::of(file, "there is no such file")]);
    }
    let file = file.or_else(|| user_file().filter(|file| file.is_file()));
    let built_in = Figment::from(Toml { file: None, text: BUILT_IN.to_owned() });
    let own = file.as_ref().map_or_else(|| Ok(Figment::new()), |file| Toml::of(file).map(Figment::from))?;
    let variables = Figment::from(environment(&built_in.clone().merge(own.clone())));
    let layers = [&built_in, &own, &variables];
    let (mut data, mut shipped) = (Value::Object(Map::new()), Value::Null);
    for layer in layers {
        let layer: Value = layer.extract().map_err(|error| unreadable(&error))?;
        lay_over(&mut data, layer, &[]);
        if shipped.is_null() {
            shipped = data.clone();
        }
    }
    // Kept for one thing: it remembers where each value came from.
    let figment = built_in.merge(own).merge(variables);
    let (faults, plain) = faults::check_shape(&figment, &data, &shipped);
    match serde_json::from_value(plain) {
        Ok(config) => Ok(Loaded { config, file, faults, figment }),
        Err(_) if !faults.is_empty() => Err(faults),
        Err(error) => {
            // Not the words of the error: they may hold a value, and values may be keys.
            let message = format!("it cannot be read as a configuration (line {})", error.line());
            let place = file.map_or_else(|| "the configuration".into(), |file| file.display().to_string());
            Err(vec![Fault { place, key: String::new(), message, hint: None }])
        }
    }
}

/// Bytes of a file that could still be a configuration.
const LARGEST: u64 = 1 << 20;

/// One TOML file. Figment's own reader is three times as slow, which every start of the program would notice.
struct Toml {
    /// Absent for the file that is built in.
    file: Option<PathBuf>,
    text: String,
}

impl Toml {
    fn of(file: &Path) -> Result<Self, Vec<Fault>> {
        let mut text = String::new();
        let reading = std::fs::File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
        let problem = match reading {
            Ok(read) if read as u64 > LARGEST => Some(format!("it is larger than {LARGEST} bytes")),
            Ok(_) => None,
            Err(error) => Some(format!("it cannot be read: {error}")),
        };
        if let Some(message) = problem {
            return Err(vec![Fault::of(file, message)]);
        }
        Ok(Self { file: Some(file.to_owned()), text })
    }
}

impl Provider for Toml {
    fn metadata(&self) -> Metadata {
        match &self.file {
            Some(file) => Metadata::from("TOML file", file.as_path()),
            None => Metadata::named(BUILT_IN_NAME),
        }
    }

    fn data(&self) -> figment::Result<Profiles<Profile, Dict>> {
        let dict = toml::from_str(&self.text).map_err(|error| figment::Error::from(error.to_string()))?;
        Ok(Profile::Default.collect(dict))
    }
}

/// Lays one layer over another, table by table. A provider of another kind replaces what was there, and so does a
/// provider's `key`, because neither means anything in halves.
fn lay_over(below: &mut Value, above: Value, path: &[&str]) {
    let (Value::Object(below), Value::Object(above)) = (below, above) else { return };
    for (name, value) in above {
        let path = [path, &[name.as_str()]].concat();
        let replaces = |old: &Value| match path.as_slice() {
            ["providers", _] => old["kind"].is_string() && value["kind"].is_string() && old["kind"] != value["kind"],
            ["providers", _, "key"] => true,
            _ => false,
        };
        match below.get_mut(&name) {
            Some(old) if old.is_object() && value.is_object() && !replaces(old) => lay_over(old, value, &path),
            _ => {
                below.insert(name.clone(), value);
            }
        }
    }
}

/// Where the operator's file is looked for when nothing names another.
#[must_use]
pub fn user_file() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.config_dir().join("visiongate").join("config.toml"))
}

/// `VISIONGATE_PROVIDERS__MY_LAB__MODEL` sets `providers.my-lab.model`: variables have no dashes, so a segment stands
/// for the key that it equals but for them.
fn environment(known: &Figment) -> Env {
    let names: Vec<String> = known
        .find_value("providers")
        .ok()
        .and_then(|value| Some(value.as_dict()?.keys().cloned().collect()))
        .unwrap_or_default();
    // Container platforms set variables of this form for a service that is called visiongate.
    let is_platforms = |key: &UncasedStr| key.starts_with("service_") || key == "port" || key.starts_with("port_");
    Env::prefixed(PREFIX).ignore(&["config"]).filter(move |key| !is_platforms(key)).split("__").map(move |key| {
        let segments = key.as_str().split('.').enumerate().map(|(index, segment)| {
            // A name without dashes that is the same to the letter comes first.
            let exact = |name: &&String| index == 1 && name.eq_ignore_ascii_case(segment);
            let same = |name: &&String| index == 1 && name.replace('-', "_").eq_ignore_ascii_case(segment);
            let name = names.iter().find(exact).or_else(|| names.iter().find(same));
            name.map_or_else(|| segment.to_owned(), String::clone)
        });
        segments.collect::<Vec<_>>().join(".").into()
    })
}

fn unreadable(error: &figment::Error) -> Vec<Fault> {
    let place = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()).map(ToString::to_string);
    // The first line says where and the last one what; between them the file is quoted, and it may quote a key.
    let text = error.kind.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let message = match lines.as_slice() {
        [place, .., what] => format!("{place}: {what}"),
        [one] => (*one).to_owned(),
        [] => "this cannot be read".to_owned(),
    };
    vec![Fault {
        place: place.unwrap_or_else(|| "the configuration".into()),
        key: error.path.join("."),
        message,
        hint: None,
    }]
}

/// What was found where a key should be.
#[derive(Debug)]
pub enum FoundKey {
    NotNeeded,
    Found(SecretString),
    /// Nothing; the place that was looked at.
    Missing(String),
}

impl FoundKey {
    /// The key itself, to be digested and nothing else.
    pub(crate) fn exposed(&self) -> &str {
        match self {
            Self::Found(key) => key.expose_secret(),
            Self::NotNeeded | Self::Missing(_) => "",
        }
    }
}

/// Looks for a provider's key. `usual` is the variable in which it stands when the operator says nothing.
#[must_use]
pub fn find_key(key: Option<&KeyConfig>, usual: Option<&str>) -> FoundKey {
    let variable_named = |name: &str| match variable(name) {
        Some(value) => FoundKey::Found(value.into()),
        None => FoundKey::Missing(name.to_owned()),
    };
    match (key, usual) {
        (Some(KeyConfig::Word(_)), _) | (None, None) => FoundKey::NotNeeded,
        (Some(KeyConfig::Env(key)), _) => variable_named(&key.env),
        (None, Some(usual)) => variable_named(usual),
        (Some(KeyConfig::File(key)), _) => {
            let text = std::fs::read_to_string(&key.file).map(|text| text.trim().to_owned());
            match text.ok().filter(|text| !text.is_empty()) {
                Some(text) => FoundKey::Found(text.into()),
                None => FoundKey::Missing(format!("the file {}", key.file.display())),
            }
        }
    }
}

/// The files in which keys stand.
#[must_use]
pub fn key_files(config: &Config) -> Vec<PathBuf> {
    let file = |key: &KeyConfig| match key {
        KeyConfig::File(key) => Some(key.file.clone()),
        KeyConfig::Word(_) | KeyConfig::Env(_) => None,
    };
    config.providers.values().filter_map(|provider| file(provider.key.as_ref()?)).collect()
}

/// Where spans go, if anywhere.
///
/// # Errors
/// What is wrong with it.
pub fn collector(loaded: &Loaded) -> Result<Option<Collector>, Vec<Fault>> {
    let traces = &loaded.config.traces;
    let Some(endpoint) = &traces.endpoint else { return Ok(None) };
    let wrong = |key: &str, message: &str| vec![loaded.fault(key, message)];
    let unfit = || wrong("traces.endpoint", "expected an http or https address without a user name");
    let url = Url::parse(endpoint).map_err(|_| unfit())?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(unfit());
    }
    let mut headers = Vec::new();
    for (name, value) in &traces.headers {
        let key = format!("traces.headers.{name}");
        let FoundKey::Found(value) = find_key(Some(value), None) else {
            return Err(wrong(&key, "there is nothing in the variable or file that it names"));
        };
        let sound = HeaderValue::try_from(value.expose_secret()).is_ok();
        let name = HeaderName::try_from(name.as_str()).ok().filter(|_| sound);
        headers.push((name.ok_or_else(|| wrong(&key, "it cannot be sent as a header"))?, value));
    }
    Ok(Some(Collector { endpoint: url, headers }))
}

/// The environment that child processes get: where programs and language data are, and nothing else.
#[must_use]
pub fn child_environment() -> Vec<(String, String)> {
    let names = ["PATH", "TESSDATA_PREFIX", "LANG"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect()
}

/// The Linux inside of Windows that this is, where it is one.
#[must_use]
pub fn distribution() -> Option<String> {
    variable("WSL_DISTRO_NAME")
}

/// A variable that is set to something.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
