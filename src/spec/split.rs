//! How the ranks of one stage share it: `split:` as values.

/// `split:`; how a stage's ranks share it, by its key `by`.
///
/// Shares are numbers in proportion, from 0 to 2³², not all 0; a document may have up to 6 digits
/// after the point, which become whole numbers: `[0.25, 1.5]` is `[25, 150]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitSpec {
    /// `by: rows`.
    Rows(RowsSpec),
    /// `by: grid`.
    Grid(GridSpec),
    /// `by: channels`.
    Channels(ChannelsSpec),
    /// `by: frames`.
    Frames(FramesSplitSpec),
}

/// `by: rows`: every rank computes some rows (axis 2) of every activation; ranks are listed top to
/// bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsSpec {
    /// `shares:` one for each rank, in proportion; empty: equal ones.
    pub shares: Vec<u64>,
    /// `cuts:` end rows of every rank but the last, for the output of a node, by its name; in the
    /// document's order, each node once. They never fall; rows that do not grow leave a rank with
    /// nothing. Activations without an entry are cut by the shares.
    pub cuts: Vec<(String, Vec<usize>)>,
    /// `zone:` rows of one rank between its neighbours, which then never talk to each other; not
    /// together with `cuts`.
    pub zone: Option<ZoneSpec>,
    /// `exchange:`, `overlap:` and `gather:`.
    pub exchange: ExchangeSpec,
}

/// `by: grid`: every rank computes a box of rows (axis 2) and columns (axis 3); ranks are listed
/// row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridSpec {
    /// `grid: RxC` rows, then columns; their product is the number of ranks.
    pub grid: (usize, usize),
    /// `rows:` shares of the grid's rows, in proportion; empty: equal ones.
    pub rows: Vec<u64>,
    /// `columns:` shares of the grid's columns, in proportion; empty: equal ones.
    pub columns: Vec<u64>,
    /// `exchange:`, `overlap:` and `gather:`.
    pub exchange: ExchangeSpec,
}

/// When ranks that share an image exchange rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// `exchange:` where missing rows come from.
    pub at: Exchange,
    /// `overlap:` whether rows that a neighbour needs are computed and sent first, so that they
    /// travel while the others are computed. Default: false.
    pub overlap: bool,
    /// `gather:` whether nodes that cannot be cut may end the split: the stage's first rank goes
    /// on alone with what it gathers. Default: true; otherwise such a node is refused.
    pub gather: bool,
}

/// `exchange:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// `each`, the default: behind every node.
    Each,
    /// A list of nodes, one or more, each once: only behind these; between them every rank
    /// computes again what it needs of its neighbours' rows.
    Behind(Vec<String>),
}

/// `zone: {rank, rows}`: the host zone of HALP (Li et al., ICC 2022).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// `rank:` the host, which stands between two others in the stage's list of ranks.
    pub rank: usize,
    /// `rows:` how many rows it has of every activation that is cut.
    pub rows: ZoneRows,
}

/// `rows:` of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneRows {
    /// `min`: as few as keep its neighbours apart.
    Min,
    /// So many, of every activation; at least 1.
    Count(usize),
}

/// `by: channels`: every rank computes some channels (axis 1) of every activation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelsSpec {
    /// `shares:` one for each rank, in proportion; empty: equal ones.
    pub shares: Vec<u64>,
    /// `pair:` which nodes are split by input channels.
    pub pair: Pairing,
}

/// `pair:`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// `none`, the default: every node is split by output channels.
    #[default]
    None,
    /// `auto`: by a fixed rule, see the README.
    Auto,
    /// A list of pairs; no node stands in it twice.
    List(Vec<PairSpec>),
}

/// One entry of `pair:`, `[a, b]` or `{nodes: [a, b], reduce: root}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairSpec {
    /// `nodes:` the node that is split by output channels and the one behind it that is split by
    /// input channels; or the latter alone, `{nodes: [b]}`.
    pub nodes: Vec<String>,
    /// `reduce:` how the partial sums become one. Default: scatter.
    pub reduce: ReduceSpec,
}

/// `reduce:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReduceSpec {
    /// The stage's first rank adds them up and goes on with the sum.
    Root,
    /// A ring: afterwards every rank has the whole sum.
    Ring,
    /// Every rank adds up its own channels.
    #[default]
    Scatter,
}

/// `by: frames`: the ranks take whole frames in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FramesSplitSpec {
    /// `shares:` frames of each rank in a cycle, in proportion; whole numbers up to 64; empty:
    /// equal ones.
    pub shares: Vec<u64>,
}

impl Default for ExchangeSpec {
    fn default() -> Self {
        Self {
            at: Exchange::Each,
            overlap: false,
            gather: true,
        }
    }
}

impl SplitSpec {
    /// What `by:` calls it.
    pub fn by(&self) -> &'static str {
        match self {
            SplitSpec::Rows(_) => "rows",
            SplitSpec::Grid(_) => "grid",
            SplitSpec::Channels(_) => "channels",
            SplitSpec::Frames(_) => "frames",
        }
    }
}

impl ReduceSpec {
    /// What `reduce:` calls it.
    pub fn name(self) -> &'static str {
        match self {
            ReduceSpec::Root => "root",
            ReduceSpec::Ring => "ring",
            ReduceSpec::Scatter => "scatter",
        }
    }
}
