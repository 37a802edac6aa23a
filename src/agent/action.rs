//! The actions of the standard.

use std::time::Duration;

/// What the cluster may ask of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make the domain run here.
    Start,
    /// Make sure that it does not, or hand it over.
    Stop,
    /// Say whether it does. `status` is the same.
    Monitor,
    /// Send it to the node that the cluster names.
    MigrateTo,
    /// Say that it has arrived.
    MigrateFrom,
    /// Take note of parameters that have changed, with the domain running.
    ReloadAgent,
    /// Check the parameters.
    ValidateAll,
    /// Print the metadata.
    MetaData,
    /// Print how to call us.
    Usage,
}

impl Action {
    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "start" => Self::Start,
            "stop" => Self::Stop,
            "monitor" | "status" => Self::Monitor,
            "migrate_to" => Self::MigrateTo,
            "migrate_from" => Self::MigrateFrom,
            "reload-agent" => Self::ReloadAgent,
            "validate-all" => Self::ValidateAll,
            "meta-data" => Self::MetaData,
            "usage" | "help" => Self::Usage,
            _ => return None,
        })
    }

    /// Its name in the standard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Monitor => "monitor",
            Self::MigrateTo => "migrate_to",
            Self::MigrateFrom => "migrate_from",
            Self::ReloadAgent => "reload-agent",
            Self::ValidateAll => "validate-all",
            Self::MetaData => "meta-data",
            Self::Usage => "usage",
        }
    }

    /// The timeout that the metadata advises, for a caller that sets none.
    pub(super) fn advised_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Start | Self::MigrateTo => 300,
            Self::Stop => 180,
            Self::MigrateFrom => 120,
            Self::Monitor | Self::ReloadAgent | Self::ValidateAll => 30,
            Self::MetaData | Self::Usage => 5,
        })
    }
}
