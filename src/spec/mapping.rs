//! AutoDiCE's `mapping.json`: which nodes run on which resource of which host.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::platform::is_host_name;

use super::yaml::MAX_BYTES;

/// One key with its nodes: one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// `<host>_<resource>`.
    pub name: String,
    /// The part in front of `_`.
    pub host: String,
    /// The part behind `_`.
    pub resource: Resource,
    /// The nodes, at least one.
    pub nodes: Vec<String>,
}

/// What of a host a rank uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `cpu012`, `arm012`: every character is the number of a core.
    Cores(Vec<usize>),
    /// `gpu…`.
    Gpu,
}

/// The keys in the file's order, which is the order of ranks, or (path, message).
pub(super) fn parse_mapping(text: &str) -> Result<Vec<Key>, (String, String)> {
    let whole = |message: String| (String::new(), message);
    if text.len() > MAX_BYTES {
        let bytes = text.len();
        return Err(whole(format!(
            "{bytes} bytes; a mapping has at most {MAX_BYTES}"
        )));
    }
    let Entries(entries) = serde_json::from_str(text).map_err(|e| whole(e.to_string()))?;
    if entries.is_empty() {
        return Err(whole(
            "no key, expected e.g. {\"pi0_cpu01\": [\"conv1\"]}".into(),
        ));
    }
    let mut seen = HashSet::new();
    let mut keys = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        if !seen.insert(name.clone()) {
            return Err((name, "the key stands twice".into()));
        }
        let key = parse_key(&name).and_then(|(host, resource)| {
            Ok(Key {
                name: name.clone(),
                host,
                resource,
                nodes: parse_nodes(value)?,
            })
        });
        keys.push(key.map_err(|message| (name, message))?);
    }
    Ok(keys)
}

fn parse_nodes(value: Value) -> Result<Vec<String>, String> {
    let wanted = "expected a list of node names";
    let Value::Array(items) = value else {
        return Err(format!("found {value}, {wanted}"));
    };
    let name = |item| match item {
        Value::String(name) if !name.is_empty() => Ok(name),
        other => Err(format!("found {other}, {wanted}")),
    };
    let nodes: Vec<String> = items.into_iter().map(name).collect::<Result<_, _>>()?;
    if nodes.is_empty() {
        return Err(format!("no node, {wanted}"));
    }
    Ok(nodes)
}

fn parse_key(name: &str) -> Result<(String, Resource), String> {
    let wanted = "expected host_cpu<cores>, host_arm<cores> or host_gpu";
    let (host, resource) = name.rsplit_once('_').ok_or_else(|| wanted.to_string())?;
    if host.contains('_') {
        return Err(format!("host `{host}`: a host has no `_`; {wanted}"));
    }
    if !is_host_name(host) {
        return Err(format!("`{host}` is no host's name; {wanted}"));
    }
    if resource.starts_with("gpu") {
        return Ok((host.into(), Resource::Gpu));
    }
    let digits = resource
        .strip_prefix("cpu")
        .or(resource.strip_prefix("arm"));
    let digits = digits.ok_or_else(|| format!("unknown resource `{resource}`; {wanted}"))?;
    let rule = "each character is one core, 0 to 9, so cores from 10 on cannot be written";
    let core = |c: char| c.to_digit(10).map(|digit| digit as usize);
    let cores: Option<Vec<_>> = digits.chars().map(core).collect();
    let cores = cores
        .filter(|cores| !cores.is_empty())
        .ok_or_else(|| format!("found cores `{digits}`: {rule}"))?;
    let mut seen = HashSet::new();
    if let Some(core) = cores.iter().find(|core| !seen.insert(**core)) {
        return Err(format!("core {core} stands twice in `{digits}`: {rule}"));
    }
    Ok((host.into(), Resource::Cores(cores)))
}

/// The entries of a JSON object in order. A repeated key stays, where a map would drop it.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with a list of nodes for each key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
