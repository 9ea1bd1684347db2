//! From a draft to a `Graph`: unused constants left out, links made, everything checked.

use std::collections::HashMap;

use anyhow::{Context, Result};

use super::draft::Draft;
use super::store::Constant;
use crate::graph::{check_graph, Activation, Graph, Operand, Weight};
use crate::ids::{NodeId, WeightId};

/// The graph of a draft and the data of its weights, in order of first use.
///
/// # Errors
/// A weight that cannot be read or, with a bug, a graph that is not one.
pub fn build(name: &str, mut draft: Draft) -> Result<(Graph, Vec<Constant>)> {
    let mut place: HashMap<WeightId, WeightId> = HashMap::new();
    let (mut weights, mut constants) = (vec![], vec![]);
    for node in &mut draft.nodes {
        for operand in &mut node.inputs {
            let Operand::Weight(old) = operand else {
                continue;
            };
            if !place.contains_key(old) {
                let (name, constant) = &draft.constants[old.index()];
                let hash = constant.hash().with_context(|| format!("weight {name}"))?;
                place.insert(*old, WeightId::new(weights.len()));
                weights.push(Weight {
                    name: name.clone(),
                    shape: constant.shape.clone(),
                    dtype: constant.dtype,
                    hash,
                });
                constants.push(constant.clone());
            }
            *old = place[old];
        }
    }
    let mut activations: Vec<Activation> = draft
        .activations
        .into_iter()
        .map(|(name, dtype, shape)| Activation {
            name,
            shape,
            dtype,
            producer: None,
            consumers: vec![],
        })
        .collect();
    for (index, node) in draft.nodes.iter().enumerate() {
        let id = NodeId::new(index);
        for input in node.activations() {
            let consumers = &mut activations[input.index()].consumers;
            if consumers.last() != Some(&id) {
                consumers.push(id);
            }
        }
        for output in &node.outputs {
            activations[output.index()].producer = Some(id);
        }
    }
    let graph = Graph {
        name: name.to_string(),
        opset: draft.opset,
        nodes: draft.nodes,
        activations,
        inputs: draft.inputs,
        outputs: draft.outputs,
        weights,
        folded: draft.folded,
    };
    check_graph(&graph)?;
    Ok((graph, constants))
}
