//! What a client keeps for the server between two rounds: taken back from it only as it was given out.

use rmcp::model::ErrorData;

/// The system has no random bytes to give.
pub(crate) struct NoRandomness;

/// Seals what leaves, and checks what comes back. It is not secret: a client can read it.
#[derive(Clone)]
pub(crate) struct Seal([u8; blake3::KEY_LEN]);

impl Seal {
    /// A key of its own for this process.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        let mut key = [0; blake3::KEY_LEN];
        getrandom::fill(&mut key).map_err(|_| NoRandomness)?;
        Ok(Self(key))
    }

    /// What this tool will want to know in the next round.
    pub(crate) fn close(&self, tool: &str, state: &str) -> String {
        format!("{}.{state}", self.mark(tool, state).to_hex())
    }

    /// What this tool knew in the last round.
    pub(crate) fn open(&self, tool: &str, sealed: &str) -> Result<String, ErrorData> {
        let refused = || ErrorData::invalid_params("the requestState is not the one that this server gave out", None);
        let (mark, state) = sealed.split_once('.').ok_or_else(refused)?;
        let mark = blake3::Hash::from_hex(mark).map_err(|_| refused())?;
        // Compares in constant time.
        if mark == self.mark(tool, state) { Ok(state.to_owned()) } else { Err(refused()) }
    }

    fn mark(&self, tool: &str, state: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.0, format!("{tool}\n{state}").as_bytes())
    }
}
