//! What every graph must be, checked when it arrives from a file or a message.

use thiserror::Error;

use super::{Graph, Operand};
use crate::ids::{ActivationId, NodeId};

/// A graph that is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    /// An index points outside of its list.
    #[error("graph: {place}: index {index} of {count}")]
    Index {
        /// Where the index stands.
        place: String,
        /// The index.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A node comes before the producer of its input.
    #[error("graph: node {node} reads {activation}, which is made after it")]
    Order {
        /// The reading node.
        node: String,
        /// The tensor.
        activation: String,
    },
    /// Producers or consumers do not match the nodes.
    #[error("graph: activation {activation}: its producer or consumers do not match the nodes")]
    Links {
        /// The tensor.
        activation: String,
    },
    /// A tensor of more bytes than any machine has.
    #[error("graph: {name}: shape {shape:?} is too large")]
    Size {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
}

/// Checks that ids are in range, producers come before consumers, links agree and sizes fit.
///
/// # Errors
/// The first `GraphError` found, in the order of the lists.
pub fn check_graph(graph: &Graph) -> Result<(), GraphError> {
    check_sizes(graph)?;
    let mut made = vec![false; graph.activations.len()];
    for &input in &graph.inputs {
        *at(&mut made, input, "inputs")? = true;
    }
    let mut consumers: Vec<Vec<NodeId>> = vec![vec![]; graph.activations.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId::new(i);
        for operand in &node.inputs {
            match *operand {
                Operand::Activation(a) => {
                    if !*at(&mut made, a, &node.name)? {
                        let activation = graph.activation(a).name.clone();
                        return Err(GraphError::Order {
                            node: node.name.clone(),
                            activation,
                        });
                    }
                    let list = &mut consumers[a.index()];
                    if list.last() != Some(&id) {
                        list.push(id);
                    }
                }
                Operand::Weight(w) => {
                    let (index, count) = (w.index(), graph.weights.len());
                    if index >= count {
                        return Err(GraphError::Index {
                            place: node.name.clone(),
                            index,
                            count,
                        });
                    }
                }
                Operand::Absent => {}
            }
        }
        for &output in &node.outputs {
            let first = !std::mem::replace(at(&mut made, output, &node.name)?, true);
            let activation = graph.activation(output);
            if !first || activation.producer != Some(id) {
                return Err(GraphError::Links {
                    activation: activation.name.clone(),
                });
            }
        }
    }
    for &output in &graph.outputs {
        at(&mut made, output, "outputs")?;
    }
    for (i, activation) in graph.activations.iter().enumerate() {
        let is_input = graph.inputs.contains(&ActivationId::new(i));
        let linked = made[i] && is_input == activation.producer.is_none();
        if !linked || activation.consumers != consumers[i] {
            return Err(GraphError::Links {
                activation: activation.name.clone(),
            });
        }
    }
    Ok(())
}

fn at<'a>(made: &'a mut [bool], id: ActivationId, place: &str) -> Result<&'a mut bool, GraphError> {
    let count = made.len();
    let place = place.to_string();
    made.get_mut(id.index()).ok_or(GraphError::Index {
        place,
        index: id.index(),
        count,
    })
}

fn check_sizes(graph: &Graph) -> Result<(), GraphError> {
    let activations = graph
        .activations
        .iter()
        .map(|a| (&a.name, &a.shape, a.dtype));
    let weights = graph.weights.iter().map(|w| (&w.name, &w.shape, w.dtype));
    for (name, shape, dtype) in activations.chain(weights) {
        let bytes = shape
            .iter()
            .try_fold(dtype.size(), |bytes, &axis| bytes.checked_mul(axis.max(1)));
        if bytes.is_none_or(|bytes| bytes > isize::MAX as usize / 2) {
            return Err(GraphError::Size {
                name: name.clone(),
                shape: shape.clone(),
            });
        }
    }
    Ok(())
}
