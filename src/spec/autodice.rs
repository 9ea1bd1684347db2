//! AutoDiCE's mapping and platform files as a spec.
//!
//! Its tools print what is inconsistent and go on; here it is refused. Source: AutoDiCE (Guo et
//! al., 2022), the files `mapping.json` and `platform.txt`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::graph::{autodice_form, Graph};
use crate::ids::NodeId;
use crate::platform::hostfile::parse_hostfile;
use crate::platform::is_host_name;
use crate::platform::rankfile::parse_cores;

use super::mapping::{parse_mapping, Resource};
use super::yaml::MAX_BYTES;
use super::{RankSpec, RunSpec, Spec, SpecError, StageNodes, StageSpec};
use crate::document::one_line;

/// Names of the two files in messages.
const MAPPING: &str = "mapping.json";
const PLATFORM: &str = "platform.txt";

/// The core that AutoDiCE gives a rank with a GPU.
const GPU_CORE: usize = 5;

/// The spec that AutoDiCE's files mean for this model, with warnings for people.
///
/// Every key of the mapping becomes a rank, in the order of the keys, with its host, cores and one
/// thread for each core, and a stage of the nodes listed. Nodes are named as AutoDiCE names them:
/// by their first output with `/` as `_`; the spec keeps those names where they mean the same
/// here, else it has the ONNX names. A name that folding removed is left out. A `gpu` key runs on
/// the CPU with one thread, with one warning for all of them.
///
/// # Errors
/// A file that cannot be read; a host that the platform lacks; cores that the host lacks or that
/// stand twice; nodes that the model lacks, that no key lists or that several do, by name.
pub fn import(
    mapping_text: &str,
    platform_text: &str,
    graph: &Graph,
    model_path: &Path,
) -> Result<(Spec, Vec<String>), SpecError> {
    let hosts = parse_platform(platform_text)?;
    let keys = parse_mapping(mapping_text).map_err(|(path, message)| fault(&path, message))?;
    let by_name: HashMap<&str, &PlatformHost> = hosts
        .iter()
        .map(|host| (host.name.as_str(), host))
        .collect();
    let mut ranks = Vec::with_capacity(keys.len());
    let mut listed = Vec::with_capacity(keys.len());
    for key in &keys {
        let host = by_name.get(key.host.as_str()).ok_or_else(|| {
            let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
            let (name, names) = (&key.host, some_names(&names));
            fault(
                &key.name,
                format!("host {name} is not in the platform, which has {names}"),
            )
        })?;
        ranks.push(rank(&key.name, &key.resource, host)?);
        listed.push((key.name.as_str(), key.nodes.as_slice()));
    }
    let lists = assign(graph, &listed)?;
    let stage = |(rank, names)| StageSpec {
        nodes: StageNodes::List(names),
        ranks: vec![rank],
        split: None,
    };
    let gpus: Vec<_> = keys
        .iter()
        .filter(|key| key.resource == Resource::Gpu)
        .map(|key| key.name.as_str())
        .collect();
    let mut warnings = shared_cores(&ranks);
    if !gpus.is_empty() {
        let names = gpus.join(", ");
        warnings.insert(
            0,
            format!("{names}: there is no GPU engine; these run on the CPU with one thread"),
        );
    }
    let spec = Spec {
        model: model_path.into(),
        shapes: vec![],
        input: None,
        labels: None,
        ranks,
        stages: lists.into_iter().enumerate().map(stage).collect(),
        run: RunSpec::default(),
    };
    Ok((spec, warnings))
}

fn fault(path: &str, message: impl AsRef<str>) -> SpecError {
    SpecError {
        file: MAPPING.into(),
        path: one_line(path, 200),
        message: one_line(message.as_ref(), 500),
    }
}

/// A host of the platform file; no cores: the file does not say.
struct PlatformHost {
    name: String,
    cores: Option<Vec<usize>>,
}

