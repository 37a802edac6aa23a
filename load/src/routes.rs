//! What can be asked for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::held::{BLOCK, Held};
use crate::{matrix, say, system};

/// What the service knows.
#[derive(Debug)]
struct Service {
    held: Mutex<Held>,
    began: Instant,
    requests: AtomicU64,
    accesses: AtomicU64,
    access_microseconds: AtomicU64,
}

type Shared = Arc<Service>;
type Answer = (StatusCode, Json<Value>);

impl Service {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Whoever panicked left whole blocks.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service, which holds at most `limit` bytes.
pub(crate) fn service(limit: Option<u64>) -> Router {
    let service: Shared = Arc::new(Service {
        held: Mutex::new(Held::new(limit)),
        began: Instant::now(),
        requests: AtomicU64::new(0),
        accesses: AtomicU64::new(0),
        access_microseconds: AtomicU64::new(0),
    });
    Router::new()
        .route("/increase_mem", get(increase))
        .route("/decrease_mem", get(decrease))
        .route("/memaccess", get(access))
        .route("/matmul", get(multiply))
        .route("/stats", get(stats))
        .fallback(unknown)
        .layer(from_fn_with_state(service.clone(), count))
        .with_state(service)
}

async fn count(State(service): State<Shared>, request: Request, next: Next) -> Response {
    service.requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

fn refused(status: StatusCode, why: String, held: u64) -> Answer {
    say(&format!("{}: {why}", status.as_u16()));
    (status, Json(json!({ "error": why, "held_bytes": held })))
}

async fn increase(State(service): State<Shared>) -> Answer {
    let mut held = service.held();
    if let Err(why) = held.increase(system::available_bytes()) {
        return refused(StatusCode::INSUFFICIENT_STORAGE, why.to_string(), held.bytes());
    }
    say(&format!("holding {} MiB", held.bytes() >> 20));
    (StatusCode::OK, Json(json!({ "held_bytes": held.bytes(), "step_bytes": BLOCK })))
}

async fn decrease(State(service): State<Shared>) -> Answer {
    let mut held = service.held();
    if !held.decrease() {
        return refused(StatusCode::CONFLICT, "nothing is held".to_owned(), 0);
    }
    say(&format!("holding {} MiB", held.bytes() >> 20));
    (StatusCode::OK, Json(json!({ "held_bytes": held.bytes(), "step_bytes": BLOCK })))
}

async fn access(State(service): State<Shared>) -> Answer {
    let mut held = service.held();
    let began = Instant::now();
    held.touch();
    let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    service.accesses.fetch_add(1, Ordering::Relaxed);
    service.access_microseconds.fetch_add(took, Ordering::Relaxed);
    (StatusCode::OK, Json(json!({ "held_bytes": held.bytes(), "microseconds": took })))
}

async fn multiply(Query(query): Query<HashMap<String, String>>) -> Answer {
    let rows = match matrix::rows(query.get("n").map_or("5", String::as_str)) {
        Ok(rows) => rows,
        Err(wrong) => return (StatusCode::BAD_REQUEST, Json(json!({ "error": wrong.to_string() }))),
    };
    let began = Instant::now();
    let trace = matrix::multiply(rows);
    let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    (StatusCode::OK, Json(json!({ "n": rows, "trace": trace, "microseconds": took })))
}

async fn stats(State(service): State<Shared>) -> Answer {
    let held_bytes = service.held().bytes();
    let answer = json!({
        "held_bytes": held_bytes,
        "requests": service.requests.load(Ordering::Relaxed),
        "accesses": service.accesses.load(Ordering::Relaxed),
        "access_microseconds": service.access_microseconds.load(Ordering::Relaxed),
        "service_seconds": service.began.elapsed().as_secs_f64(),
        "uptime_seconds": system::uptime_seconds(),
        "boot_id": system::boot_id().unwrap_or_default(),
        "resident_bytes": system::resident_bytes(),
    });
    (StatusCode::OK, Json(answer))
}

async fn unknown() -> Answer {
    let routes = "/increase_mem /decrease_mem /memaccess /matmul?n=5 /stats";
    (StatusCode::NOT_FOUND, Json(json!({ "error": format!("there are {routes}") })))
}
