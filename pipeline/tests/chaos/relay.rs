//! A wire between a client and a server that can be cut: nothing comes through and nobody is told, as when a cable is pulled.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The wire; dropped, it is gone.
pub struct Relay {
    is_cut: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    /// Listens on `port` of this machine and passes on to `behind`.
    pub async fn between(port: u16, behind: String) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind(address).await.map_err(|error| format!("listen on {address}: {error}"))?;
        let is_cut = Arc::new(watch::Sender::new(false));
        let cuts = Arc::clone(&is_cut);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, behind.clone(), cuts.subscribe()));
            }
        });
        Ok(Self { is_cut, accepting })
    }

    /// From now on nothing comes through.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// New connections come through again; those of before are reset.
    pub fn mend(&self) {
        self.is_cut.send_replace(false);
    }
}

async fn carry(mut client: TcpStream, behind: String, mut cut: watch::Receiver<bool>) {
    // Whoever connects while the wire is cut waits like everybody else.
    if cut.wait_for(|is_cut| !is_cut).await.is_err() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(behind).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = cut.wait_for(|is_cut| *is_cut) => {}
    }
    // Both ends stay open and hear nothing until the wire is mended.
    let _ = cut.wait_for(|is_cut| !is_cut).await;
}
