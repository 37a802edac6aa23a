//! Which toolstack this host has. That is a fact of the host: every process here that asks gets the same
//! answer, whatever resource or connection it works for.
//!
//! | the setting `toolstack` | then |
//! |---|---|
//! | `xl`, `xm`, `xe` | that one |
//! | `auto`, or none | `xe` where XAPI has written its inventory; else `xm` where xend left a mark of its running, or where only `xm` is installed; else `xl` |
//!
//! On Xen 4.1 to 4.4 both `xl` and `xm` are installed, and each harms what the other one manages. xend's
//! marks are those that `xl` itself looks at (`tools/libxl/xl.c`) and its pid file. A xend that has crashed
//! leaves them behind, and that is as it should be: its domains may still bear the names of a migration,
//! which only xm's reading knows.

use std::rc::Rc;

use super::api::Toolstack;
use super::kind::Kind;
use super::xe::{INVENTORY, Xe};
use super::xl::Xl;
use super::xm::Xm;
use crate::command::Tool;
use crate::host::Root;
use crate::settings;

/// What a running xend leaves behind, and one that has crashed.
const XENDS_MARKS: [&str; 3] = ["/var/run/xend.pid", "/var/lock/subsys/xend", "/var/lock/xend"];

/// Which one this host has. Starts no process.
pub fn kind_of(root: &Root) -> Kind {
    match settings::word(root, settings::TOOLSTACK).as_deref() {
        None | Some("auto") => {}
        Some(word) => match Kind::parse(word) {
            Some(kind) => return kind,
            None => {
                log::warn!("setting {}={word:?} must be auto, xl, xm or xe; auto holds", settings::TOOLSTACK)
            }
        },
    }
    let installed = |name| Tool::find(root, name).is_ok();
    if root.join(INVENTORY).is_file() {
        Kind::Xe
    } else if XENDS_MARKS.iter().any(|mark| root.join(mark).exists()) || (installed("xm") && !installed("xl"))
    {
        Kind::Xm
    } else {
        Kind::Xl
    }
}

/// This host's toolstack; `xl`, where it is that one.
pub fn of(root: &Root, xl: &Xl) -> Rc<dyn Toolstack> {
    match kind_of(root) {
        Kind::Xl => Rc::new(xl.clone()),
        Kind::Xm => Rc::new(Xm::new(root)),
        Kind::Xe => Rc::new(Xe::new(root)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Kind {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        kind_of(&Root::new(folder.path()))
    }

    #[test]
    fn the_toolstack_is_told_by_what_is_in_charge_not_by_what_is_installed() {
        let (xl, xm) = (("usr/sbin/xl", ""), ("usr/sbin/xm", ""));
        assert_eq!(with(&[]), Kind::Xl);
        assert_eq!(with(&[xl, xm]), Kind::Xl, "both are installed, and xend does not run");
        assert_eq!(with(&[xl, xm, ("var/lock/subsys/xend", "")]), Kind::Xm);
        assert_eq!(
            with(&[xl, xm, ("var/run/xend.pid", "4711")]),
            Kind::Xm,
            "a crash leaves it, and its domains"
        );
        assert_eq!(with(&[xm]), Kind::Xm, "Xen 3 has no other, whether xend runs or not");
        assert_eq!(with(&[xl, ("etc/xensource-inventory", "INSTALLATION_UUID='x'\n")]), Kind::Xe);
    }

    #[test]
    fn the_setting_wins_and_a_wrong_one_is_not_followed() {
        let inventory = ("etc/xensource-inventory", "");
        let set = |text| with(&[inventory, ("etc/sysconfig/xen-handoff", text)]);
        assert_eq!(set("toolstack=xl\n"), Kind::Xl);
        assert_eq!(set("toolstack=auto\n"), Kind::Xe);
        assert_eq!(set("toolstack=libvirt\n"), Kind::Xe);
    }
}
