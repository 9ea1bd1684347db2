//! Graphs by hand, without a model file: facts only, weights have no data.

use autodice::geometry::Window;
use autodice::graph::{check_graph, Activation, Dtype, Graph, Node, Op, Operand, PoolKind, Weight};
use autodice::ids::{ActivationId, NodeId, WeightId};

/// A graph that grows; nodes are named `conv0`, `relu1`, … and an activation like its node.
pub struct GraphBuilder {
    graph: Graph,
}

/// A square window: kernel, stride and padding on both sides, in both axes.
pub fn square(kernel: usize, stride: usize, pad: usize) -> Vec<Window> {
    let window = Window {
        kernel,
        stride,
        pad_before: pad,
        pad_after: pad,
        ..Window::POINT
    };
    vec![window; 2]
}

impl GraphBuilder {
    pub fn new(name: &str) -> Self {
        let graph = Graph {
            name: name.into(),
            opset: 13,
            nodes: vec![],
            activations: vec![],
            inputs: vec![],
            outputs: vec![],
            weights: vec![],
            folded: vec![],
        };
        Self { graph }
    }

    pub fn shape(&self, id: ActivationId) -> &[usize] {
        &self.graph.activation(id).shape
    }

    pub fn input(&mut self, shape: &[usize]) -> ActivationId {
        let name = format!("input{}", self.graph.inputs.len());
        let id = self.activation(&name, shape, None);
        self.graph.inputs.push(id);
        id
    }

