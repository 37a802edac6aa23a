//! What the operators' tools are asked on: three nodes of the stand-in world, with x0 on n1.

use crate::world::World;

/// The nodes.
pub const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// The configuration of x0.
pub const CONFIG: &str = "name = \"x0\"\ntype = \"pvh\"\nmemory = 16\nvif = [ \"bridge=br0\" ]\ndisk = [ \"phy:/srv/x0,xvda,w\" ]\n";

/// x0 runs on n1, with a disk and a bridge that every host has, and the cluster plans to have it on n2.
pub fn x0_on_n1() -> World {
    let world = World::new(&NODES);
    for name in NODES {
        let root = world.host(name).root;
        std::fs::create_dir_all(root.join("sys/class/net/br0")).unwrap();
        std::fs::create_dir_all(root.join("srv")).unwrap();
        std::fs::write(root.join("srv/x0"), "").unwrap();
        std::fs::write(root.join("etc/xen/x0.cfg"), CONFIG).unwrap();
    }
    world.host("n1").succeeds("start");
    world.plan(&NODES, Some("n2"));
    world
}

/// The cluster has x0 and, if said so, has it running on n1; it would go to n2.
pub fn managed(world: &World, runs_on: Option<&str>) {
    let nodes: String = NODES.iter().map(|name| format!("<node id=\"{name}\" uname=\"{name}\"/>")).collect();
    let states: String = NODES
        .iter()
        .map(|name| format!("<node_state uname=\"{name}\" in_ccm=\"true\" crmd=\"online\"/>"))
        .collect();
    // The stand-in of crm_mon prints this very file: what it would say of it stands at its end.
    let seen: String = NODES.iter().map(|name| format!("<node name=\"{name}\" online=\"true\"/>")).collect();
    let active = runs_on.map(|node| {
        format!("<resource id=\"x0\" role=\"Started\" active=\"true\"><node name=\"{node}\"/></resource>")
    });
    let power =
        "<resource id=\"power\" resource_agent=\"stonith:fence_ipmilan\" role=\"Started\" active=\"true\"/>";
    let cib = format!(
        "<cib><configuration><nodes>{nodes}</nodes><resources><primitive id=\"x0\" class=\"ocf\" provider=\"handoff\" \
         type=\"Xen\"><instance_attributes id=\"x0-i\"><nvpair id=\"x0-n\" name=\"name\" value=\"x0\"/>\
         <nvpair id=\"x0-f\" name=\"xmfile\" value=\"/etc/xen/x0.cfg\"/></instance_attributes>\
         <operations><op id=\"x0-start\" name=\"start\" interval=\"0s\" timeout=\"300s\"/>\
         <op id=\"x0-stop\" name=\"stop\" interval=\"0s\" timeout=\"180s\"/></operations>\
         </primitive></resources><constraints/></configuration><status>{states}</status><summary><cluster_options stonith-enabled=\"true\"/></summary>\
         <nodes>{seen}</nodes><resources>{power}{}</resources></cib>",
        active.unwrap_or_default()
    );
    std::fs::write(world.shared("cib.xml"), cib).unwrap();
    // Standby is put on record, and n1 is emptied by hand.
    for name in NODES {
        let note = format!("echo \"$*\" >>{}", world.shared("standby").display());
        world.host(name).put_script("usr/sbin/crm_standby", &note);
    }
}

/// Makes keys whose public half is told from another one's.
const KEYGEN: &str = "comment=; file=; while [ $# -gt 0 ]; do case $1 in -C) comment=$2; shift;; -f) file=$2; shift;; esac; shift; done
echo private >$file; chmod 600 $file; n=$(ls -A ${file%/*} | wc -l); echo \"ssh-ed25519 AAAA$n${comment##* } $comment\" >$file.pub";

/// Three nodes without a key, each with one of its sshd.
pub fn without_keys() -> World {
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    for name in NODES {
        let host = world.host(name);
        let _ = std::fs::remove_dir_all(host.root.join("etc/xen-handoff"));
        std::fs::create_dir_all(host.root.join("etc/ssh")).unwrap();
        let key = format!("ssh-ed25519 {name}host root@{name}\n");
        std::fs::write(host.root.join("etc/ssh/ssh_host_ed25519_key.pub"), key).unwrap();
        host.put_script("usr/sbin/ssh-keygen", KEYGEN);
        let addresses = format!(r#"[{{}},{{"addr_info":[{{"local":"192.0.2.{}"}}]}}]"#, &name[1..]);
        host.put_script("usr/sbin/ip", &format!("echo '{addresses}'"));
    }
    world
}

/// What `systemctl` says of a guard that runs.
const GUARD_RUNS: &str = "case $1 in is-active) echo active;; is-enabled) echo enabled;; esac";

/// Three nodes on which nothing is wrong; x0 has no disk.
pub fn well_set_up() -> World {
    use std::os::unix::fs::PermissionsExt;
    let world = x0_on_n1();
    managed(&world, Some("n1"));
    let known: String = NODES.iter().map(|name| format!("{name} ssh-ed25519 {name}\n")).collect();
    for name in NODES {
        let host = world.host(name);
        let write = |path: &str, text: &str| {
            let path = host.root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("etc/xen-handoff/id_ed25519.pub", "ssh-ed25519 OURS xen-handoff\n");
        write("etc/xen-handoff/known_hosts", &known);
        write("etc/ssh/ssh_host_ed25519_key.pub", &format!("ssh-ed25519 {name} root@{name}\n"));
        write(
            "root/.ssh/authorized_keys",
            "restrict,command=\"/usr/sbin/xen-handoff serve\" ssh-ed25519 OURS xen-handoff\n",
        );
        write("etc/xen/x0.cfg", "name = \"x0\"\ntype = \"pvh\"\nmemory = 16\n");
        for (path, mode) in [("etc/xen-handoff", 0o700), ("etc/xen-handoff/id_ed25519", 0o600)] {
            std::fs::set_permissions(host.root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        host.put_script("usr/sbin/systemctl", GUARD_RUNS);
    }
    world
}