/// Hosts from one name a line, from `nx01, arm, slots=0-5, gpu=NVIDIAVolta (CUDA)`, where slots
/// are core numbers, or from a host file, where they are a count.
fn parse_platform(text: &str) -> Result<Vec<PlatformHost>, SpecError> {
    let refuse = |path: String, message: String| SpecError {
        file: PLATFORM.into(),
        path,
        message: one_line(&message, 500),
    };
    if text.len() > MAX_BYTES {
        let bytes = text.len();
        let message = format!("{bytes} bytes; a platform has at most {MAX_BYTES}");
        return Err(refuse(String::new(), message));
    }
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    // A node list has its commas inside of brackets.
    let table = lines.clone().any(|line| line.contains(',')) && !text.contains('[');
    let mut hosts: Vec<PlatformHost> = vec![];
    if table {
        let mut seen = HashSet::new();
        for (i, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            let place = format!("line {}", i + 1);
            let host = platform_line(line).map_err(|message| refuse(place.clone(), message))?;
            if !seen.insert(host.name.clone()) {
                return Err(refuse(place, format!("host {} stands twice", host.name)));
            }
            hosts.push(host);
        }
    } else {
        let list = parse_hostfile(text).map_err(|e| refuse(String::new(), e.to_string()))?;
        hosts.extend(list.into_iter().map(|host| PlatformHost {
            name: host.name,
            cores: None,
        }));
    }
    match hosts.iter().find(|host| host.name.contains('_')) {
        Some(host) => Err(refuse(
            String::new(),
            format!(
                "host {}: a key of the mapping is host_resource, so a host has no `_`",
                host.name
            ),
        )),
        None => Ok(hosts),
    }
}

/// `host`, then in any order an architecture, `slots=` and `gpu=`.
fn platform_line(line: &str) -> Result<PlatformHost, String> {
    let mut fields = line.split(',').map(str::trim);
    let name = fields.next().unwrap_or_default();
    if !is_host_name(name) {
        return Err(format!("found `{name}`, expected the name of a host"));
    }
    let mut slots: Option<String> = None;
    let mut last_is_slots = false;
    for field in fields {
        let number = field.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        match (field.split_once('='), &mut slots) {
            (Some((key, value)), None) if key.trim() == "slots" => {
                slots = Some(value.trim().into());
                last_is_slots = true;
            }
            // The commas of `slots=0,1,2` are no other than those between fields.
            (None, Some(slots)) if last_is_slots && number && !field.is_empty() => {
                slots.push(',');
                slots.push_str(field);
            }
            (Some((key, _)), _) if key.trim() == "gpu" => last_is_slots = false,
            (None, _) if field.chars().any(char::is_alphabetic) => last_is_slots = false,
            _ => {
                return Err(format!(
                    "found `{field}`, expected e.g. nx01, arm, slots=0-5, gpu=NVIDIAVolta (CUDA)"
                ))
            }
        }
    }
    let cores =
        match slots {
            None => None,
            Some(text) => Some(parse_cores(&text, 4096).ok_or_else(|| {
                format!("found slots={text}, expected core numbers, e.g. slots=0-5")
            })?),
        };
    let name = name.into();
    Ok(PlatformHost { name, cores })
}

fn rank(key: &str, resource: &Resource, host: &PlatformHost) -> Result<RankSpec, SpecError> {
    let cores = match (resource, &host.cores) {
        (Resource::Cores(cores), _) => cores.clone(),
        // Where a board has fewer cores than the author's, the last one.
        (Resource::Gpu, Some(all)) if !all.contains(&GPU_CORE) => {
            vec![all.iter().copied().max().unwrap_or(0)]
        }
        (Resource::Gpu, _) => vec![GPU_CORE],
    };
    if let Some(all) = &host.cores {
        if let Some(core) = cores.iter().find(|core| !all.contains(core)) {
            let name = &host.name;
            return Err(fault(
                key,
                format!("core {core} is not among the platform's slots of {name}"),
            ));
        }
    }
    Ok(RankSpec {
        host: Some(host.name.clone()),
        threads: Some(cores.len()),
        cores: Some(cores),
        ..RankSpec::default()
    })
}

/// One warning for every core that several ranks of a host use.
fn shared_cores(ranks: &[RankSpec]) -> Vec<String> {
    let mut users: BTreeMap<(&str, usize), Vec<String>> = BTreeMap::new();
    for (i, rank) in ranks.iter().enumerate() {
        let host = rank.host.as_deref().unwrap_or_default();
        for &core in rank.cores.iter().flatten() {
            users.entry((host, core)).or_default().push(i.to_string());
        }
    }
    let shared = users.into_iter().filter(|(_, ranks)| ranks.len() > 1);
    let warning = |((host, core), ranks): ((&str, usize), Vec<String>)| {
        format!(
            "core {core} of {host} is shared by ranks {}",
            ranks.join(", ")
        )
    };
    shared.map(warning).collect()
}

