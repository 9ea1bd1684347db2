//! The heap that ranks run with: glibc's, without its caches per thread, lean while weights are
//! loaded and slow to give memory back while frames run.
//!
//! Activations are aligned to 64 bytes, and glibc (seen with 2.36) makes room for that by cutting
//! some tens of bytes off both sides of a block that is a little larger. Where it caches these
//! for the thread they are not joined with the block again when it is freed: the hole is just too
//! small for the next activation of the same size, and the heap grows to a multiple of what is
//! in use. glibc reads the setting against that before `main` alone, from the environment, so that
//! the program starts itself again, once, as the same process.
//!
//! While weights are loaded every larger block is a mapping of its own, which is gone when it is
//! freed: raw weights leave no holes behind that nothing later fills. While frames run the same
//! activations are freed and made again all the time: there blocks stay with the heap, because new
//! pages for every frame would be several percent of a Run.

#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::process::CommandExt;

    /// What glibc reads before `main`.
    const TUNABLES: &str = "GLIBC_TUNABLES";
    /// No caches per thread.
    const SETTING: &str = "glibc.malloc.tcache_count";
    /// Set by the first start for the second, which must be the last one also where the system
    /// takes the other variable away (it does from programs with more rights than their user).
    const AGAIN: &str = "AUTODICE_STARTED_AGAIN";
    /// Bytes from which a block is a mapping of its own, while weights are loaded and while frames
    /// run: the latter is the most that glibc takes.
    const LOADING_MAPPED: i32 = 64 << 10;
    const FRAMES_MAPPED: i32 = if cfg!(target_pointer_width = "32") {
        512 << 10
    } else {
        32 << 20
    };
    /// Bytes that a heap keeps at its end while frames run.
    const FRAMES_KEPT: i32 = 64 << 20;

    /// Starts this program again with the same arguments and the setting. Returns in the second
    /// start, where the user has set it, where there is no glibc, and where the system refuses:
    /// then only memory and some time are lost. To be called before MPI starts and before there
    /// are threads.
    pub fn with_own_setting() {
        let again = std::env::var_os(AGAIN).is_some();
        if again {
            log::debug!("started again, for the heap's setting");
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

    /// The setting as a variable and its value, for programs that start ranks of their own.
    pub fn own_setting() -> Option<(&'static str, String)> {
        Some((TUNABLES, format!("{SETTING}=0")))
    }

    /// From here on blocks of some size leave the process when they are freed.
    pub fn for_loading() {
        set(libc::M_MMAP_THRESHOLD, "MMAP_THRESHOLD", LOADING_MAPPED);
    }

    /// From here on freed blocks stay, for the next ones of their size.
    pub fn for_frames() {
        set(libc::M_MMAP_THRESHOLD, "MMAP_THRESHOLD", FRAMES_MAPPED);
        set(libc::M_TRIM_THRESHOLD, "TRIM_THRESHOLD", FRAMES_KEPT);
    }

    /// Sets one of glibc's parameters, unless the user has by either of its variables.
    fn set(parameter: libc::c_int, name: &str, value: i32) {
        let tunables = std::env::var_os(TUNABLES).unwrap_or_default();
        let own = std::env::var_os(format!("MALLOC_{name}_"));
        if own.is_some() || tunables.to_string_lossy().contains(&name.to_lowercase()) {
            return;
        }
        // SAFETY: two numbers; glibc takes its own locks, and refuses values it does not know.
        let taken = unsafe { libc::mallopt(parameter, value) };
        if taken == 0 {
            log::debug!("the heap's {name} stays as it is");
        }
    }

    /// The variable's new value, where the program is to start again: what the user set stays.
    fn wanted(tunables: Option<&OsStr>, again: bool) -> Option<OsString> {
        let given = tunables.unwrap_or_default();
        if again || given.to_string_lossy().contains(SETTING) {
            return None;
        }
        let mut tunables = given.to_os_string();
        if !tunables.is_empty() {
            tunables.push(":");
        }
        tunables.push(format!("{SETTING}=0"));
        Some(tunables)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_setting_joins_what_is_there() {
            let wanted = |given: Option<&str>| wanted(given.map(OsStr::new), false);
            let own = "glibc.malloc.tcache_count=0";
            assert_eq!(wanted(None), Some(own.into()));
            assert_eq!(wanted(Some("")), Some(own.into()));
            let other = "glibc.rtld.optional_static_tls=16384";
            assert_eq!(wanted(Some(other)), Some(format!("{other}:{own}").into()));
        }

        #[test]
        fn what_the_user_set_stays_and_nothing_starts_twice() {
            let set = OsStr::new("glibc.malloc.tcache_count=7");
            assert_eq!(wanted(Some(set), false), None, "the user's stays");
            let other = OsStr::new("glibc.malloc.arena_max=1");
            assert!(wanted(Some(other), false).is_some());
            assert_eq!(wanted(Some(other), true), None);
            assert_eq!(wanted(None, true), None);
        }
    }
}

/// Other C libraries keep their ways.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod glibc {
    /// Nothing to start again for.
    pub fn with_own_setting() {}

    /// None.
    pub fn own_setting() -> Option<(&'static str, String)> {
        None
    }

    /// Nothing.
    pub fn for_loading() {}

    /// Nothing.
    pub fn for_frames() {}
}

pub use glibc::{for_frames, for_loading, own_setting, with_own_setting};
