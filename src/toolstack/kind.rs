//! The kinds of toolstack, and what each can do.

use std::fmt;

/// One of the toolstacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `xl` on libxl: Xen 4.1 and later.
    Xl,
    /// `xm` on xend: Xen 3, and 4.0 to 4.4 where xend runs.
    Xm,
    /// `xe` on XAPI: XCP-ng, XenServer.
    Xe,
}

impl Kind {
    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Xl, Self::Xm, Self::Xe].into_iter().find(|kind| kind.name() == name)
    }

    /// The name of its command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xl => "xl",
            Self::Xm => "xm",
            Self::Xe => "xe",
        }
    }

    /// Whether its domains are made from configuration files. XAPI keeps them in the pool's database.
    pub fn has_files(self) -> bool {
        self != Self::Xe
    }

    /// Whether it can press a guest's ACPI power button.
    pub fn has_power_button(self) -> bool {
        self != Self::Xe
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
