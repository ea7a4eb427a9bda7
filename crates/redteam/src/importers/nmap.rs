//! The XML of nmap: each open port is a finding, and each script that says `VULNERABLE` or lists
//! vulnerabilities.

use std::collections::BTreeSet;

use model::Severity;
use roxmltree::{Document, Node};

use super::{Importer, Reader, new_report};
use crate::controls::Kind;
use crate::drafts::{Draft, Drafts, cves_in};
use crate::report::{Checks, PortRange, Scope};
use crate::xml::{attribute, children};
use crate::{ReadError, Report, times};

pub(super) const IMPORTER: Importer = Importer {
    name: "nmap",
    title: "nmap, XML",
    may_be_empty: false,
    reader: Reader::Xml {
        root: &["nmaprun"],
        read,
    },
};

/// Services that send passwords and content as they are.
const PLAIN_TEXT: &[&str] = &[
    "telnet", "ftp", "tftp", "rsh", "shell", "login", "exec", "rlogin", "rexec", "finger", "pop2",
    "pop3", "imap", "snmp", "vnc", "x11", "ldap", "nntp",
];

/// The most ranges of ports that are compared; `-p-` is one, and the 1,000 usual ports are 500.
const RANGES_MAX: usize = 5_000;

fn read(document: &Document<'_>, drafts: &mut Drafts) -> Result<Report, ReadError> {
    let root = document.root_element();
    let mut report = new_report(&IMPORTER);
    report.version = Some(attribute(root, "version").to_owned());
    report.started = times::from_seconds(attribute(root, "start"));
    let finished = children(root, "runstats")
        .flat_map(|stats| children(stats, "finished"))
        .next();
    report.ended = finished.and_then(|node| times::from_seconds(attribute(node, "time")));
    let ended_well = |node: Node<'_, '_>| matches!(attribute(node, "exit"), "" | "success");

    // What scripts say of no host in particular is about the network.
    for list in ["prescript", "postscript"] {
        for script in children(root, list).flat_map(|list| children(list, "script")) {
            read_script(script, "", "network", drafts)?;
        }
    }
    let mut areas = BTreeSet::new();
    for host in children(root, "host") {
        drafts.counts.add("hosts");
        let address = address_of(host);
        let state = children(host, "status").next();
        if state.is_some_and(|status| attribute(status, "state") == "up") {
            drafts.counts.add("up");
            // Of a host that took too long, nmap lists no port.
            if attribute(host, "timedout") != "true" {
                areas.insert(address.to_owned());
            }
        }
        for script in children(host, "hostscript").flat_map(|list| children(list, "script")) {
            read_script(script, address, "host", drafts)?;
        }
        for port in children(host, "ports").flat_map(|ports| children(ports, "port")) {
            read_port(port, address, drafts)?;
        }
    }
    let ports = children(root, "scaninfo").flat_map(ranges_of).collect();
    report.scope = Scope {
        is_complete: finished.is_some_and(ended_well),
        checks: Checks::Ports(ports),
        ..Scope::of_areas(areas)
    };
    Ok(report)
}

/// The address by which a host is known; a hardware address only where there is no other.
fn address_of<'a>(host: Node<'a, '_>) -> &'a str {
    let addresses = || children(host, "address");
    let is_network = |node: &Node<'_, '_>| attribute(*node, "addrtype") != "mac";
    let found = addresses().find(is_network).or_else(|| addresses().next());
    found
        .map(|node| attribute(node, "addr"))
        .unwrap_or_default()
}

fn read_port(port: Node<'_, '_>, address: &str, drafts: &mut Drafts) -> Result<(), ReadError> {
    drafts.counts.add("ports");
    let protocol = Some(attribute(port, "protocol")).filter(|p| !p.is_empty());
    let group = format!(
        "{}/{}",
        protocol.unwrap_or("tcp"),
        attribute(port, "portid")
    );
    for script in children(port, "script") {
        read_script(script, address, &group, drafts)?;
    }
    let state = children(port, "state").next();
    if state.is_none_or(|state| attribute(state, "state") != "open") {
        return Ok(());
    }

    drafts.item()?;
    drafts.counts.add("open_ports");
    let service = children(port, "service").next();
    let said = |name: &str| {
        service
            .map(|service| attribute(service, name))
            .unwrap_or_default()
    };
    let name = said("name");
    let is_plain = PLAIN_TEXT.contains(&name) && said("tunnel").is_empty();
    let product = [said("product"), said("version"), said("extrainfo")]
        .into_iter()
        .filter(|text| !text.is_empty());
    let product = product.collect::<Vec<_>>().join(" ");
    let title = if is_plain {
        format!("{name} answers in plain text on {group}")
    } else {
        format!(
            "{group} answers{}{name}",
            if name.is_empty() { "" } else { ": " }
        )
    };

    drafts.push(Draft {
        title,
        severity: if is_plain {
            Severity::Medium
        } else {
            Severity::Info
        },
        location: format!("{address} {group}"),
        area: address.to_owned(),
        group: group.clone(),
        detail: product,
        identity: vec![address.to_owned(), group],
        ..Draft::of(
            "open-port",
            if is_plain {
                Kind::PlainTextPort
            } else {
                Kind::Port
            },
        )
    })
}

/// Takes in what a script found. What it found is of another group than the port: a scan without
/// the script does not say that it is gone.
fn read_script(
    script: Node<'_, '_>,
    address: &str,
    place: &str,
    drafts: &mut Drafts,
) -> Result<(), ReadError> {
    drafts.counts.add("scripts");
    // A list of vulnerabilities is longer than other texts.
    let output = script.attribute("output").unwrap_or_default();
    let id = attribute(script, "id");
    let is_proven = output.contains("State: VULNERABLE") || output.contains("State: LIKELY VULN");
    let cves = cves_in(output);
    let lists = matches!(id, "vulners" | "vulscan") && !cves.is_empty();
    if !is_proven && !lists {
        return Ok(());
    }

    drafts.counts.add("script_findings");
    drafts.push(Draft {
        title: if lists {
            format!("{id} lists vulnerabilities of what answers on {place}")
        } else {
            format!("{id} says that {place} is vulnerable")
        },
        severity: if is_proven {
            Severity::High
        } else {
            worst_of(output)
        },
        location: format!("{address} {place}"),
        area: address.to_owned(),
        group: format!("script {id} {place}"),
        cves,
        detail: output.to_owned(),
        identity: vec![address.to_owned(), place.to_owned()],
        ..Draft::of(id, Kind::Component)
    })
}

/// The worst score that stands after a CVE ID in a list.
fn worst_of(output: &str) -> Severity {
    let mut worst = 0.0_f64;
    let mut is_after = false;
    for word in output.split_whitespace() {
        if is_after && let Ok(score) = word.parse::<f64>() {
            worst = worst.max(if (0.0..=10.0).contains(&score) {
                score
            } else {
                0.0
            });
        }
        is_after = word.starts_with("CVE-");
    }
    match worst {
        9.0.. => Severity::Critical,
        7.0.. => Severity::High,
        4.0.. => Severity::Medium,
        _ => Severity::Low,
    }
}

fn ranges_of(info: Node<'_, '_>) -> impl Iterator<Item = PortRange> {
    let protocol = attribute(info, "protocol");
    // All of it: half a number would be another port.
    let services = info.attribute("services").unwrap_or_default();
    services
        .split(',')
        .take(RANGES_MAX)
        .filter_map(move |range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(PortRange {
                protocol: protocol.to_owned(),
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
            })
        })
}
