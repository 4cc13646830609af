//! All links to the engines, each through its own proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use url::Url;

use super::proxy::Link;
use crate::pick::Pick;
use crate::workers::Environment;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX / 8;

pub struct Links {
    /// From the worker at each place to the broker.
    pub to_broker: Vec<Arc<Link>>,
    /// From the worker at each place to the database.
    pub to_database: Vec<Arc<Link>>,
    pub terminals: Vec<Arc<Link>>,
    pub biller: Arc<Link>,
    /// From operators to the database.
    pub operators: Arc<Link>,
}

impl Links {
    pub async fn open(
        (broker, database): (&str, &str),
        workers: usize,
        terminals: usize,
        seed: u64,
    ) -> Result<Self> {
        let (broker, database) = (address(broker, 5672)?, address(database, 5432)?);
        let mut number = 0;
        let mut seed = || {
            number += 1;
            seed.wrapping_add(PURPOSE + number)
        };
        let mut links = Self {
            to_broker: Vec::new(),
            to_database: Vec::new(),
            terminals: Vec::new(),
            biller: Link::open("biller to broker".to_owned(), broker, seed()).await?,
            operators: Link::open("operators to database".to_owned(), database, seed()).await?,
        };
        for place in 0..workers {
            let name = format!("worker place {place} to broker");
            links.to_broker.push(Link::open(name, broker, seed()).await?);
            let name = format!("worker place {place} to database");
            links.to_database.push(Link::open(name, database, seed()).await?);
        }
        for terminal in 0..terminals {
            let name = format!("terminal {terminal} to broker");
            links.terminals.push(Link::open(name, broker, seed()).await?);
        }
        Ok(links)
    }

    /// Environment variables that lead the worker at a place through its proxies.
    pub fn environment(&self, place: usize, direct: &Environment) -> Result<Environment> {
        let through = |(name, url): &(&'static str, String)| {
            let port = match *name {
                "AMQP_URL" => Some(self.to_broker[place].port),
                "DATABASE_URL" => Some(self.to_database[place].port),
                _ => None,
            };
            Ok((*name, crate::installation::url_at_port(url, port)?))
        };
        direct.iter().map(through).collect()
    }

    /// Some links of one kind: mostly one, sometimes all.
    pub fn some(&self, pick: &mut Pick) -> Vec<Arc<Link>> {
        let biller = vec![self.biller.clone()];
        let kind = match pick.weighted(&[(35, 0), (35, 1), (20, 2), (10, 3)]) {
            0 => &self.to_broker,
            1 => &self.to_database,
            2 => &self.terminals,
            _ => &biller,
        };
        match pick.chance(30) {
            true => kind.clone(),
            false => vec![kind[pick.index(kind.len())].clone()],
        }
    }

    /// Points all links to the database at another server.
    pub fn move_database(&self, port: u16) {
        for link in self.to_database.iter().chain([&self.operators]) {
            link.lead_to((Ipv4Addr::LOCALHOST, port).into());
        }
    }

    /// Heals all links.
    pub fn heal(&self) {
        let workers = self.to_broker.iter().chain(&self.to_database);
        for link in workers.chain(&self.terminals).chain([&self.biller]) {
            link.set(Default::default());
        }
    }
}

/// The address of a URL; engines under test are on this machine.
fn address(url: &str, default_port: u16) -> Result<SocketAddr> {
    let url: Url = url.parse()?;
    let host: Ipv4Addr = match url.host_str().context("a URL with a host")? {
        "localhost" => Ipv4Addr::LOCALHOST,
        host => host.parse().with_context(|| format!("{host}: give the engine's IPv4 address"))?,
    };
    Ok((host, url.port().unwrap_or(default_port)).into())
}
