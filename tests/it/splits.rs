//! Splits inside a stage against the uncut model: by hand, at random, over all small cuts, with
//! faults planted, and with the numbers that the literature has.

mod exhaustive;
mod kinds;
mod oracles;
mod order;
mod random;
mod real;
mod refusals;
mod standard;
mod vectors;
