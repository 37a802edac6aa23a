//! Resuming a suspended domain through the installed libxenlight, for the xl of before Xen 4.20, which
//! cannot.
//!
//! A domain whose `xl migrate` was killed in its last phase stays suspended for ever (`---ss-`). libxl has
//! always had the call that ends this; only xl did not offer it. The library is loaded at run time, so that
//! the agent needs no Xen at build time and runs without it; a library that cannot be loaded is an error with
//! its name.
//!
//! Each release of Xen has a libxenlight of its own, which speaks to that hypervisor only, and a host can
//! have several: between an upgrade and the restart the newest is of a Xen that does not run yet. So the one
//! of the running hypervisor is loaded, and no other.
//!
//! This runs in a process of its own (`xen-handoff thaw`), so that whatever a foreign library does to its
//! process happens to that one. Together with `crate::descriptor` and one call of `super::glance` the only
//! unsafe code.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::PathBuf;

use anyhow::Context;
use libloading::Library;

use crate::domain::DomainId;
use crate::host::Root;
use crate::toolstack::api::XenVersion;

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

/// The libxenlight of the hypervisor that runs here. Its name has the release in it since Xen 4.3.
fn find(root: &Root) -> anyhow::Result<PathBuf> {
    let version =
        XenVersion::running(root).context("/sys/hypervisor does not say which version of Xen runs here")?;
    let name = format!("libxenlight.so.{version}");
    let places = LIBRARY_FOLDERS.iter().map(|folder| root.join(folder).join(&name));
    places.into_iter().find(|path| path.exists()).with_context(|| {
        format!("Xen {version} runs here, and its {name} is not in {}", LIBRARY_FOLDERS.join(", "))
    })
}

/// Lets the suspended domain run on.
///
/// # Errors
/// If the library or a function in it is missing, or libxl refuses.
#[allow(unsafe_code)]
pub fn resume(root: &Root, id: DomainId) -> anyhow::Result<()> {
    let path = find(root)?;
    // SAFETY: Xen's own library, from one of the system's folders; its initialisers only set up themselves.
    let libxl = unsafe { Library::new(&path) }.with_context(|| format!("loading {}", path.display()))?;
    let libc = libloading::os::unix::Library::this();
    // SAFETY: the types above are those of xentoollog.h, libxl.h (unchanged from Xen 4.2 to 4.22) and
    // stdio.h. The pointers are used in this function only, while the library is loaded: a stream that fdopen
    // gave, a logger made from it, and a context that libxl_ctx_alloc filled, which is freed once. `ao_how`
    // is null, which makes the call synchronous. Null results are checked before they are used.
    unsafe {
        let fdopen = libc.get::<Fdopen>(b"fdopen\0")?;
        // It is in a library that this one stands on: libxentoollog, in old releases libxenctrl.
        let create_logger = libxl.get::<CreateLogger>(b"xtl_createlogger_stdiostream\0")?;
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

    /// A host with these libraries in these folders, where that hypervisor runs.
    fn host(running: Option<(&str, &str)>, libraries: &[&str]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for library in libraries {
            put(library, "not a library");
        }
        if let Some((major, minor)) = running {
            put("sys/hypervisor/version/major", major);
            put("sys/hypervisor/version/minor", minor);
        }
        let root = Root::new(folder.path());
        (folder, root)
    }

    #[test]
    fn the_library_is_that_of_the_running_hypervisor_and_not_the_newest() {
        let libraries = [
            "usr/lib64/libxenlight.so.4.9",
            "usr/lib/x86_64-linux-gnu/libxenlight.so.4.17",
            "usr/lib/x86_64-linux-gnu/libxenlight.so.4.17.0",
            "usr/lib/x86_64-linux-gnu/libxenlight.so.4.20",
            "usr/lib64/libxenlight.so",
        ];
        for (minor, wanted) in
            [("17\n", "x86_64-linux-gnu/libxenlight.so.4.17"), ("9\n", "lib64/libxenlight.so.4.9")]
        {
            let (_folder, root) = host(Some(("4\n", minor)), &libraries);
            let found = find(&root).unwrap();
            assert!(found.ends_with(wanted), "{}", found.display());
        }
    }

    #[test]
    fn a_library_that_is_missing_or_none_is_a_clear_error() {
        let others =
            ["usr/lib64/libxenlight.so.4.20", "usr/lib64/libxenlight.so.4.1", "usr/lib64/libxenlight.so"];
        let said = |running, libraries: &[&str]| {
            let (_folder, root) = host(running, libraries);
            format!("{:#}", resume(&root, DomainId(1)).unwrap_err())
        };
        let error = said(Some(("4\n", "17\n")), &others);
        assert!(
            error.contains("Xen 4.17 runs here, and its libxenlight.so.4.17 is not in /usr/lib64"),
            "{error}"
        );
        for unclear in [None, Some(("4\n", "\n")), Some(("four", "17"))] {
            let error = said(unclear, &["usr/lib64/libxenlight.so.4.17"]);
            assert!(error.contains("does not say which version of Xen"), "{error}");
        }
        let error = said(Some(("4", "17")), &["usr/lib64/libxenlight.so.4.17"]);
        assert!(error.contains("loading"), "{error}");
    }
}
