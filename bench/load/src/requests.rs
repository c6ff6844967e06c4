//! What is sent, written beforehand.

use std::{fs, sync::Arc};

use bytes::Bytes;

use crate::{Ask, Failure, Plan};

/// All requests, again and again, from one of them on.
#[derive(Clone)]
pub(crate) struct Requests {
    all: Arc<Vec<Bytes>>,
    next: usize,
}

impl Requests {
    /// Those of the plan's file.
    pub(crate) fn read<A: Ask>(plan: &Plan) -> Result<Self, Failure> {
        let bodies = match (&plan.body, &plan.bodies) {
            (Some(file), None) => vec![fs::read(file)?],
            (None, Some(file)) => split(&fs::read(file)?)?,
            _ => return Err("expected one of `body` and `bodies`".into()),
        };
        let all: Vec<_> = bodies.iter().map(|body| A::write(plan, body)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err("no bodies".into()) } else { Ok(Self { all: Arc::new(all), next: 0 }) }
    }

    /// The same, from a place of this connection's own.
    pub(crate) fn for_connection(&self, seed: u64, connection: usize) -> Self {
        let next = usize::try_from(mixed(seed << 32 | connection as u64) % self.all.len() as u64).unwrap_or_default();
        Self { all: self.all.clone(), next }
    }
}

impl Iterator for Requests {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let request = self.all.get(self.next).cloned();
        self.next = (self.next + 1) % self.all.len();
        request
    }
}

fn split(mut file: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut bodies = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (body, rest) = rest.split_at_checked(length).ok_or("`bodies` ends within a body")?;
        bodies.push(body.to_vec());
        file = rest;
    }
    if file.is_empty() { Ok(bodies) } else { Err("`bodies` ends within a length".into()) }
}

/// SplitMix64: numbers that look random, of numbers that do not.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
