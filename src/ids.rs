//! Indices that cannot be mixed up: one small type for each kind of thing that is counted.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u32);

        impl $name {
            /// The id of the item at `index` of its list.
            ///
            /// # Panics
            /// Where `index` does not fit in 32 bits, which no list of ours reaches.
            pub fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("an id fits in 32 bits"))
            }

            /// The place of this item in its list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// One MPI process, `0..size`; an index into `Plan::ranks`.
    Rank, ""
);
id!(
    /// One ONNX operator; an index into `Graph::nodes`, which are in the order of `show`.
    NodeId, "n"
);
id!(
    /// One tensor that passes between nodes; an index into `Graph::activations`.
    ActivationId, "a"
);
id!(
    /// One initialiser; an index into `Graph::weights`.
    WeightId, "w"
);
id!(
    /// What one rank holds of an activation; an index into `RankPlan::parts`.
    PartId, "p"
);
id!(
    /// One sub-model of a rank; an index into `RankPlan::pieces`.
    PieceId, "piece"
);
id!(
    /// One planned message; an index into `Plan::transfers`.
    TransferId, "t"
);
id!(
    /// One node whose sum is shared among ranks; an index into `Plan::sums`.
    SumId, "s"
);
