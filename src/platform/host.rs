//! One kind of host: what its ranks compute with, how fast, and what that takes.

/// An entry of `hosts:`. What is not said is taken from the entry that `like` names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// `name:` as host files and MPI name it.
    pub name: String,
    /// `like:` the entry that everything else is taken from.
    pub like: Option<String>,
    /// `count:` so many hosts, named `name-0` …; 0 for a kind that is only there to be `like`.
    /// Never taken from another entry. Without it, one host of the name itself.
    pub count: Option<usize>,
    /// `slots:` how many ranks it runs; the tables were measured with all of them busy.
    /// Default: 1.
    pub slots: Option<usize>,
    /// `threads:` compute threads of one rank. Default: 1.
    pub threads: Option<usize>,
    /// `quota:` CPU time that its ranks may use together. Default: no limit.
    pub quota: Option<Quota>,
    /// `core:` a name for the core that it computes on, where other hosts do so too (containers,
    /// lab hosts) and have a quota: their Runs take turns. Never taken from another entry.
    /// Default: a core of its own.
    pub core: Option<String>,
    /// `memory_mib:` memory that its ranks may use together, in MiB. Default: no limit.
    pub memory_mib: Option<u64>,
    /// `watts:` power.
    pub watts: Watts,
    /// `speed:` what a rank does where no table says more.
    pub speed: Speed,
    /// `times:` measured nodes.
    pub times: Vec<Timing>,
}

/// `quota:` of a host that may compute for a part of the time only (a container, a lab host). All
/// times of such a host are CPU time: what things take while it is not held up, were it held up by
/// its quota alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quota {
    /// `cores:` CPU time for each time that passes.
    pub cores: f64,
    /// `burst_us:` CPU time that it may use at once after a rest, in µs.
    pub burst_us: f64,
}

/// `watts:` what the whole host takes. Joules are counted where all three are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Watts {
    /// `idle:` while it waits, in W.
    pub idle: Option<f64>,
    /// `compute:` while a rank of it computes, in W.
    pub compute: Option<f64>,
    /// `transmit:` while a message leaves or reaches it and nothing computes, in W.
    pub transmit: Option<f64>,
}

/// A look at messages, as measured on an AMD EPYC of 2023 beside nothing and beside a Run, in µs of
/// CPU.
pub const LOOK_US: f64 = 20.0;
/// See [`LOOK_US`].
pub const LOOK_BESIDE_US: f64 = 17.0;

/// How much of a message is short, in bytes: messages of this length were seen to take 1.3 to 2.6
/// times as much from a Run beside them as longer ones, for their length.
pub const SHORT_BYTES: u64 = 128_000;

/// A wait from which on nothing behind it gets slower, in µs.
pub const LONG_WAIT_US: f64 = 2000.0;
/// How much of the compute thread's time behind it is slow, in µs of CPU.
pub const WAKING_US: f64 = 1000.0;

/// `speed:` of one rank, with the host's other ranks busy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// `gmac_per_s:` 10⁹ multiply-accumulates a second, for nodes that no table knows.
    pub gmac_per_s: Option<f64>,
    /// `gb_per_s:` 10⁹ bytes read and written a second, for nodes without any and for copies.
    pub gb_per_s: Option<f64>,
    /// `run_us:` each Run of a piece besides its nodes, in µs. Default: 0.
    pub run_us: Option<f64>,
    /// `message_us:` CPU time that a message takes at either end, in µs. Default: 0.
    pub message_us: Option<f64>,
    /// `message_us_per_mb:` and for each 10⁶ bytes of it, in µs. Default: 0.
    pub message_us_per_mb: Option<f64>,
    /// `look_us:` CPU time of a look at messages while nothing else is to do, nearly all of it the
    /// way to sleep and back, in µs. Default: [`LOOK_US`].
    pub look_us: Option<f64>,
    /// `look_beside_us:` and beside a Run, in µs. Default: [`LOOK_BESIDE_US`].
    pub look_beside_us: Option<f64>,
    /// `wake_us:` CPU time that the compute thread's first step behind a wait of [`LONG_WAIT_US`]
    /// takes longer, in µs; in proportion behind a shorter one. Default: 0.
    pub wake_us: Option<f64>,
    /// `wake_us_per_ms:` and the first [`WAKING_US`] of steps behind it, in µs. Default: 0.
    pub wake_us_per_ms: Option<f64>,
    /// `beside_short_us_per_mb:` likewise, of the first [`SHORT_BYTES`] of each message. Default:
    /// `beside_us_per_mb`.
    pub beside_short_us_per_mb: Option<f64>,
    /// `beside_us_per_mb:` CPU time that a Run loses to 10⁶ bytes of messages that move beside it,
    /// to interrupts and to looks at them, in µs. Default: 0.
    pub beside_us_per_mb: Option<f64>,
}

