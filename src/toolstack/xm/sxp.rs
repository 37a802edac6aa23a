//! xend's s-expressions, as `xm create --dryrun` and `xm list --long` print them
//! (`tools/python/xen/xend/sxp.py`). Only what is used.
//!
//! Text in quotes or without, lists in parentheses; what is not closed, or nested beyond reason, is an error.

use crate::domain::{DomainConfig, DomainName, GuestType};
use crate::host::LocalPath;

/// How deep lists may be in each other. xend's own are less than ten.
const DEEPEST: usize = 64;

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sxp {
    Text(String),
    List(Vec<Sxp>),
}

impl Sxp {
    /// The rest of the first list in this one that begins with `name`.
    fn child<'a>(&'a self, name: &'a str) -> Option<&'a [Sxp]> {
        self.children(name).next()
    }

    fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [Sxp]> {
        let Self::List(all) = self else { return [].iter().filter_map(named(name)) };
        all.iter().filter_map(named(name))
    }

    /// The text of `(name text)` in this one.
    fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self.child(name)? {
            [Self::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The same as a number; xend writes 512, 512.0, and 0x1f.
    fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        if let Some(hex) = text.strip_prefix("0x") {
            return u64::from_str_radix(hex, 16).ok();
        }
        text.strip_suffix(".0").unwrap_or(text).parse().ok()
    }
}

/// What a list holds after its first word, if that is `name`.
fn named(name: &str) -> impl Fn(&Sxp) -> Option<&[Sxp]> {
    move |expression| match expression {
        Sxp::List(all) => match all.split_first() {
            Some((Sxp::Text(first), rest)) if first == name => Some(rest),
            _ => None,
        },
        Sxp::Text(_) => None,
    }
}

/// Reads the configuration that xm prints. Some builds say which file they use before it.
pub(super) fn parse_config(text: &str) -> Result<DomainConfig, String> {
    let start = text
        .match_indices('(')
        .find(|(at, _)| *at == 0 || text[..*at].ends_with('\n'))
        .ok_or("xm printed no s-expression")?;
    let (expression, _) = read(&text[start.0..])?;
    understand(&expression)
}

/// One list from the beginning of `text`, and what follows it.
fn read(text: &str) -> Result<(Sxp, &str), String> {
    let mut open: Vec<Vec<Sxp>> = Vec::new();
    let mut left = text;
    loop {
        left = left.trim_start();
        let first = left.chars().next().ok_or("xm's s-expression is not whole")?;
        let done = match first {
            '(' => {
                if open.len() == DEEPEST {
                    return Err(format!("xm's s-expression is nested more than {DEEPEST} deep"));
                }
                left = &left[1..];
                open.push(Vec::new());
                continue;
            }
            ')' => {
                left = &left[1..];
                Sxp::List(open.pop().ok_or("xm's s-expression begins with its end")?)
            }
            quote @ ('\'' | '"') => {
                let (text, rest) = quoted(&left[1..], quote)?;
                left = rest;
                Sxp::Text(text)
            }
            _ => {
                let end = left.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
                let (word, rest) = left.split_at(end.unwrap_or(left.len()));
                left = rest;
                Sxp::Text(word.to_owned())
            }
        };
        match open.last_mut() {
            Some(list) => list.push(done),
            None => return Ok((done, left)),
        }
    }
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter if letter == quote => return Ok((value, &text[at + quote.len_utf8()..])),
            letter => value.push(letter),
        }
    }
    Err("a quotation in xm's s-expression has no end".to_owned())
}

fn understand(domain: &Sxp) -> Result<DomainConfig, String> {
    let Sxp::List(whole) = domain else { return Err("xm printed no list".to_owned()) };
    if !matches!(whole.first(), Some(Sxp::Text(kind)) if matches!(kind.as_str(), "vm" | "domain")) {
        return Err("xm printed something that is no domain".to_owned());
    }
    let name = domain.text("name").ok_or("it sets no name")?;
    let image = domain.child("image").and_then(<[Sxp]>::first);
    let guest = match image {
        Some(Sxp::List(image)) => match image.first() {
            Some(Sxp::Text(kind)) if kind == "linux" => GuestType::Pv,
            Some(Sxp::Text(kind)) if kind == "hvm" => GuestType::Hvm,
            _ => GuestType::Unknown,
        },
        _ => GuestType::Unknown,
    };
    let number = |name: &str| domain.number(name).unwrap_or(0);
    let devices: Vec<&Sxp> = domain.children("device").filter_map(<[Sxp]>::first).collect();
    let (disks, disks_by_script): (Vec<_>, Vec<_>) = devices
        .iter()
        .filter(|device| matches!(kind(device), Some("vbd" | "tap" | "tap2")))
        .filter_map(|device| device.text("uname"))
        .filter(|uname| !uname.is_empty() && !uname.ends_with(':'))
        .map(|uname| disk(uname).ok_or_else(|| uname.to_owned()))
        .partition(Result::is_ok);
    let interfaces = devices.iter().filter(|device| kind(device) == Some("vif"));
    let of_host = devices.iter().filter(|device| kind(device) == Some("pci"));
    Ok(DomainConfig {
        name: DomainName::new(name).map_err(|error| error.to_string())?,
        guest,
        memory_mib: number("maxmem").max(number("memory")),
        processors: u32::try_from(number("vcpus")).unwrap_or(u32::MAX),
        disks: disks.into_iter().flatten().collect(),
        disks_by_script: disks_by_script.into_iter().filter_map(Result::err).collect(),
        bridges: interfaces.filter_map(|device| device.text("bridge")).map(str::to_owned).collect(),
        passthrough: of_host.flat_map(|device| device.children("dev")).map(address).collect(),
        may_not_migrate: image.and_then(|image| image.number("nomigrate")) == Some(1),
        has_vnuma: false,
    })
}