    pub fn conv(
        &mut self,
        x: ActivationId,
        made: usize,
        windows: Vec<Window>,
        groups: usize,
    ) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let mut kernel = vec![made, shape[1] / groups];
        kernel.extend(windows.iter().map(|w| w.kernel));
        let output = slid(&shape, made, &windows);
        let operands = [x.operand(), self.weight(&kernel), self.weight(&[made])];
        let op = Op::Conv { windows, groups };
        self.one("conv", "Conv", op, &operands, &output)
    }

    /// With `extra` output indices behind those that the windows give.
    pub fn conv_transpose(
        &mut self,
        x: ActivationId,
        made: usize,
        windows: Vec<Window>,
        (groups, extra): (usize, usize),
    ) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let mut kernel = vec![shape[1], made / groups];
        kernel.extend(windows.iter().map(|w| w.kernel));
        let mut output = vec![shape[0], made];
        let lengths = windows.iter().zip(&shape[2..]);
        output.extend(lengths.map(|(w, &n)| w.transposed_output(n, extra).expect("it fits")));
        let operands = [x.operand(), self.weight(&kernel), self.weight(&[made])];
        let op = Op::ConvTranspose { windows, groups };
        self.one("up", "ConvTranspose", op, &operands, &output)
    }

    pub fn pad(&mut self, x: ActivationId, windows: Vec<Window>) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let output = slid(&shape, shape[1], &windows);
        self.one("pad", "Pad", Op::Pad { windows }, &[x.operand()], &output)
    }

    pub fn resize(&mut self, x: ActivationId, factors: &[usize]) -> ActivationId {
        let mut shape = self.shape(x).to_vec();
        for (length, factor) in shape[2..].iter_mut().zip(factors) {
            *length *= factor;
        }
        let factors = factors.to_vec();
        self.one(
            "resize",
            "Resize",
            Op::Resize { factors },
            &[x.operand()],
            &shape,
        )
    }

    /// Like a Softmax or an LRN.
    pub fn across(&mut self, x: ActivationId, axes: &[usize]) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let axes = axes.to_vec();
        self.one(
            "across",
            "Softmax",
            Op::Across { axes },
            &[x.operand()],
            &shape,
        )
    }

    pub fn pool(&mut self, x: ActivationId, kind: PoolKind, windows: Vec<Window>) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let output = slid(&shape, shape[1], &windows);
        let op_type = match kind {
            PoolKind::Max => "MaxPool",
            PoolKind::Average { .. } => "AveragePool",
        };
        let op = Op::Pool { windows, kind };
        self.one("pool", op_type, op, &[x.operand()], &output)
    }

    pub fn relu(&mut self, x: ActivationId) -> ActivationId {
        let shape = self.shape(x).to_vec();
        self.one("relu", "Relu", Op::Elementwise, &[x.operand()], &shape)
    }

    pub fn add(&mut self, a: ActivationId, b: ActivationId) -> ActivationId {
        let shape = self.shape(a).to_vec();
        let operands = [a.operand(), b.operand()];
        self.one("add", "Add", Op::Elementwise, &operands, &shape)
    }

    pub fn normalize(&mut self, x: ActivationId) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let mut operands = vec![x.operand()];
        operands.extend((0..4).map(|_| self.weight(&[shape[1]])));
        let op_type = "BatchNormalization";
        self.one("norm", op_type, Op::PerChannel, &operands, &shape)
    }

    /// Along the channels.
    pub fn concat(&mut self, parts: &[ActivationId]) -> ActivationId {
        let mut shape = self.shape(parts[0]).to_vec();
        shape[1] = parts.iter().map(|&part| self.shape(part)[1]).sum();
        let operands: Vec<_> = parts.iter().map(|a| a.operand()).collect();
        self.one(
            "concat",
            "Concat",
            Op::Concat { axis: 1 },
            &operands,
            &shape,
        )
    }

    pub fn global_sum(&mut self, x: ActivationId) -> ActivationId {
        let mut shape = self.shape(x).to_vec();
        shape[2..].fill(1);
        self.one("sum", "ReduceSum", Op::GlobalSum, &[x.operand()], &shape)
    }

    pub fn flatten(&mut self, x: ActivationId) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let output = [shape[0], shape[1..].iter().product()];
        let op = Op::Flatten { axis: 1 };
        self.one("flatten", "Flatten", op, &[x.operand()], &output)
    }

    pub fn gemm(&mut self, x: ActivationId, made: usize) -> ActivationId {
        let shape = self.shape(x).to_vec();
        let operands = [
            x.operand(),
            self.weight(&[made, shape[1]]),
            self.weight(&[made]),
        ];
        let op = Op::Gemm { transposed: true };
        self.one("gemm", "Gemm", op, &operands, &[shape[0], made])
    }

    pub fn softmax(&mut self, x: ActivationId) -> ActivationId {
        let shape = self.shape(x).to_vec();
        self.one("softmax", "Softmax", Op::Opaque, &[x.operand()], &shape)
    }

    /// Halves of the channels: a node with two outputs.
    pub fn halves(&mut self, x: ActivationId) -> Vec<ActivationId> {
        let mut low = self.shape(x).to_vec();
        let mut high = low.clone();
        low[1] /= 2;
        high[1] -= low[1];
        self.node("split", "Split", Op::Opaque, &[x.operand()], &[low, high])
    }

    fn one(
        &mut self,
        name: &str,
        op_type: &str,
        op: Op,
        inputs: &[Operand],
        output: &[usize],
    ) -> ActivationId {
        self.node(name, op_type, op, inputs, &[output.to_vec()])[0]
    }

    pub fn node(
        &mut self,
        name: &str,
        op_type: &str,
        op: Op,
        inputs: &[Operand],
        outputs: &[Vec<usize>],
    ) -> Vec<ActivationId> {
        let id = NodeId::new(self.graph.nodes.len());
        let name = format!("{name}{}", id.index());
        for operand in inputs {
            if let Operand::Activation(a) = operand {
                let consumers = &mut self.graph.activations[a.index()].consumers;
                if consumers.last() != Some(&id) {
                    consumers.push(id);
                }
            }
        }
        let outputs: Vec<_> = outputs
            .iter()
            .enumerate()
            .map(|(i, shape)| {
                let suffix = if i == 0 {
                    String::new()
                } else {
                    format!("_{i}")
                };
                self.activation(&format!("{name}{suffix}"), shape, Some(id))
            })
            .collect();
        self.graph.nodes.push(Node {
            name: name.clone(),
            origin: name,
            op_type: op_type.into(),
            domain: String::new(),
            attributes: vec![],
            op,
            inputs: inputs.to_vec(),
            outputs: outputs.clone(),
        });
        outputs
    }

    pub fn weight(&mut self, shape: &[usize]) -> Operand {
        let id = WeightId::new(self.graph.weights.len());
        self.graph.weights.push(Weight {
            name: id.to_string(),
            shape: shape.to_vec(),
            dtype: Dtype::F32,
            hash: [0; 32],
        });
        Operand::Weight(id)
    }

    fn activation(
        &mut self,
        name: &str,
        shape: &[usize],
        producer: Option<NodeId>,
    ) -> ActivationId {
        let id = ActivationId::new(self.graph.activations.len());
        self.graph.activations.push(Activation {
            name: name.into(),
            shape: shape.to_vec(),
            dtype: Dtype::F32,
            producer,
            consumers: vec![],
        });
        id
    }

    pub fn finish(mut self, outputs: &[ActivationId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        check_graph(&self.graph).expect("a graph built by hand");
        self.graph
    }
}

fn slid(shape: &[usize], channels: usize, windows: &[Window]) -> Vec<usize> {
    let mut output = vec![shape[0], channels];
    output.extend(windows.iter().zip(&shape[2..]).map(|(w, &n)| w.output(n)));
    output
}

trait AsOperand {
    fn operand(&self) -> Operand;
}

impl AsOperand for ActivationId {
    fn operand(&self) -> Operand {
        Operand::Activation(*self)
    }
}
