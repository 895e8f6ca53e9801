//! From the configuration to the keys that callers may have.

use std::path::PathBuf;
use std::sync::Arc;

use super::checks::Faults;
use super::{Kept, Part, kept, spellings};
use crate::config::{CallerConfig, Config};
use crate::intake::path::{Hidden, Roots};
use crate::keys::{self, Key, Keyring};
use crate::rights::{Pace, Rights};
use crate::router::roster::Roster;

/// The keys of a configuration. What is known of a caller's pace stays while its limit does.
pub(super) fn keyring(old: &mut Kept, config: &Config, roster: &Roster, faults: &mut Faults<'_>) -> Keyring {
    let mut paces = std::collections::BTreeMap::new();
    let mut ring = Vec::new();
    for (name, caller) in &config.server.keys {
        let key_of = |key: &str| format!("server.keys.{name}.{key}");
        if let Err(wrong) = keys::check_name(name) {
            faults.add(&format!("server.keys.{name}"), wrong, None);
        }
        check_models(caller, &key_of("models"), roster, faults);
        for tag in caller.tags.iter().filter(|tag| !roster.backends.values().any(|it| it.tags.contains(tag))) {
            faults.add(&key_of("tags"), format!("no provider has the tag `{tag}`"), None);
        }
        let pace = caller.requests_per_minute.map(|most| {
            let pace: Part<Arc<Pace>> =
                kept(old.paces.get(name), &format!("{name} {most}"), || Arc::new(Pace::per_minute(most)));
            paces.insert(name.clone(), pace.clone());
            pace.part
        });
        let roots = caller.roots.as_ref().map(|roots| folders(roots, &key_of("roots"), faults));
        let rights = Rights { models: named_models(caller, roster), tags: caller.tags.clone(), pace };
        match keys::digest(&caller.hash) {
            Ok(digest) => ring.push(Key::new(name, digest, rights, roots)),
            Err(wrong) => {
                let hint = "`visiongate keys new NAME` makes a key and prints its digest";
                faults.add(&key_of("hash"), wrong, Some(hint.into()));
            }
        }
    }
    old.paces = paces;
    Keyring::new(ring)
}

fn check_models(caller: &CallerConfig, key: &str, roster: &Roster, faults: &mut Faults<'_>) {
    for name in caller.models.iter().flatten() {
        if let Err(failure) = roster.resolve(name) {
            faults.add(key, failure.message, failure.advice);
        }
    }
}

/// Models as rights name them: aliases by what they mean, and providers as all of their models.
fn named_models(caller: &CallerConfig, roster: &Roster) -> Option<Vec<String>> {
    let alias = |name: &String| roster.resolve(name).ok().filter(|_| roster.aliases.contains_key(name));
    let meant = |name: &String| alias(name).map_or_else(|| name.clone(), |candidate| candidate.name());
    caller.models.as_ref().map(|names| names.iter().map(meant).collect())
}

fn folders(roots: &[PathBuf], key: &str, faults: &mut Faults<'_>) -> Roots {
    for root in roots.iter().filter(|root| !root.is_absolute() || !root.is_dir()) {
        faults.add(key, format!("{} is not the absolute path of a folder", root.display()), None);
    }
    let roots = roots.iter().flat_map(|root| spellings(root, Hidden::Allowed)).collect();
    Roots { working_directory: None, home: None, roots }
}
