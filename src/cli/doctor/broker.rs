//! The broker as a whole: version, nodes, alarms, connections.

use std::net::IpAddr;

use anyhow::Result;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, bytes, named};
use crate::broker::inspect::{Inspector, Node};

const VERSION: Check = Check::new("broker.version", "the broker's version");
const TLS: Check = Check::new("broker.tls", "whether connections to this vhost are encrypted");
const NODES: Check =
    Check::new("broker.nodes", "the cluster's nodes, and whether they see each other");
const ALARMS: Check = Check::new("broker.alarms", "the nodes' memory and disk alarms");
const MEMORY: Check = Check::new("broker.memory", "the nodes' memory and its limit");
const DISK: Check = Check::new("broker.disk", "the nodes' free disk and its limit");
const BLOCKED: Check = Check::new("broker.blocked", "the state of the connections to this vhost");
const FLAGS: Check = Check::new("broker.feature_flags", "the broker's stable feature flags");

const OF_MANAGEMENT: [Check; 7] = [VERSION, NODES, ALARMS, MEMORY, DISK, BLOCKED, FLAGS];

/// The oldest version with what the topology uses.
const OLDEST: [u32; 3] = [3, 10, 0];

/// Versions that are known to fail, from and to, and how.
const BAD: [([u32; 3], [u32; 3], &str); 1] = [(
    [4, 3, 0],
    [4, 3, 5],
    "a queue with a single active consumer can stop delivering after a consumer timeout",
)];

/// Of the limit, before the alarm stops everybody.
const MEMORY_PERCENT: u64 = 85;

/// Free disk, in limits.
const DISK_LIMITS: u64 = 2;

/// Of the file descriptors.
const DESCRIPTORS_PERCENT: u64 = 85;

pub(super) async fn check(engines: &Engines<'_>) -> Vec<Finding> {
    let (Some(inspector), Some(overview)) = (&engines.inspector, &engines.overview) else {
        let others = OF_MANAGEMENT.map(|check| check.needs("the management API"));
        return [tls(engines, None)].into_iter().chain(others).collect();
    };
    let mut findings = vec![version(&overview.rabbitmq_version)];
    match inspector.links().await {
        Ok(links) => {
            let open: Vec<String> = links
                .iter()
                .filter(|link| !link.ssl && !is_loopback(&link.peer_host))
                .map(|link| format!("{} from {}", link.user, link.peer_host))
                .collect();
            findings.push(tls(engines, Some(&open)));
            let held = links.iter().filter(|link| ["blocked", "blocking"].contains(&&*link.state));
            let held: Vec<String> = held
                .map(|link| format!("{} from {}: {}", link.user, link.peer_host, link.state))
                .collect();
            findings.push(BLOCKED.unless_any(
                &held,
                "free memory or disk on the broker: until then it takes no messages from these",
                &format!("{} connections, none is blocked", links.len()),
            ));
        }
        Err(error) => findings.extend([TLS, BLOCKED].map(|check| check.failed(&error))),
    }
    match inspector.nodes().await {
        Ok(seen) => findings.extend([nodes(&seen), alarms(&seen), memory(&seen), disk(&seen)]),
        Err(error) => {
            findings.extend([NODES, ALARMS, MEMORY, DISK].map(|check| check.failed(&error)));
        }
    }
    findings.push(bounded(FLAGS, flags(inspector)).await);
    findings
}

