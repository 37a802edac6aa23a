//! Corosync and Pacemaker on the nodes: set-up, what the cluster believes, and what it did when.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::agent::Agent;
use crate::guest;
use crate::lab::Lab;
use crate::network;
use crate::node::Node;
use crate::spent::{self, On};
use crate::wait::{self, step};

/// How long the cluster may take for one change, a live migration under emulation among them.
pub(crate) const CHANGE: Duration = Duration::from_secs(600);

/// How often the cluster's state is asked for: each question costs the node a third of a second.
const ASK: Duration = Duration::from_secs(2);

/// The configuration that every test begins with: x0 likes node1 a little, and likes staying more. An emulated node's load
/// is always high, and Pacemaker would have one operation at a time for that. Nothing is started before all nodes are there: the first one
/// would have x0, and keep it.
fn cib(agent: &Agent, nodes: usize) -> String {
    // Of several other nodes, the stories mean the second one.
    let next = if nodes > 2 { r#"<rsc_location id="x0-next" rsc="x0" node="node2" score="5"/>"# } else { "" };
    let x0 = primitive("x0", agent.provider(), "");
    format!(
        r#"<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="1" num_updates="0" admin_epoch="0">
<configuration>
 <crm_config><cluster_property_set id="cib-bootstrap-options">
  <nvpair id="o-dc-deadtime" name="dc-deadtime" value="5s"/>
  <nvpair id="o-stonith-enabled" name="stonith-enabled" value="false"/>
  <nvpair id="o-load-threshold" name="load-threshold" value="10000%"/>
  <nvpair id="o-stop-all" name="stop-all-resources" value="true"/>
 </cluster_property_set></crm_config>
 <nodes/>
 <resources>
  {x0}
 </resources>
 <constraints><rsc_location id="x0-home" rsc="x0" node="node1" score="10"/>{next}</constraints>
</configuration>
</cib>
"#
    )
}

/// A domain of the cluster's, by the configuration file of its name, with more parameters as XML.
pub(crate) fn primitive(id: &str, provider: &str, more: &str) -> String {
    // A login on an emulated node that is busy takes longer than the agent's default allows: 20 s were not enough once. And an
    // offer must outlive several transfers that are broken on purpose, each of which takes minutes there.
    let patience = if provider == "handoff" {
        format!(
            r#"<nvpair id="{id}-connect" name="migration_connect_timeout" value="60"/>
             <nvpair id="{id}-handoff_timeout" name="handoff_timeout" value="1200"/>"#
        )
    } else {
        String::new()
    };
    // Under emulation a migration takes over a minute; no timeout of the cluster's is what a test is about.
    let operations: String = ["start", "stop", "migrate_to", "migrate_from"]
        .map(|name| format!(r#"<op id="{id}-{name}" name="{name}" interval="0" timeout="1200s"/>"#))
        .concat();
    format!(
        r#"<primitive id="{id}" class="ocf" provider="{provider}" type="Xen">
   <instance_attributes id="{id}-parameters"><nvpair id="{id}-xmfile" name="xmfile" value="/etc/xen/{id}.cfg"/>{patience}{more}</instance_attributes>
   <meta_attributes id="{id}-meta"><nvpair id="{id}-stickiness" name="resource-stickiness" value="1000"/></meta_attributes>
   <operations>{operations}<op id="{id}-monitor" name="monitor" interval="30s" timeout="120s"/></operations>
  </primitive>"#
    )
}

fn corosync(count: usize) -> String {
    let nodes: String = (1..=count)
        .map(|index| {
            let address = network::ring_address(index);
            format!(" node {{\n  name: node{index}\n  nodeid: {index}\n  ring0_addr: {address}\n }}\n")
        })
        .collect();
    let two = if count == 2 { " two_node: 1\n" } else { "" };
    // A long token: an emulated node can be late by seconds when this machine is busy.
    format!(
        "totem {{\n version: 2\n cluster_name: lab\n transport: knet\n token: 10000\n}}\n\
         nodelist {{\n{nodes}}}\n\
         quorum {{\n provider: corosync_votequorum\n{two}}}\n\
         logging {{\n to_syslog: yes\n to_logfile: yes\n logfile: /var/log/corosync/corosync.log\n timestamp: hires\n}}\n"
    )
}

/// What a snapshot of the ready cluster depends on, besides the agent's files.
pub(crate) fn key(agent: &Agent, nodes: usize) -> String {
    cib(agent, nodes) + &corosync(nodes)
}

/// Installs the agent, starts the cluster, and waits for x0 to answer on node1.
pub(crate) fn set_up(lab: &Lab, agent: &Agent) -> Result<()> {
    agent.install(&lab.nodes)?;
    let count = lab.nodes.len();
    let starting: Vec<_> = lab
        .nodes
        .iter()
        .map(|node| {
            node.put("/etc/corosync/corosync.conf", corosync(count).as_bytes(), "644", "root")?;
            node.ok("install -d -m 750 -o hacluster -g haclient /var/lib/pacemaker/cib")?;
            node.put(
                "/var/lib/pacemaker/cib/cib.xml",
                cib(agent, count).as_bytes(),
                "600",
                "hacluster:haclient",
            )?;
            node.start("systemctl start corosync pacemaker")
        })
        .collect::<Result<_>>()?;
    for started in starting {
        let output = started.finish(Duration::from_secs(180))?;
        if !output.status.success() {
            bail!("starting the cluster: {}", output.stderr);
        }
    }
    step("waiting for the cluster and x0", || {
        let first = lab.node(1)?;
        Status::wait(first, "all nodes to be online", |status| status.online.len() == count)?;
        first.ok("crm_attribute -t crm_config -n stop-all-resources -D")?;
        Status::wait(first, "x0 to be started on node1", |status| status.runs("x0", "node1"))?;
        guest::wait_for(CHANGE).map(drop)
    })
}

/// A resource as the cluster sees it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Resource {
    /// Its name.
    pub(crate) id: String,
    /// `Started`, `Stopped`, ...
    pub(crate) role: String,
    /// Is it the cluster's business?
    pub(crate) managed: bool,
    /// What is being done with it now.
    pub(crate) pending: Option<String>,
    /// Where it is.
    pub(crate) nodes: Vec<String>,
}

/// What the cluster believes, from `crm_mon --output-as=xml`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Status {
    /// The node that leads: its controller is the cluster's.
    pub(crate) leader: Option<String>,
    /// The nodes that are online (standby and leaving ones too).
    pub(crate) online: Vec<String>,
    /// All resources.
    pub(crate) resources: Vec<Resource>,
    /// Failed operations, as `x0_start_0 on node2: rc`.
    pub(crate) failures: Vec<String>,
}

impl Status {
    /// Asks a node for it.
    pub(crate) fn read(node: &Node) -> Result<Self> {
        let output = node.run("crm_mon -1 -r --output-as=xml")?;
        if !output.status.success() {
            bail!("crm_mon on {}: {}", node.name, output.stderr.trim());
        }
        Self::parse(&output.stdout)
    }

    /// Polls until the cluster believes something.
    pub(crate) fn wait(node: &Node, what: &str, is: impl Fn(&Self) -> bool) -> Result<Self> {
        let mut last = None;
        let found = spent::time(On::Cluster, || {
            wait::until_every(ASK, what, CHANGE, || {
                // A cluster that is just starting answers with an error.
                last = Self::read(node).ok();
                Ok(last.clone().filter(|status| is(status)))
            })
        });
        found.with_context(|| format!("the cluster's last word: {last:?}"))
    }

    /// Is that resource started on that node, and nowhere else?
    pub(crate) fn runs(&self, resource: &str, node: &str) -> bool {
        self.resource(resource).is_some_and(|found| {
            found.role == "Started" && found.pending.is_none() && found.nodes == [node.to_string()]
        })
    }

    /// Is that resource nowhere?
    pub(crate) fn stopped(&self, resource: &str) -> bool {
        self.resource(resource).is_some_and(|found| found.nodes.is_empty() && found.pending.is_none())
    }

    /// That resource.
    pub(crate) fn resource(&self, id: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == id)
    }

    fn parse(xml: &str) -> Result<Self> {
        let mut status = Self::default();
        let mut reader = Reader::from_str(xml);
        let mut path: Vec<String> = Vec::new();
        loop {
            match reader.read_event().context("crm_mon's XML")? {
                Event::Start(element) => {
                    status.element(&path, &element)?;
                    path.push(name(&element));
                }
                Event::Empty(element) => status.element(&path, &element)?,
                Event::End(_) => drop(path.pop()),
                Event::Eof => return Ok(status),
                _ => {}
            }
        }
    }

    fn element(&mut self, path: &[String], element: &BytesStart<'_>) -> Result<()> {
        let parent = path.last().map(String::as_str).unwrap_or_default();
        match (parent, name(element).as_str()) {
            (_, "current_dc") => self.leader = attribute(element, "name")?,
            ("nodes", "node") if attribute(element, "online")?.as_deref() == Some("true") => {
                self.online.extend(attribute(element, "name")?);
            }
            (_, "resource") => self.resources.push(Resource {
                id: attribute(element, "id")?.unwrap_or_default(),
                role: attribute(element, "role")?.unwrap_or_default(),
                managed: attribute(element, "managed")?.as_deref() == Some("true"),
                pending: attribute(element, "pending")?,
                nodes: Vec::new(),
            }),
            ("resource", "node") => {
                if let Some(resource) = self.resources.last_mut() {
                    resource.nodes.extend(attribute(element, "name")?);
                }
            }
            (_, "failure") => {
                let part = |name| attribute(element, name).map(Option::unwrap_or_default);
                self.failures.push(format!(
                    "{} on {}: {} ({})",
                    part("op_key")?,
                    part("node")?,
                    part("exitstatus")?,
                    part("exitreason")?
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

fn name(element: &BytesStart<'_>) -> String {
    element.name().as_ref().to_string()
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    let found = element.try_get_attribute(name)?;
    Ok(found.map(|attribute| attribute.value.into_owned()))
}
