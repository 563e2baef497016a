//! Ports for servers that a test starts.

use std::net::TcpListener;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that Linux gives to connections (32,768 and more), and below those of the shared engines.
const PORTS: Range<u16> = 10_000..19_000;

/// Ports that nobody uses, each given once in a process.
///
/// Out of the kernel's own range a client could get the port of a server that is not up yet or away for a moment, and even
/// be connected with itself.
pub fn free<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Programs that run side by side begin at different ports.
    let first = std::process::id().wrapping_mul(101);
    let span = u32::from(PORTS.end - PORTS.start);
    std::array::from_fn(|_| {
        let numbers = (0..span).map(|_| first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span);
        let mut ports = numbers.map(|number| PORTS.start + u16::try_from(number).unwrap());
        ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
    })
}
