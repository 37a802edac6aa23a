//! The figures of the experiments that these follow, to stand beside one's own: "The Evaluation of Network Performance and CPU
//! Utilization during Transfer between Virtual Machines" (GJCST XI-XIII, 2011), its tables 1 to 4. They come from other
//! machines of another time, so what can be compared are ratios to each one's own quiet round trip.

/// Median round trips of a move in the paper, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// What moved the machine.
    pub name: &'static str,
    /// Before.
    pub before_ms: f64,
    /// While it moved.
    pub during_ms: f64,
    /// Right after, until it had settled; where the paper says.
    pub settle_ms: Option<f64>,
    /// When it had settled; where the paper says.
    pub after_ms: Option<f64>,
}

/// Tables 3 and 4.
pub const MOVES: [Move; 2] = [
    Move {
        name: "the paper, with its script",
        before_ms: 0.25,
        during_ms: 1.0,
        settle_ms: Some(0.5),
        after_ms: Some(0.25),
    },
    Move { name: "the paper, Xen alone", before_ms: 0.25, during_ms: 1.3, settle_ms: None, after_ms: None },
];

/// Response times over held memory, and processor use.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Between what.
    pub name: &'static str,
    /// With the least and with the most memory, in milliseconds.
    pub response_ms: (f64, f64),
    /// Processor use in percent.
    pub processor: f64,
}

/// Tables 1 and 2: 10 to 50 MB.
pub const MEMORY: [Memory; 2] = [
    Memory { name: "the paper, guest to guest under Xen", response_ms: (0.046, 0.141), processor: 44.0 },
    Memory { name: "the paper, plain machine", response_ms: (0.022, 0.110), processor: 41.0 },
];
