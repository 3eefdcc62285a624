//! Opening a port.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Listen;

/// Connections that may wait for the accept loop.
const BACKLOG: u32 = 4096;

/// Listens where a setting says; `flag` is its name for whoever reads the error.
///
/// # Errors
/// A sentence that says what to do.
pub fn open(wanted: &Listen, flag: &str) -> Result<TcpListener, String> {
    let cannot = |cause: Error| match cause.kind() {
        ErrorKind::AddrInUse => format!("another program listens on {wanted}: stop it, or choose another {flag}"),
        ErrorKind::PermissionDenied => format!("not allowed to listen on {wanted}: choose a port above 1023"),
        _ => format!("{flag}: cannot listen on {wanted}: {cause}"),
    };
    let mut first = None;
    for address in wanted.addresses().map_err(cannot)? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            // Another program has what is meant; the next address would only seem to work.
            Err(cause) if cause.kind() == ErrorKind::AddrInUse => return Err(cannot(cause)),
            Err(cause) => drop(first.get_or_insert(cause)),
        }
    }
    Err(cannot(first.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into())))
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