/// What a device is.
fn kind(device: &Sxp) -> Option<&str> {
    match device {
        Sxp::List(all) => match all.first() {
            Some(Sxp::Text(kind)) => Some(kind),
            _ => None,
        },
        Sxp::Text(_) => None,
    }
}

/// `phy:/dev/vg/x0`, `phy:sda7`, `file:/x0.img`, `tap:aio:/x0.img`.
fn disk(uname: &str) -> Option<LocalPath> {
    let (driver, rest) = uname.split_once(':')?;
    let path = rest.rsplit(':').next().unwrap_or(rest);
    match driver {
        "phy" if !path.starts_with('/') => LocalPath::new(&format!("/dev/{path}")),
        "phy" | "file" | "tap" | "tap2" => LocalPath::new(path),
        _ => None,
    }
}

/// `0000:03:10.1`, as xend's numbers say it.
fn address(device: &[Sxp]) -> String {
    let device = Sxp::List(device.to_vec());
    let number = |name: &str| device.number(name).unwrap_or(0);
    format!("{:04x}:{:02x}:{:02x}.{}", number("domain"), number("bus"), number("slot"), number("func"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See `tests/captured/xm-3/README.md`.
    macro_rules! captured {
        ($file:literal) => {
            parse_config(include_str!(concat!("../../../tests/captured/xm-3/", $file)))
        };
    }

    #[test]
    fn real_domains_are_read_as_what_they_were() {
        let config = captured!("list-long--pv-3.3.1.txt").unwrap();
        assert_eq!(config.name.as_str(), "UbuntuPVS810");
        assert_eq!((config.guest, config.memory_mib, config.processors), (GuestType::Pv, 4096, 1));
        assert_eq!(config.disks, [LocalPath::new("/dev/sdb7").unwrap()]);
        assert_eq!((config.bridges, config.may_not_migrate), (vec!["eth0".to_owned()], false));
        let config = captured!("list-long--hvm.txt").unwrap();
        assert_eq!((config.guest, config.memory_mib), (GuestType::Hvm, 1032));
        assert!(config.disks[0].as_str().starts_with("/OVS/Repositories/") && config.passthrough.is_empty());
    }

    #[test]
    fn a_file_is_read_by_what_xm_makes_of_it() {
        let text = "Using config file \"/etc/xen/x0 (old).cfg\".\n(vm\n    (name 'x0')\n    (memory 128)\n    (vcpus 2)\n    \
                    (image (hvm (kernel hvmloader) (nomigrate 1)))\n    (device (tap (uname tap:aio:/srv/x0.img) (dev hda)))\n    \
                    (device (vbd (uname phy:sda7) (dev hdb) (mode w)))\n    (device (vbd (uname drbd:x0) (dev hdc)))\n    \
                    (device (pci (dev (domain 0x0000) (bus 0x03) (slot 0x10) (func 0x1)) (backend 0)))\n)\n";
        let config = parse_config(text).unwrap();
        assert_eq!((config.name.as_str(), config.memory_mib, config.processors), ("x0", 128, 2));
        assert_eq!(config.disks, ["/srv/x0.img", "/dev/sda7"].map(|path| LocalPath::new(path).unwrap()));
        assert_eq!((config.disks_by_script, config.may_not_migrate), (vec!["drbd:x0".to_owned()], true));
        assert_eq!(config.passthrough, ["0000:03:10.1"]);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_the_reason() {
        for (text, why) in [
            ("Error: no such file\n", "no s-expression"),
            ("(vm (name x0)", "not whole"),
            ("(vm (name 'x0", "no end"),
            ("(vm (memory 128))", "no name"),
            ("(vm (name 17))", "is a number"),
            ("(node (name x0))", "no domain"),
        ] {
            let error = parse_config(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse_config(&"(".repeat(100_000)).unwrap_err().contains("deep"));
    }
}
