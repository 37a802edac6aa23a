//! Descriptors that cross an `exec`: how a connection that one process opened becomes another one's stream.
//!
//! One of three places with unsafe code (the others are `toolstack::libxl` and `toolstack::glance`). A
//! descriptor is left open by [`bequeath`] in the parent, its number goes over the child's command line, and
//! the child calls [`adopt`] once for each number.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Makes a copy of `fd` that children inherit. It stays open here until the returned value is dropped.
///
/// # Errors
/// If the system has no descriptor left.
pub fn bequeath(fd: impl AsFd) -> std::io::Result<(OwnedFd, RawFd)> {
    // Above the three standard streams, which a child gets anew.
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, 10)?;
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty())?;
    let number = copy.as_raw_fd();
    Ok((copy, number))
}

/// Takes over a descriptor that an ancestor left open for this process.
///
/// # Errors
/// If `number` is a standard stream or not open.
#[allow(unsafe_code)]
pub fn adopt(number: RawFd) -> std::io::Result<OwnedFd> {
    if number <= 2 || std::fs::read_link(format!("/proc/self/fd/{number}")).is_err() {
        return Err(std::io::Error::other(format!("descriptor {number} was not left open for us")));
    }
    // SAFETY: the number is open (seen just above), was left open for this process alone (`bequeath`), and
    // comes from our own command line, which names each number once; nothing else in this process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_open_is_refused() {
        assert!(adopt(0).is_err());
        assert!(adopt(987_654).is_err());
    }

    #[test]
    fn a_bequeathed_descriptor_is_not_closed_by_exec() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let (copy, number) = bequeath(&read).unwrap();
        assert!(number >= 10);
        assert!(rustix::io::fcntl_getfd(&copy).unwrap().is_empty());
    }
}
