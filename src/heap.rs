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

use std::ffi::{OsStr, OsString};

/// What glibc reads.
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const TUNABLES: &str = "GLIBC_TUNABLES";
/// No caches per thread.
const SETTINGS: [(&str, &str); 1] = [("glibc.malloc.tcache_count", "0")];
/// Bytes from which a block is a mapping of its own, while weights are loaded and while frames run:
/// the latter is the most that glibc takes.
const LOADING_MAPPED: i32 = 64 << 10;
const FRAMES_MAPPED: i32 = 32 << 20;
/// Bytes that a heap keeps at its end while frames run.
const FRAMES_KEPT: i32 = 64 << 20;
/// Set by the first start for the second, which must be the last one also where the system takes
/// the other variable away (it does from programs with more rights than their user).
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
const AGAIN: &str = "AUTODICE_STARTED_AGAIN";

/// Starts this program again with the same arguments and the settings, where some lack. Returns in
/// the second start, where the user has set them all, where there is no glibc, and where the system
/// refuses: then only memory and some time are lost. To be called before MPI starts and before
/// there are threads.
pub fn with_own_settings() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;

        let again = std::env::var_os(AGAIN).is_some();
        if again {
            log::debug!("started again, for the heap's settings");
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

/// From here on blocks of some size leave the process when they are freed.
pub fn for_loading() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(libc::M_MMAP_THRESHOLD, "mmap_threshold", LOADING_MAPPED);
}

/// From here on freed blocks stay, for the next ones of their size.
pub fn for_frames() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        set(libc::M_MMAP_THRESHOLD, "mmap_threshold", FRAMES_MAPPED);
        set(libc::M_TRIM_THRESHOLD, "trim_threshold", FRAMES_KEPT);
    }
}

/// Sets one of glibc's parameters, unless the user has.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: libc::c_int, name: &str, value: i32) {
    let given = std::env::var_os(TUNABLES).unwrap_or_default();
    if given.to_string_lossy().contains(name) {
        return;
    }
    // SAFETY: two numbers; glibc takes its own locks, and refuses values that it does not know.
    let taken = unsafe { libc::mallopt(parameter, value) };
    if taken == 0 {
        log::debug!("the heap's {name} stays as it is");
    }
}

/// The settings as `GLIBC_TUNABLES` takes them, for programs that measure ranks without being one.
pub fn heap_settings() -> String {
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    settings.join(":")
}

/// The variable's new value, where the program is to start again: what the user set stays.
#[cfg(any(test, all(target_os = "linux", target_env = "gnu")))]
fn wanted(tunables: Option<&OsStr>, again: bool) -> Option<OsString> {
    let given = tunables.unwrap_or_default();
    let text = given.to_string_lossy();
    let lacks = |(name, _): &&(&str, &str)| !text.contains(name);
    let missing: Vec<_> = SETTINGS.iter().filter(lacks).collect();
    if again || missing.is_empty() {
        return None;
    }
    let mut tunables = given.to_os_string();
    for (name, value) in missing {
        if !tunables.is_empty() {
            tunables.push(":");
        }
        tunables.push(format!("{name}={value}"));
    }
    Some(tunables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_join_what_is_there() {
        let wanted = |given: Option<&str>| wanted(given.map(OsStr::new), false);
        let own = heap_settings();
        assert_eq!(wanted(None), Some(own.clone().into()));
        assert_eq!(wanted(Some("")), Some(own.clone().into()));
        let other = "glibc.rtld.optional_static_tls=16384";
        assert_eq!(wanted(Some(other)), Some(format!("{other}:{own}").into()));
        assert!(own.contains("tcache_count=0"));
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
