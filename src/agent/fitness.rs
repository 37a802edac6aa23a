//! Whether this host's toolstack can do what the resource's parameters ask for.
//!
//! What it cannot do is refused before anything is begun, by the parameter's name. A monitor still looks, and
//! a stop still ends what is here: neither may depend on how a resource is set up.

use super::context::Agent;
use crate::ocf::exit_code::{ExitCode, Failure};
use crate::parameters::Parameters;
use crate::toolstack::Kind;

/// Whether the host's toolstack is the one that the parameter `toolstack` says, if it says any.
///
/// # Errors
/// That it is another one.
pub(super) fn asserted(kind: Kind, parameters: &Parameters) -> Result<(), String> {
    match parameters.toolstack {
        Some(wanted) if wanted != kind => {
            Err(format!("parameter toolstack={wanted}, and the toolstack of this node is {kind}"))
        }
        _ => Ok(()),
    }
}

/// Whether the toolstack can do what the parameters ask for.
///
/// # Errors
/// The first parameter that it cannot follow, and why.
pub(super) fn fits(kind: Kind, parameters: &Parameters) -> Result<(), String> {
    let (movement, terms) = (kind.movement(), parameters.terms);
    let only_xe = kind == Kind::Xe;
    let shares = parameters.share_memory && !movement.shares_memory();
    let detaches = parameters.detach_pci && !movement.detaches_devices();
    let own_terms = |is_asked: bool| is_asked && !movement.keeps_terms();
    let asked = [
        ("allow_mem_management", shares, "it cannot share out memory"),
        ("migration_detach_pci", detaches, "it cannot detach and attach devices of the host"),
        ("migration_rate", own_terms(terms.rate.is_some()), "its moves are its own and cannot be limited"),
        (
            "migration_compression",
            own_terms(terms.compression != Default::default()),
            "its moves are its own",
        ),
        (
            "migration_deadline",
            own_terms(terms.deadline.is_some()),
            "its moves are its own and cannot be broken off",
        ),
        ("snapshot", only_xe && parameters.snapshot.is_some(), "it cannot save a domain to a file"),
        (
            "shutdown_acpi",
            !kind.has_power_button() && parameters.shutdown_acpi,
            "it cannot press a guest's power button",
        ),
    ];
    match asked.into_iter().find(|(_, is_asked, _)| *is_asked) {
        Some((name, _, why)) => {
            Err(format!("parameter {name} cannot be followed where the toolstack is {kind}: {why}"))
        }
        None => Ok(()),
    }
}

impl Agent {
    /// This agent, if the node's toolstack is what the parameters take it for, and can do what they ask for.
    /// Another node's may be.
    ///
    /// # Errors
    /// `NotInstalled`.
    pub(super) fn fit(self) -> Result<Self, Failure> {
        let kind = self.toolstack.kind();
        match asserted(kind, &self.parameters).and_then(|()| fits(kind, &self.parameters)) {
            Ok(()) => Ok(self),
            Err(what) => Err(self.failure(ExitCode::NotInstalled, format!("{what}; nothing was changed"))),
        }
    }

    /// What a monitor has seen, in the light of what the parameters take the node's toolstack for. A probe
    /// that finds nothing says "not installed", so that nothing is planned here; a guest that runs is left
    /// alone, and the recurring monitor says why.
    pub(super) fn as_asserted(&self, seen: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
        let Err(what) = asserted(self.toolstack.kind(), &self.parameters) else { return seen };
        match seen {
            Ok(ExitCode::NotRunning) if self.environment.is_probe() => {
                Err(self.failure(ExitCode::NotInstalled, what))
            }
            Ok(ExitCode::Success) if !self.environment.is_probe() => {
                Err(self.failure(ExitCode::Degraded, format!("it runs; but {what}")))
            }
            Ok(code) => {
                log::warn!("domain={} {what}", self.domain);
                Ok(code)
            }
            Err(failure) => Err(failure.context(what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Parameters {
        Parameters::read(&[(name.to_owned(), value.to_owned())].into()).unwrap()
    }

    #[test]
    fn what_a_toolstack_cannot_do_is_refused_by_the_parameters_name() {
        for (name, value, kinds) in [
            ("allow_mem_management", "true", &[Kind::Xm, Kind::Xe][..]),
            ("migration_detach_pci", "true", &[Kind::Xm, Kind::Xe]),
            ("migration_rate", "10", &[Kind::Xm, Kind::Xe]),
            ("migration_compression", "zstd", &[Kind::Xm, Kind::Xe]),
            ("migration_deadline", "10", &[Kind::Xm, Kind::Xe]),
            ("snapshot", "/srv", &[Kind::Xe]),
            ("shutdown_acpi", "true", &[Kind::Xe]),
        ] {
            for kind in [Kind::Xl, Kind::Xm, Kind::Xe] {
                let fits = fits(kind, &set(name, value));
                assert_eq!(fits.is_err(), kinds.contains(&kind), "{name} under {kind}: {fits:?}");
                assert!(fits.err().is_none_or(|why| why.contains(name) && why.contains(kind.name())));
            }
        }
        for kind in [Kind::Xl, Kind::Xm, Kind::Xe] {
            assert_eq!(fits(kind, &set("handoff", "auto")), Ok(()));
        }
    }

    #[test]
    fn the_parameter_asserts_and_does_not_choose() {
        assert_eq!(asserted(Kind::Xl, &set("toolstack", "auto")), Ok(()));
        assert_eq!(asserted(Kind::Xm, &set("toolstack", "xm")), Ok(()));
        assert!(asserted(Kind::Xl, &set("toolstack", "xm")).unwrap_err().contains("of this node is xl"));
    }
}
