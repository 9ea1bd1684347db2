//! Specs by hand, for tests that need no document.

use autodice::spec::{
    ChannelsSpec, Exchange, ExchangeSpec, FramesSplitSpec, GridSpec, PairSpec, Pairing, ReduceSpec,
    RowsSpec, RunSpec, Spec, SplitSpec, StageNodes, StageSpec, ZoneRows, ZoneSpec,
};

pub fn spec(stages: Vec<StageSpec>) -> Spec {
    Spec {
        model: "model.onnx".into(),
        shapes: vec![],
        input: None,
        labels: None,
        ranks: vec![],
        stages,
        run: RunSpec::default(),
    }
}

/// Every node up to `until` not yet taken, or the rest.
pub fn stage(until: Option<&str>, ranks: &[usize], split: SplitSpec) -> StageSpec {
    StageSpec {
        split: Some(split),
        ..alone(until, ranks)
    }
}

/// A stage without a split.
pub fn alone(until: Option<&str>, ranks: &[usize]) -> StageSpec {
    StageSpec {
        nodes: until.map_or(StageNodes::Rest, |name| StageNodes::Until(name.into())),
        ranks: ranks.to_vec(),
        split: None,
    }
}

pub fn behind(names: &[&str]) -> Exchange {
    Exchange::Behind(names.iter().map(|name| name.to_string()).collect())
}

pub fn rows(shares: &[u64], at: Exchange, overlap: bool) -> SplitSpec {
    SplitSpec::Rows(RowsSpec {
        shares: shares.to_vec(),
        exchange: exchange(at, overlap),
        ..RowsSpec::default()
    })
}

/// Rows in equal shares, but these end rows for some nodes.
pub fn cuts(cuts: &[(&str, &[usize])]) -> SplitSpec {
    let own = |(name, ends): &(&str, &[usize])| (name.to_string(), ends.to_vec());
    SplitSpec::Rows(RowsSpec {
        cuts: cuts.iter().map(own).collect(),
        ..RowsSpec::default()
    })
}

pub fn exchange(at: Exchange, overlap: bool) -> ExchangeSpec {
    ExchangeSpec {
        at,
        overlap,
        gather: true,
    }
}

pub fn zone(rank: usize, rows: ZoneRows) -> SplitSpec {
    SplitSpec::Rows(RowsSpec {
        zone: Some(ZoneSpec { rank, rows }),
        ..RowsSpec::default()
    })
}

pub fn grid(grid: (usize, usize), at: Exchange, overlap: bool) -> SplitSpec {
    SplitSpec::Grid(GridSpec {
        grid,
        rows: vec![],
        columns: vec![],
        exchange: exchange(at, overlap),
    })
}

pub fn channels(pair: Pairing) -> SplitSpec {
    let shares = vec![];
    SplitSpec::Channels(ChannelsSpec { shares, pair })
}

pub fn pair(nodes: &[&str], reduce: ReduceSpec) -> PairSpec {
    let nodes = nodes.iter().map(|node| node.to_string()).collect();
    PairSpec { nodes, reduce }
}

pub fn frames(shares: &[u64]) -> SplitSpec {
    let shares = shares.to_vec();
    SplitSpec::Frames(FramesSplitSpec { shares })
}
