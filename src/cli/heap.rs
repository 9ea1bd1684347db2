//! The heap that ranks run with: glibc's, without its caches per thread.
//!
//! Activations are aligned to 64 bytes, and glibc (seen with 2.36) makes room for that by cutting
//! some tens of bytes off both sides of a block that is a little larger. Where it caches these
//! for the thread they are not joined with the block again when it is freed: the hole is just too
//! small for the next activation of the same size, and the heap grows to a multiple of what is
//! in use. glibc reads this setting before `main` alone, from the environment, so that the
//! program starts itself again, once, as the same process.

use std::ffi::{OsStr, OsString};

/// What glibc reads.
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const TUNABLES: &str = "GLIBC_TUNABLES";
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const CACHES: &str = "glibc.malloc.tcache_count";
/// Set by the first start for the second, which must be the last one also where the system takes
/// the other variable away (it does from programs with more rights than their user).
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const AGAIN: &str = "AUTODICE_STARTED_AGAIN";

/// Starts this program again with the same arguments and the setting, where it lacks. Returns in
/// the second start, where the user has set it (`GLIBC_TUNABLES=glibc.malloc.tcache_count=7` is
/// glibc's own number), where there is no glibc, and where the system refuses: then it is only
/// memory that is lost. To be called before MPI starts and before there are threads.
pub fn without_caches() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let again = std::env::var_os(AGAIN).is_some();
        if again {
            log::debug!("started again, for a heap without caches");
        }
        let Some(tunables) = wanted(std::env::var_os(TUNABLES).as_deref(), again) else {
            return;
        };
        // The file itself, not `/proc/self/exe`: that would be the process's name.
        let Ok(own) = std::env::current_exe() else {
            return;
        };
        let mut arguments = std::env::args_os();
        let mut program = std::process::Command::new(&own);
        program.arg0(arguments.next().unwrap_or(own.into_os_string()));
        program.args(arguments);
        let error = program.env(TUNABLES, tunables).env(AGAIN, "1").exec();
        log::debug!("the heap stays as it is: {error}");
    }
}

/// The variable's new value, where the program is to start again.
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
fn wanted(tunables: Option<&OsStr>, again: bool) -> Option<OsString> {
    let given = tunables.unwrap_or_default();
    if again || given.to_string_lossy().contains(CACHES) {
        return None;
    }
    let mut tunables = given.to_os_string();
    if !given.is_empty() {
        tunables.push(":");
    }
    tunables.push(CACHES);
    tunables.push("=0");
    Some(tunables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_joins_what_is_there() {
        let wanted = |given: Option<&str>| wanted(given.map(OsStr::new), false);
        let own = Some("glibc.malloc.tcache_count=0".into());
        assert_eq!(wanted(None), own);
        assert_eq!(wanted(Some("")), own);
        let other = "glibc.rtld.optional_static_tls=16384";
        let both = format!("{other}:glibc.malloc.tcache_count=0");
        assert_eq!(wanted(Some(other)), Some(both.into()));
    }

    #[test]
    fn what_the_user_set_stays_and_nothing_starts_twice() {
        let set = Some(OsStr::new("glibc.malloc.tcache_count=7"));
        assert_eq!(wanted(set, false), None);
        assert_eq!(wanted(set, true), None);
        assert_eq!(wanted(None, true), None);
    }
}
