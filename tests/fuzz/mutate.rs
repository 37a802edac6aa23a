//! How an input is made of others: a few of the changes that break readers, drawn at random, the same ones for the same seed.

use fastrand::Rng;

/// The longest input, in bytes.
pub(super) const LONGEST: usize = 128 << 10;

/// What breaks readers, besides noise: numbers at the edge of what a type holds, beginnings without ends, what is special to a format.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "-1e-999",
    "NaN",
    "inf",
    "0x",
    "0xffffffffffffffff",
    "00",
    "+1",
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "\u{1b}[2J",
    "\u{feff}",
    "\u{202e}",
    "ß",
    "💣",
    "\u{fffd}",
    "\\",
    "\"",
    "'",
    "\\u0000",
    "\\ud800",
    "/",
    "//",
    "..",
    "../..",
    "--",
    "-",
    "x0",
    "x0--incoming",
    "x0--migratedaway",
    "n1",
    "Domain-0",
    "(null)",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[[[[[[[",
    "{\"a\":",
    "((((((((",
    "))))",
    "<a>",
    "</a>",
    "<a/>",
    "<!--",
    "]]>",
    "<![CDATA[",
    "&amp;",
    "&#0;",
    "&lt",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    ";",
    ",",
    ":",
    "=",
    "|",
    "#",
    "PT",
    "P1D",
    "9999-12-31 23:59:60Z",
    "+99:99",
    "999999999999d",
    "2147483648s",
    "\u{0}\u{0}\u{0}\u{1}",
];

/// An input made of `seeds`.
pub(super) fn make(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(seeds).cloned().unwrap_or_default();
    // Mostly one or two: what is changed everywhere is refused at its first byte.
    let changes = 1 << rng.u32(0..4).saturating_sub(rng.u32(0..2));
    for _ in 0..changes {
        change(rng, &mut input, seeds);
    }
    input.truncate(LONGEST);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = rng.usize(0..=input.len());
    let span = at..(at + short(rng)).min(input.len());
    match rng.u32(0..12) {
        0 if at < input.len() => input[at] ^= 1 << rng.u32(0..8),
        1 if at < input.len() => input[at] = rng.u8(..),
        2 => input.truncate(at),
        3 => drop(input.splice(span, [])),
        4 => drop(input.splice(span, token(rng))),
        5 => drop(input.splice(at..at, token(rng))),
        6 => number(rng, input, at),
        7 => {
            // A part of another one.
            let other = rng.choice(seeds).cloned().unwrap_or_default();
            let from = rng.usize(0..=other.len());
            let to = (from + short(rng)).min(other.len());
            drop(input.splice(span, other[from..to].iter().copied()));
        }
        8 => {
            // The same again and again: depth and length.
            let part = if span.is_empty() { token(rng) } else { input[span].to_vec() };
            let times = 1 << rng.u32(0..14);
            let room = LONGEST.saturating_sub(input.len()) / part.len().max(1);
            drop(input.splice(at..at, part.repeat(room.min(times))));
        }
        9 => line(rng, input, at),
        10 => {
            let bytes: Vec<u8> = (0..rng.usize(0..16)).map(|_| rng.u8(..)).collect();
            drop(input.splice(span, bytes));
        }
        _ => {
            let word = rng.choice([0, 1, 4, 0x7fff_ffff, 0x8000_0000, u32::MAX]).unwrap_or_default();
            drop(input.splice(span, word.to_le_bytes()));
        }
    }
}

/// A length that is mostly short.
fn short(rng: &mut Rng) -> usize {
    let most = 1 << rng.u32(0..10);
    rng.usize(0..=most)
}

fn token(rng: &mut Rng) -> Vec<u8> {
    rng.choice(TOKENS).unwrap_or(&"").as_bytes().to_vec()
}

/// Another number in the place of the next one.
fn number(rng: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(from) = input[at..].iter().position(is_digit).map(|more| at + more) else { return };
    let length = input[from..].iter().take_while(|byte| is_digit(byte)).count();
    let other = match rng.u32(0..4) {
        0 => rng.u64(..).to_string(),
        1 => rng.u64(0..1000).to_string(),
        2 => (1_u64 << rng.u32(0..64)).to_string(),
        _ => String::from_utf8(token(rng)).unwrap_or_default(),
    };
    drop(input.splice(from..from + length, other.into_bytes()));
}

/// A line goes, or is there twice.
fn line(rng: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let from = input[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    let to = input[at..].iter().position(|byte| *byte == b'\n').map_or(input.len(), |more| at + more + 1);
    let line = if rng.bool() { Vec::new() } else { input[from..to].repeat(2) };
    drop(input.splice(from..to, line));
}
