//! MPI's own calls as Rust calls: counts, codes and strings become Rust's, and nothing more.
//!
//! For `World` alone, which calls `start` first and `finalize` last, and hands in communicators and
//! requests that it had from here: what the SAFETY lines below rest on.

use std::ffi::{c_char, c_int};

use anyhow::{bail, Context, Result};
use mpi::ffi;

use crate::ids::Rank;

pub type Communicator = ffi::MPI_Comm;
pub type Request = ffi::MPI_Request;
pub type Status = ffi::MPI_Status;
/// What MPI says of a call that failed.
pub type Code = c_int;

/// The rank at the other end, and which of the messages between the two.
#[derive(Clone, Copy)]
pub struct Address {
    pub communicator: Communicator,
    pub rank: Rank,
    pub tag: u32,
}

/// When a send is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// Its bytes may be written to again: they may lie in memory of MPI's on either side.
    WhenFree,
    /// Its receive has started, too.
    WhenReceived,
}

const SUCCESS: c_int = ffi::MPI_SUCCESS as c_int;
const IN_STATUS: c_int = ffi::MPI_ERR_IN_STATUS as c_int;

/// Over TCP, a message above these, with MPI's own header, does not move until its receiver has
/// answered and the sender calls MPI again.
const LIMIT: usize = 1 << 20;
/// Bytes of the longest message that moves at once.
pub const EAGER: usize = LIMIT - (1 << 10);
const RAISED: [&str; 2] = [
    "OMPI_MCA_btl_tcp_eager_limit",
    "OMPI_MCA_btl_tcp_rndv_eager_limit",
];

/// `MPI_Init_thread`, with Open MPI's limits raised where the user has not set them: this rank
/// and how many there are.
pub fn start() -> Result<(Rank, usize)> {
    let mut initialised = 0;
    // SAFETY: MPI allows this call at any time; the pointer is to a live int.
    check(unsafe { ffi::MPI_Initialized(&mut initialised) }).context("MPI_Initialized")?;
    if initialised != 0 {
        bail!("MPI was started before in this process: a process is one rank, once");
    }
    for name in RAISED {
        if std::env::var_os(name).is_none() {
            std::env::set_var(name, LIMIT.to_string());
        }
    }
    let mut level = 0;
    let none = std::ptr::null_mut();
    // SAFETY: the first call to MPI_Init in this process; null stands for no arguments.
    let code = unsafe { ffi::MPI_Init_thread(none, none.cast(), funneled(), &mut level) };
    check(code).context("MPI_Init_thread")?;
    if level < funneled() {
        finalize();
        bail!("this MPI library cannot be used by a program that has threads");
    }
    let (mut rank, mut size) = (0, 0);
    // SAFETY: MPI is initialised; the pointers are to live ints.
    unsafe {
        check(ffi::MPI_Comm_rank(ffi::RSMPI_COMM_WORLD, &mut rank)).context("MPI_Comm_rank")?;
        check(ffi::MPI_Comm_size(ffi::RSMPI_COMM_WORLD, &mut size)).context("MPI_Comm_size")?;
    }
    let rank = Rank(u32::try_from(rank).context("MPI_Comm_rank")?);
    Ok((rank, usize::try_from(size).context("MPI_Comm_size")?))
}

/// Communicators of all ranks on which messages never meet, and on which errors are returned.
pub fn communicators<const N: usize>() -> Result<[Communicator; N]> {
    // SAFETY: MPI is initialised; this reads a constant of the library.
    let mut all = [unsafe { ffi::RSMPI_COMM_NULL }; N];
    for communicator in &mut all {
        // SAFETY: MPI is initialised, and every rank makes the same calls in the same order.
        unsafe {
            check(ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, communicator))
                .context("MPI_Comm_dup")?;
            let returned = ffi::RSMPI_ERRORS_RETURN;
            check(ffi::MPI_Comm_set_errhandler(*communicator, returned))
                .context("MPI_Comm_set_errhandler")?;
        }
    }
    Ok(all)
}

