//! What a plan means, element by element on integers: an oracle that shares no rule with the
//! library. A value that a step needs and nobody put there makes the whole run fail.

use std::collections::{BTreeMap, BTreeSet};

use autodice::geometry::{Interval, Region};
use autodice::graph::{Graph, Node, Op, Operand, PoolKind};
use autodice::ids::{ActivationId, NodeId, TransferId, WeightId};
use autodice::plan::{Plan, Step, Terms};

/// The elements of a box that are known, row-major.
#[derive(Clone)]
pub struct Known {
    region: Region,
    values: Vec<Option<i64>>,
}

impl Known {
    fn nothing(region: &Region) -> Self {
        let values = vec![None; region.volume()];
        let region = region.clone();
        Self { region, values }
    }

    fn place(&self, index: &[usize]) -> Option<usize> {
        let mut place = 0;
        for (axis, &i) in self.region.0.iter().zip(index) {
            if i < axis.start || i >= axis.end {
                return None;
            }
            place = place * axis.len() + (i - axis.start);
        }
        Some(place)
    }

    fn get(&self, index: &[usize]) -> Option<i64> {
        self.values[self.place(index)?]
    }

    fn set(&mut self, index: &[usize], value: i64) -> Result<(), String> {
        let place = self.place(index).ok_or("written outside of its part")?;
        self.values[place] = Some(value);
        Ok(())
    }
}

/// Every index of a box, row-major.
pub fn indices(region: &Region) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for axis in &region.0 {
        all = all
            .iter()
            .flat_map(|index: &Vec<usize>| {
                (axis.start..axis.end).map(move |i| [&index[..], &[i]].concat())
            })
            .collect();
    }
    all
}

fn mixed(seed: u64, index: usize) -> i64 {
    let z = (seed.wrapping_mul(31) + index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((z >> 33) % 7) as i64 - 3
}

fn weight(graph: &Graph, id: WeightId, index: &[usize]) -> i64 {
    let shape = &graph.weight(id).shape;
    let flat = index.iter().zip(shape).fold(0, |flat, (i, n)| flat * n + i);
    mixed(1000 + u64::from(id.0), flat)
}

fn input_value(id: ActivationId, index: &[usize]) -> i64 {
    let flat = index.iter().fold(0, |flat, i| flat * 64 + i);
    mixed(u64::from(id.0), flat)
}

/// Evaluates elements of activations when they are asked for.
pub struct Evaluator<'a> {
    graph: &'a Graph,
    nodes: &'a [NodeId],
    /// Of some nodes only these boxes of the first input are added up, and maybe no bias.
    summands: BTreeMap<NodeId, (Vec<Region>, bool)>,
    /// Nodes that read a part of a sum without its member 0: it adds the bias, they do not.
    unbiased: BTreeSet<NodeId>,
    sources: BTreeMap<ActivationId, Vec<Known>>,
    done: BTreeMap<ActivationId, Known>,
    /// The hull of what was asked of each activation.
    pub asked: BTreeMap<ActivationId, Region>,
}