/// For every key the names that its stage lists.
fn assign(graph: &Graph, keys: &[(&str, &[String])]) -> Result<Vec<Vec<String>>, SpecError> {
    let names = Names::new(graph);
    let mut taken: HashMap<NodeId, &str> = HashMap::new();
    let mut folded: HashSet<String> = HashSet::new();
    let (mut lists, mut unknown, mut twice) = (vec![], vec![], vec![]);
    for (key, listed) in keys {
        let mut list = vec![];
        for name in *listed {
            let Some(nodes) = names.find(name) else {
                if !names.is_folded(name) {
                    unknown.push(name.as_str());
                } else if !folded.insert(autodice_form(name)) {
                    twice.push(format!("{name} (again in {key})"));
                }
                continue;
            };
            match taken.insert(nodes[0], key) {
                Some(other) => twice.push(format!("{name} (in {other} and {key})")),
                None => list.push(names.spelling(name, &nodes)),
            }
        }
        lists.push(list);
    }
    let missing: Vec<_> = graph
        .node_ids()
        .filter(|&id| names.group(id)[0] == id && !taken.contains_key(&id))
        .map(|id| names.shown(id))
        .collect();
    let twice: Vec<_> = twice.iter().map(String::as_str).collect();
    let missing: Vec<_> = missing.iter().map(String::as_str).collect();
    for (what, list) in [
        ("not nodes of the model", &unknown),
        ("mapped more than once", &twice),
        ("nodes that no key lists", &missing),
    ] {
        if !list.is_empty() {
            return Err(fault("", format!("{what}: {}", some_names(list))));
        }
    }
    match lists.iter().position(Vec::is_empty) {
        Some(i) => Err(fault(keys[i].0, "no node that is left after folding")),
        None => Ok(lists),
    }
}

/// The first names of a list, and how many more there are.
fn some_names(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let list = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => list,
        more => format!("{list} and {more} more"),
    }
}

/// AutoDiCE's names for a graph's nodes. Nodes that one ONNX node was lowered to go together.
struct Names<'g> {
    graph: &'g Graph,
    groups: HashMap<&'g str, Vec<NodeId>>,
    by_output: HashMap<String, Vec<NodeId>>,
}

impl<'g> Names<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut groups: HashMap<&str, Vec<NodeId>> = HashMap::new();
        let mut by_output: HashMap<String, Vec<NodeId>> = HashMap::new();
        for id in graph.node_ids() {
            let node = graph.node(id);
            groups.entry(&node.origin).or_default().push(id);
            if let Some(&output) = node.outputs.first() {
                let name = autodice_form(&graph.activation(output).name);
                by_output.entry(name).or_default().push(id);
            }
        }
        Self {
            graph,
            groups,
            by_output,
        }
    }

    /// All nodes that the ONNX node of this one was lowered to.
    fn group(&self, id: NodeId) -> &[NodeId] {
        &self.groups[self.graph.node(id).origin.as_str()]
    }

    /// The nodes that AutoDiCE means by `name`; none where there is no such, or not only one.
    fn find(&self, name: &str) -> Option<Vec<NodeId>> {
        match self.by_output.get(&autodice_form(name)).map(Vec::as_slice) {
            Some([id]) => return Some(self.group(*id).to_vec()),
            Some(_) => return None,
            None => {}
        }
        let nodes = self.graph.nodes_named(name);
        (!nodes.is_empty()).then_some(nodes)
    }

    fn is_folded(&self, name: &str) -> bool {
        let form = autodice_form(name);
        self.graph
            .folded
            .iter()
            .any(|node| autodice_form(node) == form)
    }

    /// `name` where a spec means the same nodes by it, else their ONNX name.
    fn spelling(&self, name: &str, nodes: &[NodeId]) -> String {
        if self.graph.nodes_named(name) == nodes {
            name.into()
        } else {
            self.graph.node(nodes[0]).origin.clone()
        }
    }

    /// AutoDiCE's name of a node, for a message.
    fn shown(&self, id: NodeId) -> String {
        let last = self.group(id).last().copied().unwrap_or(id);
        match self.graph.node(last).outputs.first() {
            Some(&output) => autodice_form(&self.graph.activation(output).name),
            None => self.graph.node(id).origin.clone(),
        }
    }
}
