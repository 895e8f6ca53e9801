//! `visiongate man`: the manual page, from the same declarations as `--help`, with what those do not say.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use vision_providers::catalog::Catalog;

use super::cli::{Cli, print, tell};

const EXIT_CODES: [(&str, &str); 3] = [
    ("0", "It is done."),
    ("1", "The work failed; the error says why, as one JSON document with --json."),
    ("2", "The command or the configuration is wrong."),
];

const FILES: [(&str, &str); 2] = [
    (
        "~/.config/visiongate/config.toml",
        "Your configuration, laid over the one that is built in: it needs only what differs. $XDG_CONFIG_HOME is looked at; \
         on Windows it is %APPDATA%\\visiongate\\config.toml. visiongate init writes a starter, visiongate check reads it.",
    ),
    ("FILE.bak", "What a client's settings were before visiongate init --write added an entry to them."),
];

const VARIABLES: [(&str, &str); 4] = [
    ("VISIONGATE_CONFIG", "The configuration file, where --config names none."),
    (
        "VISIONGATE_KEY__OF__CONFIGURATION",
        "Any key of the configuration: its path in upper case, joined by two underscores, such as VISIONGATE_DEFAULT=local \
         or VISIONGATE_PROVIDERS__PIXTRAL__MODEL. Lists are written [a, b].",
    ),
    ("TESSDATA_PREFIX", "Where Tesseract, which reads text without a model, finds its languages."),
    (
        "MCP_VISIONGATE_KEY",
        "Read by MCP clients that visiongate init --url connects to a server which asks for a key; never by visiongate.",
    ),
];

const EXAMPLES: [(&str, &str); 6] = [
    ("visiongate analyze receipt.png", "What it shows, and the text in it."),
    ("visiongate analyze receipt.png -t invoice --json", "Data after the schema of a task of the configuration."),
    ("visiongate batch scans/ --out scans.jsonl -t ocr --resume", "A folder, in a run that can go on."),
    (
        "visiongate eval set.jsonl --models pixtral,openai --out run --dry-run",
        "What it would cost to score two models.",
    ),
    ("visiongate route receipt.png -m cheapest", "Who would be asked, and why; nobody is."),
    ("visiongate init --client claude-desktop --write", "Connects an MCP client."),
];

/// Prints the page.
pub(super) fn run() -> ExitCode {
    match page() {
        Ok(page) => {
            print(page.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell(&format!("error: composing the manual page: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn page() -> std::io::Result<String> {
    let command = Cli::command();
    let commands: Vec<Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let man = Man::new(command.disable_help_subcommand(true).subcommand_value_name("command"));
    // The library's title brings the definitions that the rest needs, but loses a date that is empty, and there is none.
    let mut title = Vec::new();
    man.render_title(&mut title)?;
    let definitions = String::from_utf8_lossy(&title);
    let mut page = definitions.split(".TH ").next().unwrap_or_default().to_owned();
    page += concat!(".TH VISIONGATE 1 \"\" \"visiongate ", env!("CARGO_PKG_VERSION"), "\" \"visiongate\"\n");
    page += &rendered(|out| man.render_name_section(out))?;
    page += &rendered(|out| man.render_synopsis_section(out))?;
    page += ".SH DESCRIPTION\n";
    page += &text(
        "An assistant that cannot see starts this program and can ask about images. Any vision model can answer: which one \
         is a line of the configuration. Without a key, this machine alone describes images and reads the text in them.",
    );
    page += ".SH COMMANDS\n";
    for command in commands {
        page += &described(command)?;
    }
    page += &rendered(|out| man.render_options_section(out))?;
    page += &list("EXIT STATUS", EXIT_CODES);
    page += &list("FILES", FILES);
    page += &list("ENVIRONMENT", VARIABLES);
    page += &list(
        "",
        [(keys().as_str(), "The keys of providers, unless the configuration names other variables or files.")],
    );
    page += &list("EXAMPLES", EXAMPLES);
    Ok(page)
}

/// One command: how it is called, what it does, its options.
fn described(command: Command) -> std::io::Result<String> {
    let name = command.get_name().to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    // Without what every command has.
    let command =
        command.disable_help_flag(true).bin_name(format!("visiongate {name}")).mut_args(with_values_in_a_line);
    let man = Man::new(command);
    let synopsis = rendered(|out| man.render_synopsis_section(out))?.replacen(".SH SYNOPSIS\n", "", 1);
    let options = rendered(|out| man.render_options_section(out))?.replacen(".SH OPTIONS\n", "", 1);
    Ok(format!(".SS {name}\n{synopsis}.PP\n{}{options}", text(&format!("{about}."))))
}

/// The library gives each value three lines.
fn with_values_in_a_line(argument: Arg) -> Arg {
    let values: Vec<String> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if values.is_empty() || !argument.get_action().takes_values() {
        return argument;
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    argument.help(format!("{help}: {}", values.join(", "))).hide_possible_values(true)
}

/// A section without the lines that begin every document of this library.
fn rendered(render: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<String> {
    let mut out = Vec::new();
    render(&mut out)?;
    let text = String::from_utf8_lossy(&out);
    Ok(text.find(".SH ").and_then(|begin| text.get(begin..)).unwrap_or_default().to_owned())
}

fn text(words: &str) -> String {
    Roff::new().text([roman(words)]).to_roff()
}

/// A section of terms and what they mean; without a title, it goes on with the one before.
fn list<'a>(title: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut roff = Roff::new();
    if !title.is_empty() {
        roff.control("SH", [title]);
    }
    for (term, meaning) in entries {
        roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
    }
    roff.to_roff()
}

/// The variables in which providers' keys usually stand.
fn keys() -> String {
    let Ok(catalog) = Catalog::built_in() else { return String::new() };
    let keys: BTreeSet<&str> = catalog.kinds().filter_map(|kind| catalog.preset(kind)?.key_env.as_deref()).collect();
    keys.into_iter().collect::<Vec<_>>().join(", ")
}
