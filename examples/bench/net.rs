//! The edge lab (`scripts/lab.sh`) for as long as a value lives.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::lab::Sample;
use crate::launch::{mpirun, run_workers, timed};

/// Sets the hosts up and removes them.
const SCRIPT: &str = "scripts/lab.sh";

/// The hosts; dropping it removes them. The script holds them until its stdin ends, which it does
/// however this process ends.
pub struct Net {
    script: PathBuf,
    holder: Child,
}

impl Net {
    /// The hosts of `labs/NAME.lab`, then changed: host and what `set` takes, e.g.
    /// `("e1", "rate=100mbit")`.
    ///
    /// # Errors
    /// Where they cannot be made: without root, `ip` or `tc`; the script's own line.
    pub fn up(name: &str, changes: &[(&str, &str)]) -> Result<Self> {
        let script = std::path::absolute(SCRIPT)?;
        if !Path::new(&script).is_file() {
            bail!("{SCRIPT}: missing: run this from the top of the repository");
        }
        let mut holder = Command::new(&script)
            .args(["hold", &format!("labs/{name}.lab")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(SCRIPT)?;
        let mut said = String::new();
        let stdout = holder.stdout.take().context(SCRIPT)?;
        BufReader::new(stdout).read_line(&mut said)?;
        if said.trim() != "ready" {
            let mut why = String::new();
            if let Some(mut stderr) = holder.stderr.take() {
                stderr.read_to_string(&mut why)?;
            }
            let _ended = holder.wait();
            bail!("{}", why.trim().lines().last().unwrap_or("no word of why"));
        }
        let net = Self { script, holder };
        for (host, change) in changes {
            timed(Command::new(&net.script).args(["set", host, change]))?;
        }
        Ok(net)
    }

    /// Which core a host is on.
    ///
    /// # Errors
    /// Where there is no such host.
    pub fn core_of(&self, host: &str) -> Result<usize> {
        let file = format!("/sys/class/net/autodice-{host}/ifalias");
        let said = std::fs::read_to_string(&file).context(file.clone())?;
        let core = said.trim().rsplit(' ').next().unwrap_or_default();
        core.parse().context(file)
    }

    /// mpirun with a rank on each of the first two hosts, over TCP.
    ///
    /// # Errors
    /// Where the lab is gone.
    pub fn mpirun(&self) -> Result<Command> {
        self.mpirun_of(2)
    }

    /// mpirun with a rank on each of the first so many hosts, over TCP.
    ///
    /// # Errors
    /// Where the lab is gone.
    pub fn mpirun_of(&self, ranks: usize) -> Result<Command> {
        let (flags, _) = timed(Command::new(&self.script).arg("flags"))?;
        let mut command = mpirun(ranks);
        command.args(flags.lines());
        Ok(command)
    }
}

/// The samples of a job of two ranks over the changed hosts of a lab, and what it said; none, and
/// why, where the lab cannot be had.
///
/// # Errors
/// Where the job fails.
pub fn measured(
    lab: &str,
    changes: &[(&str, &str)],
    name: &str,
    arguments: &[String],
) -> Result<(Vec<Sample>, Vec<String>)> {
    match Net::up(lab, changes) {
        Ok(net) => run_workers(net.mpirun()?, arguments),
        Err(why) => Ok((vec![], vec![format!("{name}: not measured: {why:#}")])),
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _removed = self.holder.wait();
    }
}
