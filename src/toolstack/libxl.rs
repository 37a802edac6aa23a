//! Resuming a suspended domain through the installed libxenlight, for the xl of before Xen 4.20, which cannot.
//!
//! A domain whose `xl migrate` was killed in its last phase stays suspended for ever (`---ss-`). libxl has always had the
//! call that ends this; only xl did not offer it. The library is loaded at run time, so that the agent needs no Xen at
//! build time and runs without it; a library that cannot be loaded is an error with its name.
//!
//! This runs in a process of its own (`xen-handoff thaw`), so that whatever a foreign library does to its process happens
//! to that one. Together with `crate::descriptor` and one call of
//! `super::glance` the only unsafe code.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};

use anyhow::Context;
use libloading::Library;

use crate::domain::DomainId;
use crate::host::Root;

/// Where distributions put shared libraries. Debian keeps Xen's own in folders named by version.
const LIBRARY_FOLDERS: [&str; 5] =
    ["/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"];

/// `XTL_ERROR` of `xentoollog.h`: errors and worse.
const LOG_ERRORS: c_int = 8;

type CreateLogger = unsafe extern "C" fn(stream: *mut c_void, min_level: c_int, flags: c_uint) -> *mut c_void;
type CtxAlloc =
    unsafe extern "C" fn(ctx: *mut *mut c_void, version: c_int, flags: c_uint, logger: *mut c_void) -> c_int;
type CtxFree = unsafe extern "C" fn(ctx: *mut c_void) -> c_int;
type DomainResume =
    unsafe extern "C" fn(ctx: *mut c_void, domid: u32, suspend_cancel: c_int, ao_how: *const c_void) -> c_int;
type Fdopen = unsafe extern "C" fn(fd: c_int, mode: *const c_char) -> *mut c_void;

/// The newest library of this name (`libxenlight.so.4.17` for `libxenlight.so`), by its version.
fn find(root: &Root, name: &str) -> anyhow::Result<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = LIBRARY_FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter_map(|path| Some((version(&path, name)?, path)))
        .collect();
    found.sort();
    let (_, path) = found.pop().with_context(|| format!("no {name} in {}", LIBRARY_FOLDERS.join(", ")))?;
    Ok(path)
}

fn version(path: &Path, name: &str) -> Option<Vec<u32>> {
    let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
    rest.split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
}

/// Lets the suspended domain run on.
///
/// # Errors
/// If a library or a function in it is missing, or libxl refuses.
#[allow(unsafe_code)]
pub fn resume(root: &Root, id: DomainId) -> anyhow::Result<()> {
    let load = |name: &str| -> anyhow::Result<Library> {
        let path = find(root, name)?;
        // SAFETY: Xen's own libraries, from the system's library folders; their initialisers only set up themselves.
        unsafe { Library::new(&path) }.with_context(|| format!("loading {}", path.display()))
    };
    let (xentoollog, libxl) = (load("libxentoollog.so")?, load("libxenlight.so")?);
    let libc = libloading::os::unix::Library::this();
    // SAFETY: the types above are those of xentoollog.h, libxl.h (unchanged from Xen 4.2 to 4.20) and stdio.h. The
    // pointers are used in this function only, while the libraries are loaded: a stream that fdopen gave, a logger made
    // from it, and a context that libxl_ctx_alloc filled, which is freed once. `ao_how` is null, which makes the call
    // synchronous. Null results are checked before they are used.
    unsafe {
        let fdopen = libc.get::<Fdopen>(b"fdopen\0")?;
        let create_logger = xentoollog.get::<CreateLogger>(b"xtl_createlogger_stdiostream\0")?;
        let ctx_alloc = libxl.get::<CtxAlloc>(b"libxl_ctx_alloc\0")?;
        let ctx_free = libxl.get::<CtxFree>(b"libxl_ctx_free\0")?;
        let domain_resume = libxl.get::<DomainResume>(b"libxl_domain_resume\0")?;

        let stderr = fdopen(2, c"w".as_ptr());
        anyhow::ensure!(!stderr.is_null(), "stderr is closed");
        let logger = create_logger(stderr, LOG_ERRORS, 0);
        anyhow::ensure!(!logger.is_null(), "no logger");
        let mut ctx = std::ptr::null_mut();
        let rc = ctx_alloc(&raw mut ctx, 0, 0, logger);
        anyhow::ensure!(rc == 0 && !ctx.is_null(), "libxl_ctx_alloc failed ({rc})");
        let rc = domain_resume(ctx, id.0, 1, std::ptr::null());
        ctx_free(ctx);
        anyhow::ensure!(rc == 0, "libxl_domain_resume failed ({rc})");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_is_taken_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let lib = folder.path().join("usr/lib64");
        std::fs::create_dir_all(&lib).unwrap();
        for name in
            ["libxenlight.so.4.9", "libxenlight.so.4.17.0", "libxenlight.so.backup", "libxenlightx.so.9"]
        {
            std::fs::write(lib.join(name), "").unwrap();
        }
        let found = find(&Root::new(folder.path()), "libxenlight.so").unwrap();
        assert!(found.ends_with("libxenlight.so.4.17.0"), "{}", found.display());
    }

    #[test]
    fn a_library_that_is_missing_or_none_is_a_clear_error() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path());
        let error = format!("{:#}", resume(&root, DomainId(1)).unwrap_err());
        assert!(error.contains("no libxentoollog.so in /usr/lib64"), "{error}");
        let lib = folder.path().join("usr/lib64");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join("libxentoollog.so.1"), "not a library").unwrap();
        let error = format!("{:#}", resume(&root, DomainId(1)).unwrap_err());
        assert!(error.contains("loading"), "{error}");
    }
}
