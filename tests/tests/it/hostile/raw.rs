//! Requests byte by byte, as no client library would send them.

use std::time::Duration;

use picloud_tests::TestApp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take before it counts as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// A new connection to the server.
pub(super) async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.address).await.unwrap()
}

/// Send bytes, and end sending. Gives what comes back until the server closes the connection.
pub(super) async fn exchange(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = connect(app).await;
    // The server may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    rest(stream).await
}

/// What comes until the server closes the connection, or stops sending.
pub(super) async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers in a text.
pub(super) fn statuses(text: &str) -> Vec<u16> {
    text.match_indices("HTTP/1.1 ")
        .filter_map(|(at, found)| text.get(at + found.len()..)?.get(..3)?.parse().ok())
        .collect()
}

/// A request without a body.
pub(super) fn get(app: &TestApp, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {}\r\n", app.address)
}
