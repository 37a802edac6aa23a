//! `xl`'s configuration files, and libxl's JSON of them, as far as an agent looks.

use crate::{Exit, system};
use serde_json::{Map, Value, json};

/// A value of the file's own syntax.
#[derive(Clone, Debug, PartialEq)]
enum Setting {
    Text(String),
    Number(i64),
    List(Vec<Setting>),
}

impl Setting {
    fn text(&self) -> String {
        match self {
            Setting::Text(text) => text.clone(),
            Setting::Number(number) => number.to_string(),
            Setting::List(_) => String::new(),
        }
    }

    fn number(&self) -> i64 {
        match self {
            Setting::Number(number) => *number,
            Setting::Text(text) => text.parse().unwrap_or(0),
            Setting::List(_) => 0,
        }
    }

    fn texts(&self) -> Vec<String> {
        match self {
            Setting::List(items) => items.iter().map(Setting::text).collect(),
            Setting::Text(_) | Setting::Number(_) => vec![self.text()],
        }
    }
}

/// Reads a configuration (later settings win) into libxl's JSON.
pub(crate) fn parse(file: &str, text: &str) -> Result<Value, Exit> {
    let settings = Scanner { file, left: text.chars().collect(), at: 0, line: 1 }.settings()?;
    let get = |key: &str| settings.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v);
    let text = |key: &str, default: &str| get(key).map_or(default.to_owned(), Setting::text);
    let Some(name) = get("name").map(Setting::text) else {
        return Err(Exit::failure("Domain name must be specified."));
    };
    let kind = match (get("type"), get("builder")) {
        (Some(kind), _) => kind.text(),
        (None, Some(builder)) if builder.text() == "hvm" => "hvm".into(),
        (None, _) => "pv".into(),
    };
    let memory = get("memory").map_or(32, Setting::number) * 1024;
    let most = get("maxmem").map_or(memory, |m| m.number() * 1024);
    let vcpus = get("vcpus").map_or(1, Setting::number);
    let uuid = match get("uuid") {
        Some(uuid) => uuid.text(),
        None => system::random_uuid()?,
    };
    let mut build = json!({
        "max_vcpus": get("maxvcpus").map_or(vcpus, Setting::number),
        "avail_vcpus": (0..vcpus).collect::<Vec<_>>(),
        "max_memkb": most, "target_memkb": memory,
        "sched_params": {},
        "claim_mode": "True",
    });
    if get("nomigrate").is_some_and(|n| n.number() != 0) {
        build["disable_migrate"] = json!("True");
    }
    if let Some(Setting::List(nodes)) = get("vnuma") {
        let nodes: Vec<_> = nodes.iter().map(|_| json!({"memkb": most, "pnode": 0})).collect();
        build["vnuma_nodes"] = json!(nodes);
    }
    for key in ["kernel", "ramdisk", "cmdline", "bootloader"] {
        if let Some(value) = get(key) {
            build[key] = json!(value.text());
        }
    }
    build[format!("type.{kind}")] = json!({});
    // libxl leaves out what is false.
    if get("nomigrate").is_some_and(|value| value.number() == 1) {
        build["disable_migrate"] = json!("True");
    }
    build["arch_arm"] = json!({});
    build["arch_x86"] = json!({});
    let mut whole = json!({
        "c_info": {"type": kind, "name": name, "uuid": uuid, "run_hotplug_scripts": "True"},
        "b_info": build,
    });
    if let Some(disks) = get("disk") {
        whole["disks"] = disks.texts().iter().map(|d| disk(d)).collect();
    }
    if let Some(nics) = get("vif") {
        whole["nics"] = nics.texts().iter().enumerate().map(|(n, nic)| vif(n, nic)).collect();
    }
    if let Some(pci) = get("pci") {
        whole["pcidevs"] = pci.texts().iter().filter_map(|p| pci_device(p)).collect();
    }
    for (key, default) in [("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")] {
        let value = text(key, default);
        // libxl leaves out what is 0 in its enumeration
        if value != "destroy" {
            whole[key] = json!(value);
        }
    }
    whole["on_soft_reset"] = json!("soft_reset");
    Ok(whole)
}

/// `phy:/dev/vg/x0,xvda,w` or `format=raw,vdev=xvda,access=rw,target=/dev/vg/x0`
fn disk(text: &str) -> Value {
    let mut disk = json!({"format": "raw", "readwrite": 1});
    let mut positional = ["pdev_path", "format", "vdev", "access"].iter();
    let old_style = text.split_once(':').is_some_and(|(kind, _)| ["phy", "file", "tap2"].contains(&kind));
    if old_style {
        positional = ["pdev_path", "vdev", "access"].iter();
    }
    for part in text.split(',').map(str::trim) {
        let (key, value) = match part.split_once('=') {
            Some(("target", value)) => ("pdev_path", value),
            Some((key, value)) => (key, value),
            None => (*positional.next().unwrap_or(&"rest"), part),
        };
        match key {
            "pdev_path" => {
                let path = if old_style { value.split_once(':').map_or(value, |(_, p)| p) } else { value };
                disk["pdev_path"] = json!(path);
            }
            "access" => disk["readwrite"] = json!(i32::from(!value.starts_with('r') || value == "rw")),
            "format" | "vdev" | "backendtype" | "script" => disk[key] = json!(value),
            _ => {}
        }
    }
    disk
}

