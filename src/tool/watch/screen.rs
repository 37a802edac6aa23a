//! The terminal: its size, its keys, and a picture that is drawn over the one before.

use std::fmt::Write as _;
use std::io::{IsTerminal, Stdin, Stdout, Write};
use std::os::fd::BorrowedFd;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::picture::{Line, Look, Size};

/// What a terminal has that does not say (that of a serial line, for one).
const USUAL: Size = Size { columns: 80, lines: 24 };
/// The keys that end it: q, ^C, ^D, ^\.
const ENDS: [u8; 5] = [b'q', b'Q', 3, 4, 28];

/// A screen of its own, no cursor, long lines are not broken (xterm's control sequences, which Linux'
/// console, tmux and screen know).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// All of that as it was.
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal, as long as it is ours.
#[derive(Debug)]
pub(super) struct Screen {
    out: Stdout,
    keys: Stdin,
    /// How the terminal was; `None` where no key can be read, and ^C ends the process at once.
    before: Option<Termios>,
    has_colours: bool,
    shown: (Size, Vec<Line>),
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it does not do what it is told.
    pub(super) fn begin(has_colours: bool) -> std::io::Result<Self> {
        let (out, keys) = (std::io::stdout(), std::io::stdin());
        let before = if keys.is_terminal() { Some(tcgetattr(&keys)?) } else { None };
        let screen =
            Self { out, keys, before, has_colours, shown: (Size { columns: 0, lines: 0 }, Vec::new()) };
        if let Some(before) = &screen.before {
            let mut ours = before.clone();
            // Keys come at once and are not shown. ^C is one of them, so that all is put back after it.
            ours.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            ours.special_codes[SpecialCodeIndex::VMIN] = 1;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&screen.keys, OptionalActions::Flush, &ours)?;
            let mut out = &screen.out;
            out.write_all(ENTER.as_bytes()).and_then(|()| out.flush())?;
        }
        Ok(screen)
    }

    /// Its size just now.
    pub(super) fn size(&self) -> Size {
        let size = tcgetwinsize(&self.out).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL, |size| Size { columns: size.ws_col.into(), lines: size.ws_row.into() })
    }

    /// What becomes ready when a key is pressed.
    pub(super) fn keys(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.before.as_ref().map(|_| self.keys.as_fd())
    }

    /// Reads the keys that were pressed: whether one of them ends it. Waits for one if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn is_ended(&self) -> std::io::Result<bool> {
        let mut pressed = [0; 64];
        match rustix::io::read(&self.keys, &mut pressed) {
            // The terminal has gone.
            Ok(0) => Ok(true),
            Ok(read) => Ok(pressed[..read].iter().any(|key| ENDS.contains(key))),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Draws this over what is there, in one write, so that nothing flickers.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn show(&mut self, size: Size, lines: Vec<Line>) -> std::io::Result<()> {
        let next = (size, lines);
        if next == self.shown {
            return Ok(());
        }
        let mut text = "\x1b[H".to_owned();
        for (at, line) in next.1.iter().enumerate() {
            let between = if at == 0 { "" } else { "\r\n" };
            // Behind its last column a terminal would erase that.
            let rest = if line.text.chars().count() < next.0.columns { "\x1b[K" } else { "" };
            // A String takes all that it is given.
            let _ = write!(text, "{between}{}{}\x1b[0m{rest}", self.code(line.look), line.text);
        }
        if next.1.len() < next.0.lines {
            text.push_str("\r\n\x1b[J");
        }
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush())?;
        self.shown = next;
        Ok(())
    }

    /// How this looks. What it means is said in words, too.
    fn code(&self, look: Look) -> &'static str {
        match look {
            Look::Plain => "",
            Look::Head => "\x1b[7m",
            Look::Strong => "\x1b[1m",
            Look::Trouble if self.has_colours => "\x1b[1;31m",
            Look::Trouble => "\x1b[1m",
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        // A terminal that has gone needs nothing put back. The last picture stays to be read.
        let last: String = self.shown.1.iter().map(|line| format!("{}\n", line.text.trim_end())).collect();
        let _ = write!(self.out, "{LEAVE}").and_then(|()| self.out.flush());
        let _ = tcsetattr(&self.keys, OptionalActions::Flush, before);
        let _ = write!(self.out, "{last}").and_then(|()| self.out.flush());
    }
}