/// The name of this rank's host, as MPI knows it.
pub fn host() -> String {
    // SAFETY: MPI is initialised; `text` hands in at least MPI_MAX_PROCESSOR_NAME bytes.
    text(|name, length| unsafe { ffi::MPI_Get_processor_name(name, length) })
}

/// Name and version of the MPI library.
pub fn version() -> String {
    // SAFETY: `text` hands in at least MPI_MAX_LIBRARY_VERSION_STRING bytes.
    let all = text(|name, length| unsafe { ffi::MPI_Get_library_version(name, length) });
    let first = all.lines().next().unwrap_or_default();
    first.split(',').next().unwrap_or_default().to_owned()
}

/// Starts sending bytes.
///
/// # Safety
/// They stay readable and unchanged until the request completes.
pub unsafe fn start_send(bytes: &[u8], to: Address, complete: Complete) -> Result<Request, Code> {
    let (rank, tag, comm) = (int(to.rank.index()), int(to.tag as usize), to.communicator);
    let (from, count) = (bytes.as_ptr().cast(), int(bytes.len()));
    let mut request = null_request();
    // SAFETY: by this function's contract.
    succeeded(unsafe {
        let request = &mut request;
        match complete {
            Complete::WhenFree => ffi::MPI_Isend(from, count, byte(), rank, tag, comm, request),
            Complete::WhenReceived => {
                ffi::MPI_Issend(from, count, byte(), rank, tag, comm, request)
            }
        }
    })?;
    Ok(request)
}

/// Starts receiving up to `count` bytes.
///
/// # Safety
/// They stay valid, and untouched by anyone else, until the request completes.
pub unsafe fn start_receive(into: *mut u8, count: usize, from: Address) -> Result<Request, Code> {
    let (rank, tag) = (int(from.rank.index()), int(from.tag as usize));
    let (into, count, comm) = (into.cast(), int(count), from.communicator);
    let mut request = null_request();
    // SAFETY: by this function's contract.
    succeeded(unsafe { ffi::MPI_Irecv(into, count, byte(), rank, tag, comm, &mut request) })?;
    Ok(request)
}

/// Where MPI writes which requests have completed, and how.
#[derive(Default)]
pub struct Completed {
    indices: Vec<c_int>,
    statuses: Vec<Status>,
}

/// One request that has completed: its index, and its status or why it failed.
pub type Done = (usize, Result<Status, Code>);

impl Completed {
    /// Asks MPI which of the requests have completed. They are null afterwards.
    ///
    /// # Errors
    /// MPI's code, where it says of none how it went.
    pub fn look(&mut self, requests: &mut [Request]) -> Result<Vec<Done>, Code> {
        let room = requests.len().max(self.indices.len());
        self.indices.resize(room, 0);
        // SAFETY: a status is plain numbers, for which zeros are valid.
        let blank: Status = unsafe { std::mem::zeroed() };
        self.statuses.resize(room, blank);
        let mut done: c_int = 0;
        // SAFETY: the three arrays hold at least as many items as there are live requests.
        let code = unsafe {
            ffi::MPI_Testsome(
                int(requests.len()),
                requests.as_mut_ptr(),
                &mut done,
                self.indices.as_mut_ptr(),
                self.statuses.as_mut_ptr(),
            )
        };
        if code != SUCCESS && code != IN_STATUS {
            return Err(code);
        }
        // Negative (MPI_UNDEFINED) where no request is active.
        let done = usize::try_from(done).unwrap_or(0);
        let both = self.indices.iter().zip(&self.statuses).take(done);
        let how = |(&index, status): (&c_int, &Status)| {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            // MPI writes the error field only where some request failed.
            let failed = code == IN_STATUS && status.MPI_ERROR != SUCCESS;
            let how = if failed {
                Err(status.MPI_ERROR)
            } else {
                Ok(*status)
            };
            (index, how)
        };
        Ok(both.map(how).collect())
    }
}

/// Bytes of a receive that has completed with this status.
pub fn received(status: &Status) -> usize {
    let mut count = 0;
    // SAFETY: a status that MPI wrote, and a live int.
    unsafe { ffi::MPI_Get_count(status, byte(), &mut count) };
    usize::try_from(count).unwrap_or(0)
}

