//! The model file's skeleton: nodes, inputs and outputs decoded, tensors only located.

use std::collections::HashMap;

use anyhow::{bail, ensure, Context, Result};
use prost::Message;
use tract_onnx::pb;

use super::store::Constant;
use super::tensor::{scan_tensor, Files, Scanned, MAX_NAME};
use super::wire::{Kind, Span, Wire};

/// A model may have this many nodes, and this many initialisers.
const MAX_ITEMS: usize = 100_000;
/// A node may have this many inputs, and this many outputs.
const MAX_EDGES: usize = 10_000;
/// Names and edges of all nodes together.
const MAX_NAMES: usize = 2_000_000;
/// Bytes of everything but tensors' data that are decoded.
const MAX_SKELETON: u64 = 16 << 20;

/// A node of the file.
pub struct ScannedNode {
    /// The node, without tensors and graphs in its attributes where those are large.
    pub proto: pb::NodeProto,
    /// The tensor attribute `value` of a `Constant` or a `ConstantOfShape`.
    pub value: Option<std::result::Result<Constant, String>>,
    /// An attribute that is a graph, sparse or a list of tensors: none can be read.
    pub beyond: Option<String>,
}

/// A model without its tensors' data.
pub struct Skeleton {
    /// Name of the graph.
    pub name: String,
    /// Opset of the default domain.
    pub opset: i64,
    /// The nodes, in the file's order.
    pub nodes: Vec<ScannedNode>,
    /// The graph's inputs, initialisers among them where the file lists them.
    pub inputs: Vec<pb::ValueInfoProto>,
    /// Names of the graph's outputs.
    pub outputs: Vec<String>,
    /// The initialisers by name.
    pub tensors: HashMap<String, std::result::Result<Constant, String>>,
}

struct Scan<'a, 'b> {
    wire: Wire<'a>,
    files: Files<'b>,
    /// Bytes of the skeleton still to be spent.
    left: u64,
    names: usize,
    skeleton: Skeleton,
}

/// Reads the skeleton of the model in `files.model`.
///
/// # Errors
/// What is wrong, with the byte where it is.
pub fn scan(files: Files<'_>) -> Result<Skeleton> {
    let file = files.model.clone();
    let mut scan = Scan {
        wire: Wire::new(file.file())?,
        files,
        left: MAX_SKELETON,
        names: 0,
        skeleton: Skeleton {
            name: String::new(),
            opset: 0,
            nodes: vec![],
            inputs: vec![],
            outputs: vec![],
            tensors: HashMap::new(),
        },
    };
    scan.model(file.length)
        .context("not a readable ONNX model")?;
    Ok(scan.skeleton)
}

impl Scan<'_, '_> {
    fn model(&mut self, end: u64) -> Result<()> {
        ensure!(end > 0, "the file is empty");
        let mut graphs = 0;
        while let Some((field, kind)) = self.wire.key(end)? {
            match (field, kind) {
                (7, Kind::Bytes) => {
                    let span = self.wire.span(end)?;
                    graphs += 1;
                    ensure!(graphs == 1, "two graphs");
                    self.graph(span)?;
                }
                (8, Kind::Bytes) => {
                    let import: pb::OperatorSetIdProto = self.decode(end)?;
                    if matches!(&import.domain[..], "" | "ai.onnx") {
                        self.skeleton.opset = import.version;
                    }
                }
                // Newer files may have fields that are not known here; older ones have none
                // beyond these.
                (1..=64, _) => self.wire.skip(kind, end)?,
                _ => bail!("a field of number {field} in the model"),
            }
        }
        ensure!(graphs == 1, "no graph");
        Ok(())
    }

    fn graph(&mut self, span: Span) -> Result<()> {
        let end = span.end;
        while let Some((field, kind)) = self.wire.key(end)? {
            match (field, kind) {
                (1, Kind::Bytes) => {
                    let span = self.wire.span(end)?;
                    let node = self.node(span)?;
                    ensure!(
                        self.skeleton.nodes.len() < MAX_ITEMS,
                        "more than {MAX_ITEMS} nodes"
                    );
                    self.skeleton.nodes.push(node);
                }
                (2, Kind::Bytes) => self.skeleton.name = self.text(end)?,
                (5, Kind::Bytes) => {
                    let span = self.wire.span(end)?;
                    let Scanned { name, constant } =
                        scan_tensor(&mut self.wire, span, &mut self.files)?;
                    ensure!(
                        self.skeleton.tensors.len() < MAX_ITEMS,
                        "more than {MAX_ITEMS} initialisers"
                    );
                    self.spend(name.len() as u64)?;
                    let twice = self.skeleton.tensors.insert(name.clone(), constant);
                    ensure!(twice.is_none(), "two initialisers named {name:?}");
                }
                (11, Kind::Bytes) => {
                    let input = self.decode(end)?;
                    self.skeleton.inputs.push(input);
                }
                (12, Kind::Bytes) => {
                    let output: pb::ValueInfoProto = self.decode(end)?;
                    self.skeleton.outputs.push(output.name);
                }
                (15, Kind::Bytes) => bail!("sparse initialisers, which are not supported"),
                _ => self.wire.skip(kind, end)?,
            }
        }
        Ok(())
    }