fn parsed(version: &str) -> Option<[u32; 3]> {
    let numbers = version.split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.map(str::parse).map_while(Result::ok);
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

fn version(text: &str) -> Finding {
    let Some(version) = parsed(text) else {
        return VERSION.yellow(format!("{text:?} cannot be read"), "see that it is 3.10 or newer");
    };
    if version < OLDEST {
        return VERSION.red(text, "upgrade RabbitMQ to 3.10 or newer");
    }
    let bad = BAD.iter().find(|(from, to, _)| (from..=to).contains(&&version));
    match bad {
        Some((_, [major, minor, patch], why)) => VERSION.red(
            format!("{text}: {why}"),
            format!("use a version before it, or newer than {major}.{minor}.{patch}"),
        ),
        None => VERSION.green(text),
    }
}

/// `open`: connections of others that are not encrypted, if they are known.
fn tls(engines: &Engines<'_>, open: Option<&[String]>) -> Finding {
    let Some(endpoint) = engines.endpoint else { return TLS.needs("AMQP_URL") };
    let own = !endpoint.is_encrypted() && !is_loopback(endpoint.host());
    let own = own.then(|| format!("this one, to {}", endpoint.host()));
    let open: Vec<String> =
        own.into_iter().chain(open.unwrap_or_default().iter().cloned()).collect();
    match open.is_empty() {
        true => TLS.green(match endpoint.is_encrypted() {
            true => "encrypted",
            false => "not encrypted, and on this machine",
        }),
        false => TLS.yellow(
            format!("not encrypted: {}; passwords are readable on the network", named(&open)),
            "use amqps:// in their AMQP_URL",
        ),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn nodes(nodes: &[Node]) -> Finding {
    let remedy = "start the nodes that are down; after a network partition, restart those of the smaller side";
    let down =
        nodes.iter().filter(|node| !node.running).map(|node| format!("{} is down", node.name));
    let split = nodes.iter().filter(|node| !node.partitions.is_empty());
    let split = split.map(|node| format!("{} has lost {}", node.name, node.partitions.join(", ")));
    let wrong: Vec<String> = down.chain(split).collect();
    NODES.unless_any(&wrong, remedy, &format!("{} up, and together", nodes.len()))
}

fn alarms(nodes: &[Node]) -> Finding {
    let memory =
        nodes.iter().filter(|node| node.mem_alarm).map(|node| format!("{}: memory", node.name));
    let disk =
        nodes.iter().filter(|node| node.disk_free_alarm).map(|node| format!("{}: disk", node.name));
    let alarms: Vec<String> = memory.chain(disk).collect();
    ALARMS.unless_any(
        &alarms,
        "free memory or disk on that node, or raise vm_memory_high_watermark or lower disk_free_limit: until \
         then the broker takes no messages, and nothing is answered or settled",
        "none",
    )
}

fn memory(nodes: &[Node]) -> Finding {
    let (mut full, mut seen) = (Vec::new(), Vec::new());
    for node in nodes.iter().filter(|node| node.running) {
        let text =
            format!("{} of {} on {}", bytes(node.mem_used), bytes(node.mem_limit), node.name);
        if node.mem_limit > 0 && node.mem_used * 100 > node.mem_limit * MEMORY_PERCENT {
            full.push(text.clone());
        }
        if node.fd_total > 0 && node.fd_used * 100 > node.fd_total * DESCRIPTORS_PERCENT {
            full.push(format!(
                "{} of {} file descriptors on {}",
                node.fd_used, node.fd_total, node.name
            ));
        }
        seen.push(text);
    }
    match full.is_empty() {
        true => MEMORY.green(named(&seen)),
        false => MEMORY.yellow(named(&full), "give the broker more, or drain its queues"),
    }
}

fn disk(nodes: &[Node]) -> Finding {
    let (mut full, mut seen) = (Vec::new(), Vec::new());
    for node in nodes.iter().filter(|node| node.running) {
        let Some(free) = node.disk_free() else { continue };
        let text =
            format!("{} free, limit {} on {}", bytes(free), bytes(node.disk_free_limit), node.name);
        match free < node.disk_free_limit * DISK_LIMITS {
            true => full.push(text),
            false => seen.push(text),
        }
    }
    match full.is_empty() {
        true => DISK.green(named(&seen)),
        false => DISK.yellow(named(&full), "free disk before the alarm stops everybody"),
    }
}

async fn flags(inspector: &Inspector) -> Result<Finding> {
    let disabled: Vec<String> = inspector
        .feature_flags()
        .await?
        .into_iter()
        .filter(|flag| flag.stability != "experimental" && flag.state == "disabled")
        .map(|flag| flag.name)
        .collect();
    Ok(match disabled.is_empty() {
        true => FLAGS.green("all are enabled"),
        false => FLAGS.yellow(
            format!("disabled: {}", named(&disabled)),
            "run `rabbitmqctl enable_feature_flag all` once all nodes are of one version: the next version may \
             not start without them",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Level;

    #[test]
    fn known_bad_versions_are_red() {
        for (text, level) in [
            ("3.10.8", Level::Green),
            ("3.9.30", Level::Red),
            ("4.0.5", Level::Green),
            ("4.3.0", Level::Red),
            ("4.3.5", Level::Red),
            ("4.3.6", Level::Green),
            ("4.3.2-rc.1", Level::Red),
            ("4.10", Level::Green),
            ("?", Level::Yellow),
        ] {
            assert_eq!(version(text).level, level, "{text}");
        }
    }
}
