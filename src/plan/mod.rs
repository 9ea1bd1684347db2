//! The narrow waist: for every rank ordered steps over named parts, and the pieces they run.
//!
//! Every way of splitting a model is a compiler into a `Plan`; everything else reads a `Plan`
//! and knows no strategy by name. A plan is the same on every rank, byte for byte; a rank enters
//! only as an index into `Plan::ranks`.

mod assign;
mod autodice;
mod blocks;
mod build;
mod channels;
mod check;
mod compile;
mod cuts;
mod demand;
mod dump;
mod emit;
mod error;
mod frames;
mod grow;
mod inner;
mod layout;
mod made;
mod pairs;
mod pieces;
mod space;
mod stage_tally;
mod tally;
mod transfer;
mod weights;
mod zone;

pub use autodice::sender_receiver;
pub use build::PlanBuilder;
pub use check::{check, CheckError};
pub use compile::{compile, compile_owners};
pub use dump::{dump, step_name};
pub use error::PlanError;
pub use made::{Made, Makers};
pub use pieces::{piece_work, PieceWork};
pub use stage_tally::{
    idle_ranks, stages, stages_tally, warnings, Stage, StageTally, StageTurn, StagesTally,
};
pub(crate) use tally::tally_of;
pub use tally::{
    pair_bytes, piece_weight_bytes, tally, transfer_bytes, RankTally, Tally, TurnTally,
};
pub use transfer::{message_tag, MAX_TAG, MAX_WINDOW};
pub use weights::{loading, Loading, SliceKey, SLICES_AHEAD};

use serde::{Deserialize, Serialize};

use crate::geometry::Region;
use crate::ids::{ActivationId, NodeId, PartId, PieceId, Rank, SumId, TransferId};

/// What all ranks do for every frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Frames that may be in flight at once (`run.in_flight`); at least 1.
    pub window: u32,
    /// Sequence number n runs `turns[n % cycle]` of every rank; 1 without replicas.
    pub cycle: u32,
    /// Nodes whose sum is shared among pieces.
    pub sums: Vec<Sum>,
    /// Every message, in the order of the (from, to, tag) pairs' first use.
    pub transfers: Vec<Transfer>,
    /// What each rank does.
    pub ranks: Vec<RankPlan>,
}

/// A node whose sum over its first input is split into summands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// The node: a convolution or product (over input channels), or a global sum (over space).
    pub node: NodeId,
    /// The box of the node's first input that each summand adds up; none is empty, together they
    /// are the whole input. Member 0 carries the operator's bias.
    pub members: Vec<Region>,
}

/// What one rank holds and does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankPlan {
    /// Its buffers; each exists once for every frame in flight.
    pub parts: Vec<Part>,
    /// Its sub-models.
    pub pieces: Vec<Piece>,
    /// Its steps, one list for each turn of the cycle.
    pub turns: Vec<Vec<Step>>,
}

/// What one rank holds of an activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Of which activation.
    pub activation: ActivationId,
    /// Which box of it; the buffer has this box's shape.
    pub region: Region,
    /// Which summands it contains.
    pub terms: Terms,
}

/// Which summands of a shared sum a part contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terms {
    /// All of them: the activation's own values.
    All,
    /// Some only, as ascending indices into `Sum::members`; never all of them.
    Some {
        /// Which sum.
        sum: SumId,
        /// Which of its members.
        members: Vec<u32>,
    },
}

/// A sub-model: nodes over the regions that its inputs and outputs say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The nodes, in the graph's order.
    pub nodes: Vec<NodeId>,
    /// What it reads: for each a box inside of the part's region.
    pub inputs: Vec<(PartId, Region)>,
    /// What it writes: for each a box inside of the part's region.
    pub outputs: Vec<(PartId, Region)>,
}

/// One thing that a rank does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Takes the frame's data for the part's activation (rank 0 only).
    Input(PartId),
    /// Waits for a message and writes its box.
    Receive(TransferId),
    /// Copies what each part of `from` holds of `into`'s region.
    Assemble {
        /// Read, in order.
        from: Vec<PartId>,
        /// Written.
        into: PartId,
    },
    /// Runs a sub-model.
    Run(PieceId),
    /// Combines the same box of several parts, in the order listed.
    Reduce {
        /// How.
        op: ReduceOp,
        /// Read, in order; each contains `into`'s region.
        from: Vec<PartId>,
        /// Written.
        into: PartId,
    },
    /// Starts a message; its box is of the part's region.
    Send(TransferId),
    /// Hands the part, a whole model output, to the sink (rank 0 only).
    Output(PartId),
    /// The part is not used again in this frame. Never blocks: storage is free when the sends
    /// that read it have completed.
    Release(PartId),
}

/// How `Reduce` combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReduceOp {
    /// Element-wise sum.
    Add,
}

/// One planned point-to-point message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Sending rank.
    pub from: Rank,
    /// The part that it reads.
    pub from_part: PartId,
    /// Receiving rank; never the sender.
    pub to: Rank,
    /// The part that it writes.
    pub to_part: PartId,
    /// The box that travels.
    pub region: Region,
    /// Index of this transfer among those of the same (from, to); the message of sequence number
    /// n has the tag `tag * window + n % window`.
    pub tag: u32,
    /// Form of the elements on the wire.
    pub codec: Codec,
}

/// Form of the elements on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    /// The elements as they are, little-endian.
    Raw,
}

impl Plan {
    /// The steps of one rank for sequence number `sequence`.
    pub fn steps(&self, rank: Rank, sequence: u64) -> &[Step] {
        &self.ranks[rank.index()].turns[(sequence % u64::from(self.cycle)) as usize]
    }

    /// The transfer behind an id of this plan.
    pub fn transfer(&self, id: TransferId) -> &Transfer {
        &self.transfers[id.index()]
    }

    /// A part of one rank.
    pub fn part(&self, rank: Rank, id: PartId) -> &Part {
        &self.ranks[rank.index()].parts[id.index()]
    }

    /// BLAKE3 of the plan's serialised form: what all ranks must agree on.
    pub fn hash(&self) -> [u8; 32] {
        let bytes = postcard::to_stdvec(self).expect("a plan of plain data serialises");
        *blake3::hash(&bytes).as_bytes()
    }
}
