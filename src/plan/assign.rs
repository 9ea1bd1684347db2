//! Which stage owns which node: the spec's names met with the model's.

use super::PlanError;
use crate::graph::{autodice_form, Graph};
use crate::ids::NodeId;
use crate::spec::{Spec, StageNodes};

/// How many names a message lists before it only counts.
const LISTED: usize = 5;

/// Letters of a name that a message shows. Longer names are no typing errors, and comparing them
/// would take long.
const LONGEST: usize = 128;

/// The stage of every node, as an index into `spec.stages`.
///
/// # Errors
/// `PlanError` where a name is unknown or ambiguous, where nodes are missed or repeated, or where
/// a stage has none.
pub fn assign(graph: &Graph, spec: &Spec) -> Result<Vec<usize>, PlanError> {
    if spec.stages.is_empty() {
        return Err(PlanError::new("stages", "no stage, at least 1 is needed"));
    }
    let mut taken: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for (stage, asked) in spec.stages.iter().enumerate() {
        match &asked.nodes {
            StageNodes::Until(name) => take_until(graph, &mut taken, stage, name)?,
            StageNodes::List(names) => take_listed(graph, &mut taken, stage, names)?,
            StageNodes::Rest if stage + 1 < spec.stages.len() => {
                let message = "only the last stage may have neither until nor nodes";
                return Err(PlanError::new(format!("stages[{stage}]"), message));
            }
            StageNodes::Rest => take_below(&mut taken, stage, graph.nodes.len()),
        }
        if !taken.contains(&Some(stage)) {
            let message = "no node is left for this stage";
            return Err(PlanError::new(format!("stages[{stage}]"), message));
        }
    }
    let missed: Vec<&str> = graph
        .node_ids()
        .filter(|id| taken[id.index()].is_none())
        .map(|id| graph.node(id).origin.as_str())
        .collect();
    if !missed.is_empty() {
        let message = format!("{} in no stage: {}", are(missed.len()), first_few(&missed));
        return Err(PlanError::new("stages", message));
    }
    Ok(taken.into_iter().flatten().collect())
}

fn take_until(
    graph: &Graph,
    taken: &mut [Option<usize>],
    stage: usize,
    name: &str,
) -> Result<(), PlanError> {
    let path = format!("stages[{stage}].until");
    let found = resolve(graph, &path, name)?;
    if found.is_empty() {
        let message = format!(
            "node '{}' is constant and was folded away, name one that show lists",
            shown(name)
        );
        return Err(PlanError::new(path, message));
    }
    if let Some(other) = found.iter().find_map(|id| taken[id.index()]) {
        let message = format!("node '{}' is in stages[{other}] already", shown(name));
        return Err(PlanError::new(path, message));
    }
    let last = found.iter().map(|id| id.index()).max().unwrap_or(0);
    take_below(taken, stage, last + 1);
    Ok(())
}

fn take_below(taken: &mut [Option<usize>], stage: usize, end: usize) {
    for place in &mut taken[..end] {
        place.get_or_insert(stage);
    }
}

fn take_listed(
    graph: &Graph,
    taken: &mut [Option<usize>],
    stage: usize,
    names: &[String],
) -> Result<(), PlanError> {
    let mut repeated = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = format!("stages[{stage}].nodes[{index}]");
        let found = resolve(graph, &path, name)?;
        let other = found.iter().find_map(|id| taken[id.index()]);
        match other {
            Some(other) => repeated.push(format!("{name} (stages[{other}])")),
            None => found.iter().for_each(|id| taken[id.index()] = Some(stage)),
        }
    }
    if repeated.is_empty() {
        return Ok(());
    }
    let names = first_few(&repeated);
    let message = format!("{} in a stage already: {names}", are(repeated.len()));
    Err(PlanError::new(format!("stages[{stage}].nodes"), message))
}

/// The nodes that a name means; none where folding removed it.
pub(super) fn resolve(graph: &Graph, path: &str, name: &str) -> Result<Vec<NodeId>, PlanError> {
    let found = graph.nodes_named(name);
    let form = autodice_form(name);
    if !found.is_empty()
        || graph
            .folded
            .iter()
            .any(|f| f == name || autodice_form(f) == form)
    {
        return Ok(found);
    }
    let mut meant: Vec<String> = graph
        .nodes
        .iter()
        .filter(|node| autodice_form(&node.origin) == form)
        .map(|node| shown(&node.origin))
        .collect();
    meant.dedup();
    let message = match meant.is_empty() {
        false => format!(
            "'{}' may mean {}: say which",
            shown(name),
            meant.join(" or ")
        ),
        true => unknown(graph, name),
    };
    Err(PlanError::new(path, message))
}

/// A name of the spec for a message of one line.
pub(super) fn shown(name: &str) -> String {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    let mut text: String = name.chars().take(LONGEST).map(printable).collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn unknown(graph: &Graph, name: &str) -> String {
    let model = shown(&graph.name);
    let near = near_names(graph, name);
    match near.is_empty() {
        true => format!("no node '{}' in model '{model}'", shown(name)),
        false => format!(
            "no node '{}' in model '{model}', did you mean {}?",
            shown(name),
            near.join(" or ")
        ),
    }
}

/// At most three names that differ in few letters, nearest first.
fn near_names(graph: &Graph, name: &str) -> Vec<String> {
    let asked: Vec<char> = name.chars().take(LONGEST + 1).collect();
    if asked.len() > LONGEST {
        return vec![];
    }
    let allowed = (asked.len() / 4).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = Vec::new();
    for node in &graph.nodes {
        let other: Vec<char> = node.origin.chars().take(LONGEST + 1).collect();
        if other.len().abs_diff(asked.len()) <= allowed {
            let distance = edit_distance(&asked, &other);
            if distance <= allowed && !near.contains(&(distance, &node.origin)) {
                near.push((distance, &node.origin));
            }
        }
    }
    near.sort_by_key(|&(distance, _)| distance);
    near.into_iter()
        .take(3)
        .map(|(_, name)| shown(name))
        .collect()
}

/// Letters to insert, delete or replace so that one becomes the other.
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn are(count: usize) -> String {
    match count {
        1 => "1 node is".into(),
        _ => format!("{count} nodes are"),
    }
}

fn first_few(names: &[impl AsRef<str>]) -> String {
    let few: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|n| shown(n.as_ref()))
        .collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    few.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::edit_distance;

    #[test]
    fn edit_distance_counts_letters() {
        let distance = |a: &str, b: &str| {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            edit_distance(&a, &b)
        };
        assert_eq!(distance("pool3", "pool3"), 0);
        assert_eq!(distance("pol3", "pool3"), 1);
        assert_eq!(distance("poool3", "pool3"), 1);
        assert_eq!(distance("pool4", "pool3"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