impl<'a> Evaluator<'a> {
    pub fn new(graph: &'a Graph, nodes: &'a [NodeId]) -> Self {
        Self {
            graph,
            nodes,
            summands: BTreeMap::new(),
            unbiased: BTreeSet::new(),
            sources: BTreeMap::new(),
            done: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// All elements of an activation are known: the model's input data.
    pub fn give_whole(&mut self, id: ActivationId) {
        let mut known = Known::nothing(&self.graph.whole(id));
        for index in indices(&known.region.clone()) {
            known.set(&index, input_value(id, &index)).expect("inside");
        }
        self.sources.entry(id).or_default().push(known);
    }

    pub fn at(&mut self, id: ActivationId, index: &[usize]) -> Result<i64, String> {
        let element = Region(index.iter().map(|&i| Interval::new(i, i + 1)).collect());
        let asked = self.asked.entry(id).or_insert_with(|| element.clone());
        *asked = asked.hull(&element);
        if let Some(known) = self.sources.get(&id) {
            let found = known.iter().find_map(|known| known.get(index));
            return found.ok_or(format!("{id} {index:?} is not there"));
        }
        if let Some(value) = self.done.get(&id).and_then(|known| known.get(index)) {
            return Ok(value);
        }
        let producer = self.graph.activation(id).producer;
        let producer = producer.filter(|node| self.nodes.contains(node));
        let node = producer.ok_or(format!("{id} is not made here"))?;
        let value = self.compute(node, id, index)?;
        let whole = self.graph.whole(id);
        let done = self
            .done
            .entry(id)
            .or_insert_with(|| Known::nothing(&whole));
        done.set(index, value)?;
        Ok(value)
    }

    fn compute(&mut self, id: NodeId, out: ActivationId, index: &[usize]) -> Result<i64, String> {
        let node = &self.graph.nodes[id.index()];
        let first = match node.inputs.first() {
            Some(Operand::Activation(a)) => *a,
            _ => return Err("no first activation".into()),
        };
        let shape = self.graph.activation(first).shape.clone();
        match &node.op {
            Op::Conv { windows, groups } => {
                let made = self.graph.activation(out).shape[1] / groups;
                let read = shape[1] / groups;
                let group = index[1] / made;
                let mut sum = self.bias(id, node, index[1]);
                let taps = Region::whole(&windows.iter().map(|w| w.kernel).collect::<Vec<_>>());
                for channel in 0..read {
                    for tap in indices(&taps) {
                        let mut at = vec![index[0], group * read + channel];
                        for (axis, w) in windows.iter().enumerate() {
                            let i = (index[axis + 2] * w.stride + tap[axis] * w.dilation) as i64;
                            at.push((i - w.pad_before as i64) as usize);
                        }
                        let inside = at.iter().zip(&shape).all(|(i, n)| i < n);
                        if inside && self.adds(id, &at) {
                            let kernel = [&[index[1], channel], &tap[..]].concat();
                            let w = self.constant(node, 1, &kernel);
                            sum = sum.wrapping_add(w.wrapping_mul(self.at(first, &at)?));
                        }
                    }
                }
                Ok(sum)
            }
            Op::ConvTranspose { windows, groups } => {
                let made = self.graph.activation(out).shape[1] / groups;
                let read = shape[1] / groups;
                let group = index[1] / made;
                let mut sum = self.bias(id, node, index[1]);
                let taps = Region::whole(&windows.iter().map(|w| w.kernel).collect::<Vec<_>>());
                for place in indices(&Region::whole(&shape[2..])) {
                    for tap in indices(&taps) {
                        let hit = windows.iter().enumerate().all(|(axis, w)| {
                            let full = place[axis] * w.stride + tap[axis] * w.dilation;
                            full == index[axis + 2] + w.pad_before
                        });
                        for channel in (group * read..(group + 1) * read).filter(|_| hit) {
                            let at = [&[index[0], channel], &place[..]].concat();
                            if self.adds(id, &at) {
                                let kernel = [&[channel, index[1] % made], &tap[..]].concat();
                                let w = self.constant(node, 1, &kernel);
                                sum = sum.wrapping_add(w.wrapping_mul(self.at(first, &at)?));
                            }
                        }
                    }
                }
                Ok(sum)
            }
            Op::Pad { windows } => {
                let mut at = index.to_vec();
                for (i, w) in at[2..].iter_mut().zip(windows) {
                    *i = i.wrapping_sub(w.pad_before);
                }
                match at.iter().zip(&shape).all(|(i, n)| i < n) {
                    true => self.at(first, &at),
                    false => Ok(0),
                }
            }
            Op::Resize { factors } => {
                let mut at = index.to_vec();
                for (i, factor) in at[2..].iter_mut().zip(factors) {
                    *i /= factor;
                }
                self.at(first, &at)
            }
            Op::Across { axes } => {
                let mut line = Region(index.iter().map(|&i| Interval::new(i, i + 1)).collect());
                for &axis in axes {
                    line.0[axis] = Interval::whole(shape[axis]);
                }
                let mut sum = 0i64;
                for (i, at) in indices(&line).iter().enumerate() {
                    sum = sum.wrapping_add(self.at(first, at)?.wrapping_mul(i as i64 + 3));
                }
                Ok(axes
                    .iter()
                    .fold(sum, |sum, &axis| sum * 7 + index[axis] as i64))
            }
            Op::Gemm { .. } => {
                let mut sum = self.bias(id, node, index[1]);
                for k in 0..shape[1] {
                    if !self.adds(id, &[index[0], k]) {
                        continue;
                    }
                    let w = self.constant(node, 1, &[index[1], k]);
                    sum = sum.wrapping_add(w.wrapping_mul(self.at(first, &[index[0], k])?));
                }
                Ok(sum)
            }
            Op::GlobalSum => {
                let mut all = Region::whole(&shape);
                for (axis, &i) in index.iter().enumerate().take(2) {
                    all.0[axis] = Interval::new(i, i + 1);
                }
                let added: Vec<_> = indices(&all)
                    .into_iter()
                    .filter(|at| self.adds(id, at))
                    .collect();
                added
                    .iter()
                    .try_fold(0i64, |sum, at| Ok(sum.wrapping_add(self.at(first, at)?)))
            }
            Op::Pool { windows, kind } => {
                assert_eq!(*kind, PoolKind::Max, "the only pooling here");
                let taps = Region::whole(&windows.iter().map(|w| w.kernel).collect::<Vec<_>>());
                let mut most = i64::MIN;
                for tap in indices(&taps) {
                    let mut at = index[..2].to_vec();
                    for (axis, w) in windows.iter().enumerate() {
                        let i = (index[axis + 2] * w.stride + tap[axis] * w.dilation) as i64;
                        at.push((i - w.pad_before as i64) as usize);
                    }
                    if at.iter().zip(&shape).all(|(i, n)| i < n) {
                        most = most.max(self.at(first, &at)?);
                    }
                }
                Ok(most)
            }
            Op::Elementwise => {
                let mut sum = 0i64;
                for operand in node.activations().collect::<Vec<_>>() {
                    sum = sum.wrapping_add(self.at(operand, index)?);
                }
                Ok(if node.op_type == "Relu" {
                    sum.max(0)
                } else {
                    sum
                })
            }
            Op::PerChannel => {
                let (scale, shift) = (
                    self.constant(node, 1, &[index[1]]),
                    self.constant(node, 2, &[index[1]]),
                );
                Ok(self
                    .at(first, index)?
                    .wrapping_mul(scale)
                    .wrapping_add(shift))
            }
            Op::Concat { axis } => {
                let mut at = index.to_vec();
                for operand in node.activations().collect::<Vec<_>>() {
                    let length = self.graph.activation(operand).shape[*axis];
                    if at[*axis] < length {
                        return self.at(operand, &at);
                    }
                    at[*axis] -= length;
                }
                Err("behind the last operand".into())
            }
            Op::Flatten { axis } => {
                let inner: usize = shape[*axis..].iter().product();
                let mut flat = index[0] * inner + index[1];
                let mut at = vec![0; shape.len()];
                for (place, n) in at.iter_mut().zip(&shape).rev() {
                    *place = flat % n;
                    flat /= n;
                }
                self.at(first, &at)
            }
            Op::Opaque => {
                let mut sum = index
                    .iter()
                    .fold(i64::from(out.0), |sum, i| sum * 7 + *i as i64);
                for operand in node.activations().collect::<Vec<_>>() {
                    for (i, at) in indices(&self.graph.whole(operand)).iter().enumerate() {
                        sum = sum.wrapping_add(self.at(operand, at)?.wrapping_mul(i as i64 + 3));
                    }
                }
                Ok(sum)
            }
        }
    }

    fn adds(&self, id: NodeId, at: &[usize]) -> bool {
        let element = Region(at.iter().map(|&i| Interval::new(i, i + 1)).collect());
        let boxes = self.summands.get(&id).map(|(boxes, _)| boxes);
        boxes.is_none_or(|boxes| boxes.iter().any(|region| region.contains(&element)))
    }

    fn bias(&self, id: NodeId, node: &Node, channel: usize) -> i64 {
        let summand = self.summands.get(&id).is_none_or(|(_, bias)| *bias);
        let carried = summand && !self.unbiased.contains(&id);
        if carried && matches!(node.inputs.get(2), Some(Operand::Weight(_))) {
            self.constant(node, 2, &[channel])
        } else {
            0
        }
    }

    fn constant(&self, node: &Node, operand: usize, index: &[usize]) -> i64 {
        match node.inputs[operand] {
            Operand::Weight(id) => weight(self.graph, id, index),
            _ => panic!("a constant"),
        }
    }
}

/// The model's outputs, uncut, row-major, in order.
pub fn uncut(graph: &Graph) -> Vec<Vec<i64>> {
    let nodes: Vec<NodeId> = graph.node_ids().collect();
    let mut evaluator = Evaluator::new(graph, &nodes);
    for &input in &graph.inputs {
        evaluator.give_whole(input);
    }
    let outputs = graph.outputs.iter();
    outputs
        .map(|&id| {
            let all = indices(&graph.whole(id));
            all.iter()
                .map(|index| evaluator.at(id, index).expect("a whole model"))
                .collect()
        })
        .collect()
}

/// What one frame of one turn hands over, in the order of the model's outputs; the first thing
/// that goes wrong otherwise.
pub fn interpret(graph: &Graph, plan: &Plan, turn: usize) -> Result<Vec<Vec<i64>>, String> {
    let mut ranks: Vec<Vec<Option<Known>>> = plan
        .ranks
        .iter()
        .map(|held| {
            held.parts
                .iter()
                .map(|p| Some(Known::nothing(&p.region)))
                .collect()
        })
        .collect();
    let mut messages: BTreeMap<TransferId, Known> = BTreeMap::new();
    let mut handed: BTreeMap<ActivationId, Vec<i64>> = BTreeMap::new();
    let mut next = vec![0; plan.ranks.len()];
    loop {
        let mut advanced = false;
        for r in 0..plan.ranks.len() {
            while let Some(step) = plan.ranks[r].turns[turn].get(next[r]) {
                match step {
                    Step::Receive(id) if !messages.contains_key(id) => break,
                    _ => one(
                        graph,
                        plan,
                        r,
                        step,
                        &mut ranks[r],
                        &mut messages,
                        &mut handed,
                    )?,
                }
                next[r] += 1;
                advanced = true;
            }
        }
        if !advanced {
            break;
        }
    }
    if (0..plan.ranks.len()).any(|r| next[r] < plan.ranks[r].turns[turn].len()) {
        return Err("stuck".into());
    }
    if !messages.is_empty() {
        return Err("a message nobody takes".into());
    }
    let outputs = graph.outputs.iter();
    outputs
        .map(|id| handed.get(id).cloned().ok_or("an output is missing".into()))
        .collect()
}

fn one(
    graph: &Graph,
    plan: &Plan,
    r: usize,
    step: &Step,
    held: &mut [Option<Known>],
    messages: &mut BTreeMap<TransferId, Known>,
    handed: &mut BTreeMap<ActivationId, Vec<i64>>,
) -> Result<(), String> {
    let gone = "released";
    let parts = &plan.ranks[r].parts;
    match step {
        Step::Input(id) => {
            let activation = parts[id.index()].activation;
            if r != 0 || !graph.inputs.contains(&activation) {
                return Err("no input".into());
            }
            let part = held[id.index()].as_mut().ok_or(gone)?;
            for index in indices(&part.region.clone()) {
                part.set(&index, input_value(activation, &index))?;
            }
        }
        Step::Send(id) => {
            let transfer = plan.transfer(*id);
            if transfer.from.index() != r {
                return Err("sent by another".into());
            }
            let part = held[transfer.from_part.index()].as_ref().ok_or(gone)?;
            let mut message = Known::nothing(&transfer.region);
            for index in indices(&transfer.region) {
                message.set(&index, part.get(&index).ok_or("sent and not there")?)?;
            }
            if messages.insert(*id, message).is_some() {
                return Err("sent twice".into());
            }
        }
        Step::Receive(id) => {
            let transfer = plan.transfer(*id);
            if transfer.to.index() != r {
                return Err("received by another".into());
            }
            let message = messages.remove(id).ok_or("nothing sent")?;
            let part = held[transfer.to_part.index()].as_mut().ok_or(gone)?;
            for index in indices(&message.region) {
                part.set(&index, message.get(&index).ok_or("a hole")?)?;
            }
        }
        Step::Assemble { from, into } => {
            for source in from {
                let source = held[source.index()].clone().ok_or(gone)?;
                let part = held[into.index()].as_mut().ok_or(gone)?;
                for index in indices(&source.region.intersect(&part.region)) {
                    part.set(&index, source.get(&index).ok_or("copied and not there")?)?;
                }
            }
        }
        Step::Reduce { from, into, .. } => {
            let region = parts[into.index()].region.clone();
            for index in indices(&region) {
                let mut sum = 0i64;
                for source in from {
                    let source = held[source.index()].as_ref().ok_or(gone)?;
                    let value = source.get(&index).ok_or("added and not there")?;
                    sum = sum.wrapping_add(value);
                }
                held[into.index()].as_mut().ok_or(gone)?.set(&index, sum)?;
            }
        }
        Step::Run(id) => {
            let piece = &plan.ranks[r].pieces[id.index()];
            let mut evaluator = Evaluator::new(graph, &piece.nodes);
            // Parts of sums on their way through the piece: whether they have member 0.
            let mut partial: BTreeMap<ActivationId, bool> = BTreeMap::new();
            for (part, region) in &piece.inputs {
                let whole = held[part.index()].as_ref().ok_or(gone)?;
                let mut read = Known::nothing(region);
                for index in indices(region) {
                    read.set(&index, whole.get(&index).ok_or("read and not there")?)?;
                }
                let activation = parts[part.index()].activation;
                evaluator.sources.entry(activation).or_default().push(read);
                if let Terms::Some { members, .. } = &parts[part.index()].terms {
                    partial.insert(activation, members.contains(&0));
                }
            }
            for (part, _) in &piece.outputs {
                if let Terms::Some { sum, members } = &parts[part.index()].terms {
                    let sum = &plan.sums[sum.index()];
                    let boxes = members.iter().map(|&m| sum.members[m as usize].clone());
                    let summand = (boxes.collect(), members.contains(&0));
                    evaluator.summands.insert(sum.node, summand);
                }
            }
            for &id in &piece.nodes {
                let node = graph.node(id);
                let read = node.activations().find_map(|a| partial.get(&a).copied());
                if read == Some(false) {
                    evaluator.unbiased.insert(id);
                }
                let own = evaluator.summands.get(&id).map(|(_, bias)| *bias);
                if let Some(first) = read.or(own) {
                    partial.extend(node.outputs.iter().map(|&output| (output, first)));
                }
            }
            for (part, region) in &piece.outputs {
                let activation = parts[part.index()].activation;
                for index in indices(region) {
                    let value = evaluator.at(activation, &index)?;
                    held[part.index()]
                        .as_mut()
                        .ok_or(gone)?
                        .set(&index, value)?;
                }
            }
        }
        Step::Output(id) => {
            let activation = parts[id.index()].activation;
            let part = held[id.index()].as_ref().ok_or(gone)?;
            let all = indices(&graph.whole(activation));
            let values: Option<Vec<i64>> = all.iter().map(|index| part.get(index)).collect();
            let values = values.ok_or("handed over and not there")?;
            if r != 0 || handed.insert(activation, values).is_some() {
                return Err("handed over twice or elsewhere".into());
            }
        }
        Step::Release(id) => {
            held[id.index()].take().ok_or("released twice")?;
        }
    }
    Ok(())
}