/// An entry of `times:`, one for each different work ([`crate::graph::work`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    /// `work:` operator, attributes that matter and shapes.
    pub work: String,
    /// `node:` one node with this work, for readers.
    pub node: String,
    /// `us:` the whole node with what is fused behind it, in µs.
    pub us: f64,
    /// `rows:` by rows of its output that are made at once.
    pub rows: Table,
    /// `channels:` by channels of its output.
    pub channels: Table,
    /// `terms:` by channels of its input, where its sum is shared.
    pub terms: Table,
}

/// Times by how much of something is made at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(usize, f64)>);

impl Table {
    /// The time in µs for `count` of `whole`, which takes `us`: on a straight line between the
    /// two neighbours. Below the first entry that line goes on, since kernels work in blocks, but
    /// no lower than in proportion to the first one's count, and no higher than its time; nothing
    /// is ever said beyond the whole. Without any entry the time is proportional.
    ///
    /// ```
    /// use autodice::platform::Table;
    /// let table = Table(vec![(8, 90.0), (24, 130.0)]);
    /// assert_eq!(table.at(16, 56, 210.0), 110.0);
    /// assert_eq!((table.at(40, 56, 210.0), table.at(4, 56, 210.0)), (170.0, 80.0));
    /// ```
    pub fn at(&self, count: usize, whole: usize, us: f64) -> f64 {
        if count >= whole {
            return us;
        }
        let entries = self.0.iter().filter(|entry| entry.0 < whole);
        let entries: Vec<_> = entries.copied().chain([(whole, us)]).collect();
        let above = entries.partition_point(|entry| entry.0 < count);
        let line = |(m, before): (usize, f64), (n, time): (usize, f64)| {
            before + (time - before) * (count as f64 - m as f64) / (n - m) as f64
        };
        match entries[..] {
            [(n, time)] => time * count as f64 / n as f64,
            [first, second, ..] if above == 0 => {
                let (n, time) = first;
                line(first, second)
                    .max(time * count as f64 / n as f64)
                    .min(time)
            }
            _ => line(entries[above - 1], entries[above]),
        }
    }
}

impl Host {
    /// This entry over what `kind`, which it is like, says.
    pub(super) fn over(self, kind: &Host) -> Host {
        let (w, s, of) = (self.watts, self.speed, kind);
        Host {
            slots: self.slots.or(of.slots),
            threads: self.threads.or(of.threads),
            quota: self.quota.or(of.quota),
            memory_mib: self.memory_mib.or(of.memory_mib),
            watts: Watts {
                idle: w.idle.or(of.watts.idle),
                compute: w.compute.or(of.watts.compute),
                transmit: w.transmit.or(of.watts.transmit),
            },
            speed: Speed {
                gmac_per_s: s.gmac_per_s.or(of.speed.gmac_per_s),
                gb_per_s: s.gb_per_s.or(of.speed.gb_per_s),
                run_us: s.run_us.or(of.speed.run_us),
                message_us: s.message_us.or(of.speed.message_us),
                message_us_per_mb: s.message_us_per_mb.or(of.speed.message_us_per_mb),
                look_us: s.look_us.or(of.speed.look_us),
                look_beside_us: s.look_beside_us.or(of.speed.look_beside_us),
                wake_us: s.wake_us.or(of.speed.wake_us),
                wake_us_per_ms: s.wake_us_per_ms.or(of.speed.wake_us_per_ms),
                beside_short_us_per_mb: s
                    .beside_short_us_per_mb
                    .or(of.speed.beside_short_us_per_mb),
                beside_us_per_mb: s.beside_us_per_mb.or(of.speed.beside_us_per_mb),
            },
            times: match self.times.is_empty() {
                true => of.times.clone(),
                false => self.times,
            },
            ..self
        }
    }
}