/// `0000:03:10.1`, or without the domain: libxl's numbers, in a structure of their own since 4.15.
pub(crate) fn pci_device(text: &str) -> Option<Value> {
    let whole = if text.matches(':').count() == 2 { text.to_owned() } else { format!("0000:{text}") };
    let mut numbers = whole.split([':', '.']).map(|n| u32::from_str_radix(n, 16));
    let mut next = || numbers.next()?.ok();
    let (domain, bus, dev, func) = (next()?, next()?, next()?, next()?);
    Some(json!({"bdf": {"func": func, "dev": dev, "bus": bus, "domain": domain}}))
}

/// As `xl pci-list` writes it.
pub(crate) fn pci_address(device: &Value) -> String {
    let number = |key: &str| device["bdf"][key].as_u64().unwrap_or(0);
    format!("{:04x}:{:02x}:{:02x}.{:01x}", number("domain"), number("bus"), number("dev"), number("func"))
}

fn vif(number: usize, text: &str) -> Value {
    let mut nic = Map::new();
    nic.insert("devid".into(), json!(number));
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if let Some((key, value)) = part.split_once('=') {
            nic.insert(key.into(), json!(value));
        }
    }
    nic.entry("bridge").or_insert(json!("xenbr0"));
    Value::Object(nic)
}

/// libxl's JSON text: four blanks of indentation, a newline at the end.
pub(crate) fn to_json(value: &Value) -> anyhow::Result<String> {
    use serde::Serialize;
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    Ok(String::from_utf8(text)?)
}

pub(crate) fn name(config: &Value) -> String {
    config["c_info"]["name"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn uuid(config: &Value) -> String {
    config["c_info"]["uuid"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn memory_mib(config: &Value) -> u64 {
    config["b_info"]["target_memkb"].as_u64().unwrap_or(0) / 1024
}

pub(crate) fn vcpus(config: &Value) -> u32 {
    config["b_info"]["max_vcpus"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(1)
}

/// What `on_poweroff`, `on_reboot` or `on_crash` say.
pub(crate) fn action(config: &Value, event: &str) -> String {
    config[event].as_str().unwrap_or("destroy").to_owned()
}

struct Scanner<'a> {
    file: &'a str,
    left: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner<'_> {
    fn settings(mut self) -> Result<Vec<(String, Setting)>, Exit> {
        let mut found = vec![];
        loop {
            self.skip(|c| c.is_whitespace() || c == ';');
            let Some(first) = self.peek() else { return Ok(found) };
            if !(first.is_alphabetic() || first == '_') {
                return Err(self.error(first));
            }
            let key = self.take(|c| c.is_alphanumeric() || c == '_');
            self.skip(|c| c == ' ' || c == '\t');
            match self.peek() {
                Some('=') => self.at += 1,
                other => return Err(self.error(other.unwrap_or(' '))),
            }
            let value = self.value()?;
            found.push((key, value));
            self.skip(|c| c == ' ' || c == '\t');
            match self.peek() {
                None | Some('\n' | ';') => {}
                Some(other) => return Err(self.error(other)),
            }
        }
    }

    fn value(&mut self) -> Result<Setting, Exit> {
        self.skip(|c| c == ' ' || c == '\t');
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                self.at += 1;
                let text = self.take(|c| c != quote && c != '\n');
                if self.peek() != Some(quote) {
                    return Err(self.error('\n'));
                }
                self.at += 1;
                Ok(Setting::Text(text))
            }
            Some('[') => {
                self.at += 1;
                let mut items = vec![];
                loop {
                    self.skip(|c| c.is_whitespace() || c == ',');
                    if self.peek() == Some(']') {
                        self.at += 1;
                        return Ok(Setting::List(items));
                    }
                    items.push(self.value()?);
                }
            }
            Some(c) if c.is_ascii_digit() || c == '-' => {
                let digits = self.take(|c| c.is_alphanumeric() || c == '-');
                let number = match digits.strip_prefix("0x") {
                    Some(hex) => i64::from_str_radix(hex, 16),
                    None => digits.parse(),
                };
                number.map(Setting::Number).map_err(|_| self.error(c))
            }
            other => Err(self.error(other.unwrap_or('\n'))),
        }
    }

    fn peek(&self) -> Option<char> {
        self.left.get(self.at).copied()
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| wanted(*c)) {
            text.push(c);
            self.at += 1;
        }
        text
    }

    /// Skips what is unwanted, and comments up to (not including) their newline.
    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        loop {
            match self.peek() {
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                Some(c) if unwanted(c) => {
                    self.line += usize::from(c == '\n');
                    self.at += 1;
                }
                Some(_) | None => return,
            }
        }
    }

    fn error(&self, near: char) -> Exit {
        let near = if near == '\n' { "\\n".into() } else { near.to_string() };
        Exit::failure(format!(
            "{}:{}: config parsing error near `{near}': syntax error\nFailed to parse config: Invalid argument",
            self.file, self.line
        ))
    }
}
