//! Load for a guest: a small HTTP service that holds memory and computes when it is asked to. It is the guest's side of
//! `xen-handoff-bench`, and tells which boot the guest is in. No part of the agent.
//!
//! | route | what it does |
//! |---|---|
//! | `/increase_mem` | holds 10 MiB more, every page of them written |
//! | `/decrease_mem` | lets 10 MiB go |
//! | `/memaccess` | touches every page that is held, and says how long that took |
//! | `/matmul?n=5` | multiplies two matrices of n rows |
//! | `/stats` | what is held, how often it was asked, uptime, boot id, resident memory |
//!
//! Everything answers as JSON to a plain GET, since httperf and a browser can do that. It listens to whoever can reach it and
//! knows no passwords: for a test network.

mod held;
mod matrix;
mod routes;
mod system;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How long answers under way may take after the order to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Holds memory and computes when asked over HTTP: the guest's side of xen-handoff-bench.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address and port to listen on
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The most memory that is held, in MiB [default: as much as is available]
    #[arg(long, value_name = "MIB")]
    limit_mb: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on stderr. Where that is closed, nobody reads it.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "xen-handoff-load: {line}");
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("making the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let address = listener.local_addr().context("asking for our own address")?;
        let mut terminate = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
        let boot = system::boot_id().unwrap_or_else(|| "unknown".to_owned());
        say(&format!("listening on {address}, boot {boot}"));
        let (end, ordered) = oneshot::channel::<()>();
        let service = routes::service(options.limit_mb.map(|mib| mib << 20));
        let serving = axum::serve(listener, service).with_graceful_shutdown(async {
            // An error means that the sender has gone, which ends the service as well.
            let _ = ordered.await;
        });
        let mut serving = std::pin::pin!(serving.into_future());
        let by = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            ended = &mut serving => return ended.context("serving"),
        };
        say(&format!("{by}: ending"));
        drop(end);
        match tokio::time::timeout(FAREWELL, serving).await {
            Ok(ended) => ended.context("serving"),
            Err(_) => {
                say("an answer under way took too long; left it");
                Ok(())
            }
        }
    })
}
