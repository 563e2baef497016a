//! `up`: every role in one process, from bound addresses to the last drained piece of work.

use std::net::SocketAddr;

use super::failure::Failure;
use crate::config::Config;

/// Opens the doors that `config` names.
pub fn open_doors(config: &Config) -> Result<connectors::Doors, Failure> {
    Err(Failure::failed(format!("cannot open the doors in {}", config.data.display()), "wait for them"))
}

/// The address under which `listen` is reached from this machine.
pub fn url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "[::1]".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}/", listen.port())
}
