//! `visiongate init`: a starter configuration, or the entry that connects an MCP client.
//!
//! It prints. Told to write, it adds the entry to the client's settings and changes nothing else in them: what it cannot
//! read it leaves alone, and what it changes it keeps a copy of. It never writes a key, only the name of a variable.

mod client;
mod file;
mod json;
mod merge;
mod place;
mod toml;
mod yaml;

use std::path::Path;
use std::process::ExitCode;

use clap::Args as Arguments;
use url::Url;
use vision_providers::catalog::Catalog;

use self::client::{Client, Reach};
use self::file::{Found, Kept};
use self::merge::{Conflict, Merged};
use self::place::{Folders, Place};
use super::cli::{print, tell};
use crate::config::{self, Config, KeyConfig};

const STARTER: &str = r#"# visiongate: what differs from the built-in configuration. `visiongate check` reads it and reports every fault.

default  = "pixtral"      # who answers: a provider, provider/model, or an alias
fallback = ["local"]      # who is asked next

[providers.pixtral]
key   = { env = "MISTRAL_API_KEY" }
model = "mistral-medium-latest"

# Any server that speaks chat completions:
# [providers.lab]
# kind     = "openai-compatible"
# base_url = "http://localhost:8000/v1"
# model    = "qwen3-vl-8b"
# key      = "none"
"#;

/// The variable that holds the key of the provider that the built-in configuration asks.
const PROVIDER_KEY: &str = "MISTRAL_API_KEY";
/// The variable that holds the key to a server. It must not begin with `VISIONGATE_`: such variables are configuration.
const SERVER_KEY: &str = "MCP_VISIONGATE_KEY";

/// What `visiongate init` can be told.
#[derive(Debug, Arguments)]
pub(super) struct Args {
    /// The client to connect
    #[arg(long, value_name = "NAME")]
    client: Option<Client>,
    /// Write it to its place instead of printing it: the rest of a client's settings stays as it is, with a copy beside it
    #[arg(long)]
    write: bool,
    /// Replace an entry of the same name that leads elsewhere
    #[arg(long, requires_all = ["write", "client"])]
    force: bool,
    /// Connect to a server that runs already, such as `http://127.0.0.1:8765/mcp`, instead of starting one
    #[arg(long, requires = "client", value_parser = server_address)]
    url: Option<Url>,
    /// The variable of the client's environment that holds the provider's key (that of the default provider when absent),
    /// or with --url the server's (`MCP_VISIONGATE_KEY` unless the server is this machine)
    #[arg(long, value_name = "VARIABLE", requires = "client", value_parser = variable_name)]
    key_env: Option<String>,
}

/// Prints or writes. The exit code is 0 when the entry is printed, written or there already, 1 when it could not be
/// written, 2 when the client has no such thing.
pub(super) fn run(args: &Args, named: Option<&Path>) -> ExitCode {
    match args.client {
        Some(client) => connect(client, args, named),
        None if args.write => write_starter(),
        None => {
            print(STARTER.trim_end());
            let place = config::user_file().map_or("your settings".into(), |place| place.display().to_string());
            tell(&format!("this belongs into {place}; --write puts it there"));
            ExitCode::SUCCESS
        }
    }
}

/// A starter is for those who have no configuration; nobody's own is ever touched.
fn write_starter() -> ExitCode {
    let Some(file) = config::user_file() else { return failed("no home folder is known to write to") };
    let place = Place::of_the_user(file);
    let shown = place.file.display();
    match Found::at(&place) {
        Ok(found) if found.text().is_empty() => match found.replace(STARTER) {
            Ok(_) => {
                tell(&format!("wrote {shown}; `visiongate check` reads it"));
                ExitCode::SUCCESS
            }
            Err(why) => failed(&why),
        },
        Ok(_) => {
            print(STARTER.trim_end());
            failed(&format!("{shown} exists and is left alone; take what you need of what is printed above"))
        }
        Err(why) => failed(&why),
    }
}

fn connect(client: Client, args: &Args, named: Option<&Path>) -> ExitCode {
    let reach = match reach(args, named) {
        Ok(reach) => reach,
        Err(why) => return failed(&why),
    };
    let Some(entry) = client.entry(&reach) else {
        tell(&format!("error: {}", client::NO_REMOTE));
        return ExitCode::from(2);
    };
    let settings = client.settings();
    let snippet = match settings.merge("", &entry, Conflict::Refuse) {
        Ok(Merged::With(snippet)) => snippet,
        Ok(Merged::Same | Merged::Differs) | Err(_) => return failed("composing the entry"),
    };
    let place = Folders::of_the_user().map(|folders| client.place(&folders));
    if !args.write {
        print(snippet.trim_end());
        let shown = place.map_or_else(|_| "the client's settings".into(), |place| place.file.display().to_string());
        tell(&format!("this belongs into {shown}; --write adds it there"));
        tell(&client.advice(&reach));
        return ExitCode::SUCCESS;
    }
    let conflict = if args.force { Conflict::Replace } else { Conflict::Refuse };
    let added = place.and_then(|place| {
        let added = add(&place, reach.variable_in(&entry), |text| settings.merge(text, &entry, conflict))?;
        Ok((place.file, added))
    });
    match added {
        Ok((file, added)) => {
            tell_added(&file, &added);
            tell(&client.advice(&reach));
            ExitCode::SUCCESS
        }
        Err(why) => {
            print(snippet.trim_end());
            failed(&format!("{why}; nothing was changed, and what is printed above can be added by hand"))
        }
    }
}

