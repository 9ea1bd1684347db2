//! The parts that one rank holds for one frame, and the steps that only move data.

use std::any::Any;
use std::sync::Arc;

use crate::comm::{Landing, Payload};
use crate::engine::Tensor;
use crate::geometry::{copy_box, Region};
use crate::graph::Graph;
use crate::ids::{PartId, TransferId};
use crate::plan::{Part, RankPlan};

impl Payload for Tensor {
    fn bytes(&self) -> &[u8] {
        Tensor::bytes(self)
    }
}

impl Landing for Tensor {
    fn bytes_mut(&mut self) -> &mut [u8] {
        Tensor::bytes_mut(self)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// A buffer that a message was received into, on its way back to where the next one is.
pub type Returned = (TransferId, Arc<Tensor>);

/// What is known of one part's data.
enum Held {
    /// Nothing was written, or it was released.
    Nothing,
    /// Boxes are being written; only this store refers to the buffer.
    Open(Tensor),
    /// Written as a whole; others may read it while it is sent.
    Closed(Arc<Tensor>, Option<TransferId>),
}

/// All parts of one rank for one frame.
pub struct Store {
    held: Vec<Held>,
    returned: Vec<Returned>,
}

impl Store {
    /// A store with nothing in it.
    pub fn new(parts: usize) -> Self {
        Self {
            held: (0..parts).map(|_| Held::Nothing).collect(),
            returned: Vec::new(),
        }
    }

    /// Makes `tensor`, of the part's shape, the part's data. `home` is the transfer whose landing
    /// the buffer is, if it is one.
    pub fn put(&mut self, id: PartId, tensor: Arc<Tensor>, home: Option<TransferId>) {
        self.held[id.index()] = Held::Closed(tensor, home);
    }

    /// Writes `region` of the part from a tensor that holds just that box.
    pub fn write(
        &mut self,
        graph: &Graph,
        plan: &RankPlan,
        id: PartId,
        region: &Region,
        from: &Tensor,
    ) {
        let part = &plan.parts[id.index()];
        let target = self.open(graph, part, id);
        let item = from.dtype().size();
        copy_box(
            (from.bytes(), region),
            (target.bytes_mut(), &part.region),
            region,
            item,
        );
    }

    /// Copies into the part whatever of its region `source` holds.
    pub fn assemble(&mut self, graph: &Graph, plan: &RankPlan, source: PartId, into: PartId) {
        let (from, to) = (&plan.parts[source.index()], &plan.parts[into.index()]);
        let common = from.region.intersect(&to.region);
        if common.is_empty() {
            return;
        }
        let tensor = self.read(source);
        let target = self.open(graph, to, into);
        let item = tensor.dtype().size();
        let source = (tensor.bytes(), &from.region);
        copy_box(source, (target.bytes_mut(), &to.region), &common, item);
    }

    /// The box `region` of a part, without a copy where it is the whole part.
    pub fn take_box(
        &mut self,
        graph: &Graph,
        plan: &RankPlan,
        id: PartId,
        region: &Region,
    ) -> Arc<Tensor> {
        let part = &plan.parts[id.index()];
        if *region == part.region {
            return self.read(id);
        }
        let dtype = graph.activation(part.activation).dtype;
        let mut out = Tensor::zeros(dtype, &region.shape());
        let bytes = match &self.held[id.index()] {
            Held::Nothing => panic!("part {id} is read before it is written"),
            Held::Open(tensor) => tensor.bytes(),
            Held::Closed(tensor, _) => tensor.bytes(),
        };
        copy_box(
            (bytes, &part.region),
            (out.bytes_mut(), region),
            region,
            dtype.size(),
        );
        Arc::new(out)
    }

    /// The whole part, to be read by others; closes it.
    ///
    /// # Panics
    /// Where nothing was written, which `plan::check` excludes.
    pub fn read(&mut self, id: PartId) -> Arc<Tensor> {
        let held = &mut self.held[id.index()];
        if let Held::Open(_) = held {
            let Held::Open(tensor) = std::mem::replace(held, Held::Nothing) else {
                unreachable!()
            };
            *held = Held::Closed(Arc::new(tensor), None);
        }
        match held {
            Held::Closed(tensor, _) => Arc::clone(tensor),
            _ => panic!("part {id} is read before it is written"),
        }
    }

    /// Whether the part can be handed out whole without a copy.
    pub fn is_closed(&self, id: PartId) -> bool {
        matches!(self.held[id.index()], Held::Closed(..))
    }

    /// Forgets the part's data; a landing goes home when the frame ends.
    pub fn release(&mut self, id: PartId) {
        let held = std::mem::replace(&mut self.held[id.index()], Held::Nothing);
        if let Held::Closed(tensor, Some(home)) = held {
            self.returned.push((home, tensor));
        }
    }

    /// Notes that a landing's data was copied out, so that it goes home when the frame ends.
    pub fn give_back(&mut self, home: TransferId, tensor: Arc<Tensor>) {
        self.returned.push((home, tensor));
    }

    /// Forgets everything and gives the landings back.
    pub fn clear(&mut self) -> Vec<Returned> {
        for index in 0..self.held.len() {
            self.release(PartId::new(index));
        }
        std::mem::take(&mut self.returned)
    }

    /// The part's buffer for writing, made where there is none yet. A part that was handed out
    /// whole and is written again gets a buffer of its own first.
    fn open(&mut self, graph: &Graph, part: &Part, id: PartId) -> &mut Tensor {
        let held = &mut self.held[id.index()];
        let opened = match std::mem::replace(held, Held::Nothing) {
            Held::Open(tensor) => tensor,
            Held::Nothing => Tensor::zeros(
                graph.activation(part.activation).dtype,
                &part.region.shape(),
            ),
            Held::Closed(tensor, home) => {
                let mut own = Tensor::zeros(tensor.dtype(), tensor.shape());
                own.bytes_mut().copy_from_slice(tensor.bytes());
                self.returned.extend(home.map(|home| (home, tensor)));
                own
            }
        };
        *held = Held::Open(opened);
        match held {
            Held::Open(tensor) => tensor,
            _ => unreachable!("the part was opened above"),
        }
    }
}
