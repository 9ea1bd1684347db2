//! For each stage a table of its nodes: what each rank makes of them.

use super::cells::cell;
use super::stages::{list, words};
use super::table::Table;
use crate::graph::Graph;
use crate::ids::{NodeId, Rank};
use crate::plan::{Made, Makers, Stage};
use crate::spec::Spec;

/// One table for each stage: a column for each rank, or where turns differ one for the turns.
pub fn text(graph: &Graph, spec: &Spec, makers: &Makers, stages: &[Stage]) -> String {
    let mut text = String::new();
    for (index, stage) in stages.iter().enumerate() {
        let split = words(spec.stages[index].split.as_ref());
        text += &format!("#\n# stages[{index}]: {split} on {}\n", list(&stage.ranks));
        let cells: Vec<Cells> = stage
            .nodes
            .iter()
            .map(|&id| Cells::of(graph, makers, &stage.ranks, id))
            .collect();
        let steady = cells.iter().all(|cells| cells.turns.len() == 1);
        text += &match steady {
            true => by_rank(graph, stage, cells),
            false => by_turn(graph, stage, &cells),
        };
    }
    text
}

/// What the ranks of a stage make of one node: a cell for each rank, for each turn until the turns
/// repeat.
struct Cells {
    turns: Vec<Vec<String>>,
}

impl Cells {
    fn of(graph: &Graph, makers: &Makers, ranks: &[Rank], id: NodeId) -> Self {
        let turn = |turn: usize| {
            let of_rank = |&rank: &Rank| {
                let made = makers.of_node(turn, id).iter();
                let made: Vec<&Made> = made.filter(|made| made.rank == rank).collect();
                cell(graph, id, &made)
            };
            ranks.iter().map(of_rank).collect::<Vec<_>>()
        };
        let mut turns: Vec<_> = (0..makers.turns()).map(turn).collect();
        let count = turns.len();
        let repeats = |period: &usize| {
            count % period == 0 && (*period..count).all(|turn| turns[turn] == turns[turn - period])
        };
        let period = (1..=count).find(repeats).unwrap_or(count);
        turns.truncate(period);
        Self { turns }
    }

    /// The ranks turn by turn: `0 1 0`, with what each makes where that is not all of the node.
    fn by_turn(&self, ranks: &[Rank]) -> String {
        let turn = |cells: &Vec<String>| {
            let making = ranks.iter().zip(cells).filter(|(_, cell)| *cell != "-");
            let texts = making.map(|(rank, cell)| match cell.as_str() {
                "all" => rank.to_string(),
                cell => format!("{rank}={}", cell.replace(' ', "_")),
            });
            let texts: Vec<String> = texts.collect();
            match texts.is_empty() {
                true => "-".into(),
                false => texts.join("+"),
            }
        };
        self.turns.iter().map(turn).collect::<Vec<_>>().join(" ")
    }
}

fn by_rank(graph: &Graph, stage: &Stage, cells: Vec<Cells>) -> String {
    let titles: Vec<String> = stage
        .ranks
        .iter()
        .map(|rank| format!("rank {rank}"))
        .collect();
    let mut header = vec!["node", "operator"];
    header.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(2, &header);
    for (&id, mut cells) in stage.nodes.iter().zip(cells) {
        let mut row = names(graph, id);
        row.append(&mut cells.turns[0]);
        table.row(row);
    }
    table.print_narrow()
}

fn by_turn(graph: &Graph, stage: &Stage, cells: &[Cells]) -> String {
    let mut table = Table::new(3, &["node", "operator", "rank, turn by turn"]);
    for (&id, cells) in stage.nodes.iter().zip(cells) {
        let mut row = names(graph, id);
        row.push(cells.by_turn(&stage.ranks));
        table.row(row);
    }
    table.print()
}

fn names(graph: &Graph, id: NodeId) -> Vec<String> {
    let node = graph.node(id);
    vec![node.name.clone(), node.op_type.clone()]
}
