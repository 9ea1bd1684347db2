//! Two hosts on this machine with a link of a given rate between them, for as long as a value lives.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::launch::mpirun;

/// Sets the hosts up and removes them.
const SCRIPT: &str = "scripts/netns.sh";
const NET: &str = "10.77.0.0/24";

/// The hosts; dropping it removes them. The script holds them until its stdin ends, which it does
/// however this process ends.
pub struct Net {
    script: PathBuf,
    holder: Child,
}

impl Net {
    /// Two hosts whose link has this rate, as `tc` writes it.
    ///
    /// # Errors
    /// Where they cannot be made: without root, `ip` or `tc`; the script's own line.
    pub fn up(rate: &str) -> Result<Self> {
        let script = std::path::absolute(SCRIPT)?;
        if !Path::new(&script).is_file() {
            bail!("{SCRIPT}: missing: run this from the top of the repository");
        }
        let mut holder = Command::new(&script)
            .args(["hold", rate])
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
        Ok(Self { script, holder })
    }

    /// mpirun with a rank on each host, over TCP.
    pub fn mpirun(&self) -> Command {
        let mut command = mpirun(2);
        let agent = format!("{} agent", self.script.display());
        for (name, value) in [
            ("plm", "rsh"),
            ("plm_rsh_agent", &agent[..]),
            ("pml", "ob1"),
            ("btl", "tcp,self"),
            ("btl_tcp_if_include", NET),
            ("oob_tcp_if_include", NET),
        ] {
            command.args(["--mca", name, value]);
        }
        command.args(["-host", "10.77.0.1,10.77.0.2"]);
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _removed = self.holder.wait();
    }
}
