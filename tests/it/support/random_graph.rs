//! Random graphs from a seed: chains with residual Adds, Concats, branches, several inputs and
//! outputs, and now and then a node that no output needs.

use autodice::graph::{Graph, PoolKind};
use autodice::ids::ActivationId;

use super::graph_builder::{square, GraphBuilder};

/// A small generator of numbers: the same seed gives the same numbers everywhere (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `count` times.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A graph of about `nodes` nodes on small images.
pub fn random_graph(random: &mut Random, nodes: usize) -> Graph {
    let mut builder = GraphBuilder::new("random");
    let side = 4 + random.below(6);
    let shape = [1, 1 + random.below(4), side, side + random.below(3)];
    let mut made: Vec<ActivationId> = vec![builder.input(&shape)];
    let mut read = vec![false];
    if random.once_in(2) {
        made.push(builder.input(&shape));
        read.push(false);
    }
    for _ in 0..nodes {
        // Mostly the newest, so that chains form.
        let newest = made.len() - 1;
        let index = match random.below(4) {
            0 => random.below(made.len()),
            _ => newest,
        };
        let x = made[index];
        let alike: Vec<usize> = (0..made.len())
            .filter(|&other| other != index && builder.shape(made[other]) == builder.shape(x))
            .collect();
        read[index] = true;
        let outputs = match random.below(9) {
            0 | 1 if !alike.is_empty() => {
                let other = alike[random.below(alike.len())];
                read[other] = true;
                match random.once_in(3) {
                    true => vec![builder.concat(&[x, made[other]])],
                    false => vec![builder.add(x, made[other])],
                }
            }
            0..=3 => {
                let (kernel, channels) = ([1, 3, 5][random.below(3)], 1 + random.below(4));
                vec![builder.conv(x, channels, square(kernel, 1, kernel / 2), 1)]
            }
            4 if builder.shape(x)[2] >= 4 => {
                vec![builder.pool(x, PoolKind::Max, square(2, 2, 0))]
            }
            5 => {
                let channels = builder.shape(x)[1];
                vec![builder.conv(x, channels, square(3, 1, 1), channels)]
            }
            6 => vec![builder.normalize(x)],
            7 if builder.shape(x)[1] >= 2 => builder.halves(x),
            _ => vec![builder.relu(x)],
        };
        for output in outputs {
            made.push(output);
            read.push(false);
        }
    }
    let mut outputs: Vec<ActivationId> = Vec::new();
    for (&activation, &read) in made.iter().zip(&read) {
        // Ends of chains are outputs, mostly; now and then so is one that nodes read, or an input.
        let chosen = match read {
            true => random.once_in(12),
            false => !random.once_in(6),
        };
        if chosen {
            outputs.push(activation);
        }
    }
    if outputs.is_empty() {
        outputs.push(made[made.len() - 1]);
    }
    // In any order.
    for i in (1..outputs.len()).rev() {
        outputs.swap(i, random.below(i + 1));
    }
    builder.finish(&outputs)
}

/// A rank for each node: runs of nodes with one owner, or any owner.
pub fn random_owners(random: &mut Random, nodes: usize, ranks: usize) -> Vec<usize> {
    let change = 1 + random.below(6);
    let mut owner = random.below(ranks);
    (0..nodes)
        .map(|_| {
            if random.once_in(change) {
                owner = random.below(ranks);
            }
            owner
        })
        .collect()
}