/// What came of writing.
enum Added {
    Already,
    /// An entry that leads here is there, and does not name this variable.
    AlreadyWithout(String),
    New,
    Changed(Kept),
}

fn add(place: &Place, variable: Option<&str>, merge: impl Fn(&str) -> Result<Merged, String>) -> Result<Added, String> {
    let found = Found::at(place)?;
    let shown = place.file.display();
    match merge(found.text()).map_err(|why| format!("{shown} is left alone: {why}"))? {
        Merged::Same => Ok(match variable.filter(|variable| !found.text().contains(variable)) {
            Some(variable) => Added::AlreadyWithout(variable.to_owned()),
            None => Added::Already,
        }),
        Merged::Differs => Err(format!(
            "{shown} has another entry called {}; --force replaces what says how it is reached, and keeps the rest of it",
            merge::NAME
        )),
        Merged::With(text) => Ok(found.replace(&text)?.map_or(Added::New, Added::Changed)),
    }
}

fn tell_added(file: &Path, added: &Added) {
    let shown = file.display();
    match added {
        Added::Already => tell(&format!("{shown} has it already; nothing was changed")),
        Added::AlreadyWithout(variable) => tell(&format!(
            "{shown} has it already, without {variable}; nothing was changed: what an entry passes on is yours to write"
        )),
        Added::New => tell(&format!("wrote {shown}")),
        Added::Changed(kept) => {
            tell(&format!("added to {shown}; as it was, it is kept in {}", kept.0.display()));
        }
    }
}

/// Whether a server is started, by which program, or where it runs.
fn reach(args: &Args, named: Option<&Path>) -> Result<Reach, String> {
    let key = args.key_env.clone();
    if let Some(url) = &args.url {
        // A server of this machine asks for no key unless it is told to.
        let key = key.or_else(|| (!is_this_machine(url)).then(|| SERVER_KEY.to_owned()));
        return Ok(Reach::Server { url: url.to_string(), key });
    }
    // Clients start servers in any folder and with little of the user's environment: only the full path will do.
    let program = std::env::current_exe().map_err(|error| format!("finding out where this program is: {error}"))?;
    let program = program.to_str().ok_or("this program's path is no Unicode, which settings have to be")?.to_owned();
    let loaded = match config::load(named) {
        Ok(loaded) => Some(loaded),
        // A broken configuration is for `visiongate check`; one that was named here has to be there.
        Err(_) if named.is_none() => None,
        Err(faults) => return Err(faults.first().map_or_else(String::new, ToString::to_string)),
    };
    let key = match (key, &loaded) {
        (Some(key), _) => Some(key),
        (None, Some(loaded)) => key_of_the_default(&loaded.config),
        (None, None) => Some(PROVIDER_KEY.to_owned()),
    };
    let own = loaded.and_then(|loaded| loaded.file).filter(|file| config::user_file().as_ref() != Some(file));
    let config = own.as_deref().map(full_path).transpose()?;
    Ok(Reach::Program { program, config, key })
}

/// The variable in which the key of the provider stands that is asked by default; none where it asks for none.
fn key_of_the_default(config: &Config) -> Option<String> {
    let name = config.aliases.get(&config.default).unwrap_or(&config.default);
    let provider = config.providers.get(name.split('/').next().unwrap_or(name));
    // A default that is a rule's name may be anybody.
    let Some(provider) = provider else { return Some(PROVIDER_KEY.to_owned()) };
    match &provider.key {
        Some(KeyConfig::Env(key)) => Some(key.env.clone()),
        Some(KeyConfig::Word(_) | KeyConfig::File(_)) => None,
        None => Catalog::built_in().ok()?.preset(&provider.kind)?.key_env.clone(),
    }
}

/// Clients start programs in folders of their own.
fn full_path(file: &Path) -> Result<String, String> {
    let path = file.canonicalize().map_err(|error| format!("finding {}: {error}", file.display()))?;
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| "the configuration's path is no Unicode, which settings have to be".into())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn server_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("expected an http or https address, such as http://127.0.0.1:8765/mcp".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a key does not belong into the address: put it into a variable, and name that with --key-env".into()
        );
    }
    Ok(url)
}

fn variable_name(text: &str) -> Result<String, String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if text.is_empty() || text.starts_with(|first: char| first.is_ascii_digit()) || !text.chars().all(is_name) {
        return Err("expected the name of a variable, not a key: letters, digits and underscores".into());
    }
    Ok(text.to_owned())
}

fn failed(why: &str) -> ExitCode {
    tell(&format!("error: {why}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_without_keys_are_taken() {
        for good in ["http://127.0.0.1:8765/mcp", "https://vision.example.com/mcp"] {
            assert!(server_address(good).is_ok(), "{good}");
        }
        for wrong in ["vision.example.com", "ftp://x/mcp", "https://user:key@x/mcp", "mailto:a@b"] {
            assert!(server_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_taken_for_the_name_of_a_variable() {
        assert!(variable_name("OPENAI_API_KEY").is_ok());
        for wrong in ["", "sk-proj-1", "1KEY", "A=B", "${A}"] {
            assert!(variable_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        let is = |text: &str| is_this_machine(&Url::parse(text).expect("an address"));
        assert!(is("http://127.0.0.1:8765/mcp") && is("http://[::1]/mcp") && is("http://localhost/mcp"));
        assert!(!is("http://192.168.0.2/mcp") && !is("https://localhost.example.com/mcp"));
    }
}
