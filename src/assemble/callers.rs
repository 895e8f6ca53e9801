//! From the configuration to whom HTTP lets in: callers with keys, and bearers of an issuer's tokens.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::checks::Faults;
use super::folders::{expanded, spellings};
use super::{Kept, Part, kept};
use crate::access::Bearers;
use crate::config::{Config, OauthConfig};
use crate::intake::path::{Hidden, Root};
use crate::keys::{self, Key, Keyring};
use crate::oauth::{Identifier, Settings, Verifier};
use crate::rights::{Pace, Rights};
use crate::router::roster::Roster;
use crate::supervisor::Supervisor;

/// The keys of a configuration. What is known of a caller's pace stays while its limit does.
pub(super) fn keyring(old: &mut Kept, config: &Config, roster: &Roster, faults: &mut Faults<'_>) -> Keyring {
    let mut paces = BTreeMap::new();
    let (mut ring, mut digests) = (Vec::new(), HashMap::new());
    for (name, caller) in &config.server.keys {
        let key = format!("server.keys.{name}");
        if let Err(wrong) = keys::check_name(name) {
            faults.add(&key, wrong, None);
        }
        let rights = rights(caller.models.as_deref(), &caller.tags, &key, roster, faults);
        let pace = caller.requests_per_minute.map(|most| {
            let pace: Part<Arc<Pace>> =
                kept(old.paces.get(name), &format!("{name} {most}"), || Arc::new(Pace::per_minute(most)));
            paces.insert(name.clone(), pace.clone());
            pace.part
        });
        let roots = caller.roots.as_ref().map(|roots| folders(roots, &format!("{key}.roots"), faults));
        let rights = Rights { pace, ..rights };
        match keys::digest(&caller.hash) {
            Ok(digest) => {
                if let Some(other) = digests.insert(digest, name) {
                    let message = format!("`{other}` has the same: nobody could tell who of the two asks");
                    faults.add(&format!("{key}.hash"), message, Some("give each caller a key of their own".into()));
                }
                ring.push(Key::new(name, digest, rights, roots));
            }
            Err(wrong) => {
                let hint = "`visiongate keys new NAME` makes a key and prints its digest";
                faults.add(&format!("{key}.hash"), wrong, Some(hint.into()));
            }
        }
    }
    old.paces = paces;
    Keyring::new(ring)
}

/// Which models may be asked: aliases by what they mean, and providers as all of their models.
fn rights(models: Option<&[String]>, tags: &[String], key: &str, roster: &Roster, faults: &mut Faults<'_>) -> Rights {
    for name in models.into_iter().flatten() {
        if let Err(failure) = roster.resolve(name) {
            faults.add(&format!("{key}.models"), failure.message, failure.advice);
        }
    }
    for tag in tags.iter().filter(|tag| !roster.backends.values().any(|it| it.tags.contains(tag))) {
        faults.add(&format!("{key}.tags"), format!("no provider has the tag `{tag}`"), None);
    }
    let alias = |name: &String| roster.resolve(name).ok().filter(|_| roster.aliases.contains_key(name));
    let meant = |name: &String| alias(name).map_or_else(|| name.clone(), |candidate| candidate.name());
    let models = models.map(|names| names.iter().map(meant).collect());
    Rights { models, tags: tags.to_vec(), pace: None }
}

/// The bearers of tokens, where the configuration names an issuer.
pub(super) fn bearers(
    old: &mut Kept,
    config: &Config,
    roster: &Roster,
    supervisor: &Supervisor,
    faults: &mut Faults<'_>,
) -> Option<Arc<Bearers>> {
    let oauth = config.server.oauth.as_ref()?;
    let rights = rights(oauth.models.as_deref(), &oauth.tags, "server.oauth", roster, faults);
    let (settings, resource) = settings(oauth, config, faults)?;
    let made_for = format!("{oauth:?} {:?} {:?}", config.http.proxy, rights.models);
    let bearers = kept(old.bearers.as_ref(), &made_for, || {
        let verifier = Verifier::new(settings, supervisor.clone());
        Arc::new(Bearers::new(verifier, resource, rights, oauth.requests_per_minute))
    });
    old.bearers = Some(bearers.clone());
    Some(bearers.part)
}

fn settings(oauth: &OauthConfig, config: &Config, faults: &mut Faults<'_>) -> Option<(Settings, Identifier)> {
    let issuer = faults.parsed("server.oauth.issuer", Identifier::parse(&oauth.issuer));
    let resource = faults.parsed("server.oauth.resource", Identifier::parse(&oauth.resource));
    let (issuer, resource) = issuer.zip(resource)?;
    let usual = Settings::new(issuer, &resource);
    let jwks = oauth.jwks.as_deref().and_then(|url| faults.parsed("server.oauth.jwks", Url::parse(url)));
    let settings = Settings {
        audience: oauth.audience.clone().unwrap_or(usual.audience),
        jwks,
        scopes: oauth.scopes.clone(),
        name_claim: oauth.name_claim.clone().unwrap_or(usual.name_claim),
        proxy: config.http.proxy.as_deref().and_then(|proxy| Url::parse(proxy).ok()),
        ..usual
    };
    let wrong = settings.faults();
    for fault in &wrong {
        faults.add(&format!("server.oauth.{}", fault.key), fault.message, None);
    }
    wrong.is_empty().then_some((settings, resource))
}

fn folders(roots: &[PathBuf], key: &str, faults: &mut Faults<'_>) -> Vec<Root> {
    let roots = expanded(roots);
    for root in roots.iter().filter(|root| !root.is_absolute() || !root.is_dir()) {
        faults.add(key, format!("{} is not the absolute path of a folder", root.display()), None);
    }
    roots.iter().flat_map(|root| spellings(root, Hidden::Allowed)).collect()
}
