//! The wires between hosts: links, and what several of them share.

/// `network:`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// `medium:` what messages compete for. Default: switch.
    pub medium: Medium,
    /// `link:` between any two hosts that `pairs` does not list.
    pub link: Option<Link>,
    /// `local:` between two ranks of one host. Default: no time at all.
    pub local: Option<Link>,
    /// `pairs:` links of their own, the same in both directions.
    pub pairs: Vec<Pair>,
    /// `sites:` groups behind one slow link each.
    pub sites: Vec<Site>,
}

/// What messages compete for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// Each host's port, in and out at once.
    #[default]
    Switch,
    /// One channel for all hosts.
    Radio,
}

/// What a message of n bytes takes alone: `alpha_us + n / mb_per_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// `alpha_us:` from start to arrival of an empty message, in µs.
    pub alpha_us: f64,
    /// `mb_per_s:` 10⁶ bytes a second, that is bytes a µs.
    pub mb_per_s: f64,
}

/// An entry of `pairs:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// `hosts:` two names; that of an entry with `count` stands for all its hosts.
    pub hosts: [String; 2],
    /// `alpha_us`, `mb_per_s` of it alone.
    pub link: Link,
    /// `loaded:` the same while a neighbour's messages load the port: measured, for readers;
    /// what messages share is worked out from `link`.
    pub loaded: Option<Link>,
}

/// An entry of `sites:`: hosts whose messages to hosts outside share one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// `hosts:` names; that of an entry with `count` stands for all its hosts.
    pub hosts: Vec<String>,
    /// `alpha_us`, `mb_per_s` of the shared link, which each direction has of its own.
    pub trunk: Link,
}
