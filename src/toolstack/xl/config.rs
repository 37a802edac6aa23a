//! libxl's JSON of a domain's configuration, as `xl create --dryrun` and `xl list --long` print it. Only the
//! fields used.

use std::collections::HashMap;

use serde::Deserialize;

use crate::domain::{DomainConfig, DomainName, GuestType};
use crate::host::LocalPath;

#[derive(Deserialize)]
struct Listed {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    c_info: CreateInfo,
    #[serde(default)]
    b_info: BuildInfo,
    #[serde(default)]
    disks: Vec<DiskDevice>,
    #[serde(default)]
    nics: Vec<Nic>,
    #[serde(default)]
    pcidevs: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct CreateInfo {
    name: Option<String>,
    #[serde(default, rename = "type")]
    guest: String,
}

#[derive(Deserialize, Default)]
struct BuildInfo {
    #[serde(default)]
    max_memkb: u64,
    #[serde(default)]
    target_memkb: u64,
    #[serde(default)]
    max_vcpus: u32,
    /// libxl's three-valued flag, in words.
    #[serde(default)]
    disable_migrate: String,
    #[serde(default)]
    vnuma_nodes: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct DiskDevice {
    #[serde(default)]
    pdev_path: String,
    #[serde(default)]
    script: String,
}

#[derive(Deserialize)]
struct Nic {
    #[serde(default)]
    bridge: String,
}

/// Reads what `xl create --dryrun --quiet` prints.
pub(super) fn parse_dry_run(text: &str) -> Result<DomainConfig, String> {
    first::<Config>(text, '{').and_then(understand)
}

/// Reads what `xl list --long NAME` prints: a list of one.
pub(super) fn parse_long_list(text: &str) -> Result<DomainConfig, String> {
    let listed: Vec<Listed> = first(text, '[')?;
    match <[Listed; 1]>::try_from(listed) {
        Ok([one]) => understand(one.config),
        Err(several) => Err(format!("xl listed {} domains", several.len())),
    }
}

/// How much memory each domain in `xl list --long` is to have, in MiB, by its name. Domains of which that is
/// not told are left out.
pub(super) fn parse_targets(text: &str) -> Result<HashMap<String, u64>, String> {
    let listed: Vec<serde_json::Value> = first(text, '[')?;
    let target = |domain: &serde_json::Value| {
        let config = domain.get("config")?;
        let name = config.get("c_info")?.get("name")?.as_str()?.to_owned();
        Some((name, config.get("b_info")?.get("target_memkb")?.as_u64()? / 1024))
    };
    Ok(listed.iter().filter_map(target).collect())
}

/// The first JSON value. Some builds print a line of their own before it.
fn first<T: for<'a> Deserialize<'a>>(text: &str, begins_with: char) -> Result<T, String> {
    let none = || "xl printed no JSON for it".to_owned();
    let start = text.find(begins_with).ok_or_else(none)?;
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<T>();
    values.next().ok_or_else(none)?.map_err(|error| format!("xl's JSON cannot be read: {error}"))
}

fn understand(config: Config) -> Result<DomainConfig, String> {
    let name = config.c_info.name.ok_or("it sets no name")?;
    let kib = config.b_info.max_memkb.max(config.b_info.target_memkb);
    let (disks, elsewhere): (Vec<_>, Vec<_>) = config
        .disks
        .into_iter()
        .map(|disk| match LocalPath::new(&disk.pdev_path) {
            // With a script of its own, the target is the script's to understand.
            Some(path) if disk.script.is_empty() => Ok(path),
            _ => Err(disk.pdev_path),
        })
        .partition(Result::is_ok);
    Ok(DomainConfig {
        name: DomainName::new(name).map_err(|error| error.to_string())?,
        guest: match config.c_info.guest.as_str() {
            "pv" => GuestType::Pv,
            "pvh" => GuestType::Pvh,
            "hvm" => GuestType::Hvm,
            _ => GuestType::Unknown,
        },
        memory_mib: kib.div_ceil(1024),
        processors: config.b_info.max_vcpus,
        disks: disks.into_iter().flatten().collect(),
        disks_by_script: elsewhere
            .into_iter()
            .filter_map(Result::err)
            .filter(|disk| !disk.is_empty())
            .collect(),
        bridges: config.nics.into_iter().map(|nic| nic.bridge).filter(|bridge| !bridge.is_empty()).collect(),
        passthrough: config.pcidevs.iter().map(device).collect(),
        may_not_migrate: config.b_info.disable_migrate == "True",
        has_vnuma: !config.b_info.vnuma_nodes.is_empty(),
    })
}

/// `0000:03:10.1`, as libxl's numbers say it; from 4.15 on they are in a structure of their own.
fn device(device: &serde_json::Value) -> String {
    let device = device.get("bdf").unwrap_or(device);
    let number = |name: &str| device.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    format!("{:04x}:{:02x}:{:02x}.{}", number("domain"), number("bus"), number("dev"), number("func"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real output of xl 4.17: see `tests/captured/xl-4.17/README.md`.
    macro_rules! captured {
        ($file:literal) => {
            include_str!(concat!("../../../tests/captured/xl-4.17/", $file))
        };
    }

    fn x0() -> DomainConfig {
        DomainConfig {
            name: DomainName::new("x0").unwrap(),
            guest: GuestType::Pvh,
            memory_mib: 128,
            processors: 1,
            disks: vec![],
            disks_by_script: vec![],
            bridges: vec!["xenbr0".to_owned()],
            passthrough: vec![],
            may_not_migrate: false,
            has_vnuma: false,
        }
    }

    #[test]
    fn the_file_and_the_running_domain_are_read_alike() {
        assert_eq!(parse_dry_run(captured!("create-dryrun.stdout")), Ok(x0()));
        assert_eq!(parse_long_list(captured!("list-long--running.stdout")), Ok(x0()));

        let smaller = Ok(DomainConfig { memory_mib: 80, ..x0() });
        let of_4_20 = include_str!("../../../tests/captured/xl-4.20/create-dryrun.stdout");
        assert_eq!(parse_dry_run(of_4_20), smaller);
        let of_4_20 = include_str!("../../../tests/captured/xl-4.20/list-long--running.stdout");
        assert_eq!(parse_long_list(of_4_20), smaller);
    }

    #[test]
    fn what_each_domain_is_to_have_is_read_by_its_name() {
        let targets = parse_targets(captured!("list-long--running.stdout")).unwrap();
        assert_eq!(targets.get("x0"), Some(&128));
        assert!(parse_targets("xl hung").is_err());
    }

    #[test]
    fn what_decides_whether_it_can_move_is_read() {
        let text = r#"{"c_info":{"type":"hvm","name":"x0"},"b_info":{"max_memkb":1049600,"target_memkb":524288,"max_vcpus":2,
            "disable_migrate":"True"},"disks":[{"pdev_path":"/dev/vg/x0","vdev":"xvda","format":"raw","readwrite":1},
            {"pdev_path":"iqn=iqn.2011-01.org.example:x0","script":"block-iscsi"},{"vdev":"hdc","is_cdrom":1}],
            "nics":[{"devid":0},{"bridge":"br7"}],"pcidevs":[{"func":1,"dev":16,"bus":3}]}"#;
        let config = parse_dry_run(text).unwrap();
        assert_eq!((config.guest, config.memory_mib, config.processors), (GuestType::Hvm, 1025, 2));
        assert_eq!(config.disks, [LocalPath::new("/dev/vg/x0").unwrap()]);
        assert_eq!(config.disks_by_script, ["iqn=iqn.2011-01.org.example:x0"]);
        assert_eq!((config.bridges, config.may_not_migrate), (vec!["br7".to_owned()], true));
        assert_eq!(config.passthrough, ["0000:03:10.1"]);
        let since_4_15 = text
            .replace(r#"{"func":1,"dev":16,"bus":3}"#, r#"{"bdf":{"func":1,"dev":16,"bus":3},"vdevfn":256}"#);
        assert_eq!(parse_dry_run(&since_4_15).unwrap().passthrough, ["0000:03:10.1"]);
        assert!(!config.has_vnuma);
        let with_nodes = text.replace(
            r#""max_vcpus":2,"#,
            r#""max_vcpus":2,"vnuma_nodes":[{"memkb":524800,"distances":[10],"pnode":0,"vcpus":[0,1]}],"#,
        );
        assert!(parse_dry_run(&with_nodes).unwrap().has_vnuma);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_the_reason() {
        assert!(parse_dry_run("Parsing config from x0.cfg\n").is_err());
        assert!(parse_dry_run(r#"{"c_info":{"type":"pvh"}}"#).unwrap_err().contains("no name"));
        assert!(parse_dry_run(r#"{"c_info":{"name":"x0--incoming"}}"#).unwrap_err().contains("--incoming"));
        assert!(parse_long_list("[\n]").unwrap_err().contains("0 domains"));
    }
}