    fn node(&mut self, span: Span) -> Result<ScannedNode> {
        let end = span.end;
        let mut proto = pb::NodeProto::default();
        let mut tensors = vec![];
        let mut beyond = None;
        while let Some((field, kind)) = self.wire.key(end)? {
            match (field, kind) {
                (1, Kind::Bytes) => proto.input.push(self.text(end)?),
                (2, Kind::Bytes) => proto.output.push(self.text(end)?),
                (3, Kind::Bytes) => proto.name = self.text(end)?,
                (4, Kind::Bytes) => proto.op_type = self.text(end)?,
                (5, Kind::Bytes) => {
                    let span = self.wire.span(end)?;
                    let found = self.attribute(span)?;
                    ensure!(
                        proto.attribute.len() < 1000,
                        "byte {}: a node of more than 1000 attributes",
                        span.start
                    );
                    if let Some(tensor) = found.tensor {
                        tensors.push((found.proto.name.clone(), tensor));
                    }
                    if found.beyond {
                        beyond = Some(found.proto.name.clone());
                    }
                    proto.attribute.push(found.proto);
                }
                (7, Kind::Bytes) => proto.domain = self.text(end)?,
                _ => self.wire.skip(kind, end)?,
            }
            self.names += 1;
            ensure!(
                proto.input.len().max(proto.output.len()) <= MAX_EDGES,
                "byte {}: a node of more than {MAX_EDGES} inputs or outputs",
                span.start
            );
            ensure!(
                self.names <= MAX_NAMES,
                "more than {MAX_NAMES} names and attributes of nodes"
            );
        }
        let mut value = None;
        if matches!(&proto.op_type[..], "Constant" | "ConstantOfShape") {
            if let Some((_, span)) = tensors.iter().find(|(name, _)| name == "value") {
                let found = scan_tensor(&mut self.wire, *span, &mut self.files)?;
                value = Some(found.constant);
                self.wire.go_to(end)?;
            }
        }
        Ok(ScannedNode {
            proto,
            value,
            beyond,
        })
    }

    /// Decodes an attribute without what may be large or nested; its tensor is located.
    fn attribute(&mut self, span: Span) -> Result<FoundAttribute> {
        let mut kept = vec![];
        let (mut tensor, mut beyond) = (None, false);
        loop {
            let start = self.wire.position();
            let Some((field, kind)) = self.wire.key(span.end)? else {
                break;
            };
            if (field, kind) == (5, Kind::Bytes) {
                let inner = self.wire.span(span.end)?;
                self.wire.go_to(inner.end)?;
                tensor = Some(inner);
                continue;
            }
            self.wire.skip(kind, span.end)?;
            // Graphs, sparse tensors, lists of tensors and types.
            if matches!(field, 6 | 10 | 11 | 15 | 22 | 23) {
                beyond = true;
                continue;
            }
            if field == 13 {
                continue;
            }
            let end = self.wire.position();
            let limit = self.left;
            kept.extend(self.wire.bytes(Span { start, end }, limit)?);
            self.spend(end - start)?;
        }
        let proto = pb::AttributeProto::decode(&kept[..])
            .with_context(|| format!("byte {}: an attribute", span.start))?;
        Ok(FoundAttribute {
            proto,
            tensor,
            beyond,
        })
    }

    fn decode<M: Message + Default>(&mut self, end: u64) -> Result<M> {
        let span = self.wire.span(end)?;
        self.spend(span.len())?;
        let bytes = self.wire.bytes(span, MAX_SKELETON)?;
        M::decode(&bytes[..]).with_context(|| format!("byte {}", span.start))
    }

    fn text(&mut self, end: u64) -> Result<String> {
        let text = self.wire.text(end, MAX_NAME)?;
        self.spend(text.len() as u64)?;
        Ok(text)
    }

    fn spend(&mut self, bytes: u64) -> Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .with_context(|| format!("more than {MAX_SKELETON} bytes beside the tensors' data"))?;
        Ok(())
    }
}

struct FoundAttribute {
    proto: pb::AttributeProto,
    tensor: Option<Span>,
    beyond: bool,
}