/// Whether one request, or the null that MPI leaves, is complete.
///
/// # Errors
/// MPI's code.
pub fn is_complete(request: &mut Request) -> Result<bool, Code> {
    let mut done = 0;
    // SAFETY: a live request, or null.
    succeeded(unsafe { ffi::MPI_Test(request, &mut done, no_status()) })?;
    Ok(done != 0)
}

/// Takes a receive back. It still has to complete.
pub fn cancel(request: &mut Request) {
    // SAFETY: a live request.
    unsafe { ffi::MPI_Cancel(request) };
}

/// Lets MPI move messages on.
pub fn progress(communicator: Communicator) {
    let mut found = 0;
    // SAFETY: looks for a message without taking it; the pointer is to a live int.
    unsafe {
        let (source, tag) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG);
        ffi::MPI_Iprobe(source, tag, communicator, &mut found, no_status());
    }
}

/// Sends bytes and waits until they may be written to again.
///
/// # Errors
/// MPI's code.
pub fn send(bytes: &[u8], to: Address) -> Result<(), Code> {
    let (rank, tag, comm) = (int(to.rank.index()), int(to.tag as usize), to.communicator);
    let (from, count) = (bytes.as_ptr().cast(), int(bytes.len()));
    // SAFETY: blocking; the bytes outlive the call.
    succeeded(unsafe { ffi::MPI_Send(from, count, byte(), rank, tag, comm) })
}

/// Waits for bytes.
///
/// # Errors
/// MPI's code.
pub fn receive(bytes: &mut [u8], from: Address) -> Result<(), Code> {
    let (rank, tag) = (int(from.rank.index()), int(from.tag as usize));
    let (comm, count) = (from.communicator, int(bytes.len()));
    let (into, status) = (bytes.as_mut_ptr().cast(), no_status());
    // SAFETY: blocking; the bytes outlive the call.
    succeeded(unsafe { ffi::MPI_Recv(into, count, byte(), rank, tag, comm, status) })
}

/// The end, in order: nothing may be under way.
pub fn finalize() {
    // SAFETY: MPI is initialised, and nothing is under way.
    unsafe { ffi::MPI_Finalize() };
}

/// Ends all ranks, this one included.
pub fn abort(code: i32) -> ! {
    // SAFETY: MPI is initialised as long as there is a `World`.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code) };
    // Where MPI_Abort failed: at least this rank ends, and the launcher sees to the others.
    std::process::exit(code)
}

/// MPI's own words for one of its codes.
pub fn explain(code: Code) -> String {
    // SAFETY: `text` hands in at least MPI_MAX_ERROR_STRING bytes.
    text(|name, length| unsafe { ffi::MPI_Error_string(code, name, length) })
}

fn check(code: Code) -> Result<()> {
    succeeded(code).map_err(|code| anyhow::anyhow!("{}", explain(code)))
}

fn succeeded(code: c_int) -> Result<(), Code> {
    match code {
        SUCCESS => Ok(()),
        code => Err(code),
    }
}

/// A string that MPI writes into a buffer of at least as many bytes as any of its limits.
fn text(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut bytes = vec![0_u8; 16 << 10];
    let mut length = 0;
    if write(bytes.as_mut_ptr().cast(), &mut length) != SUCCESS {
        return String::new();
    }
    bytes.truncate(usize::try_from(length).unwrap_or(0));
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Ranks, tags and chunks fit: MPI itself counted them, or the world's form has a limit.
fn int(number: usize) -> c_int {
    c_int::try_from(number).expect("a count that fits in MPI's 31 bits")
}

fn byte() -> ffi::MPI_Datatype {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_UINT8_T }
}

fn null_request() -> Request {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_REQUEST_NULL }
}

fn no_status() -> *mut Status {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_STATUS_IGNORE }
}

fn funneled() -> c_int {
    // SAFETY: reads a constant of the library.
    unsafe { ffi::RSMPI_THREAD_FUNNELED }
}
