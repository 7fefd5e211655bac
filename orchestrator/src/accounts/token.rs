//! Tokens: random, known to whoever holds them; here only their hash is kept.

use std::fmt;

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// What a token begins with, so that whoever finds one in a file knows what it is.
pub const TOKEN_PREFIX: &str = "sc_";

/// What stands for a user instead of a password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// 32 random bytes.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        // The system's source of random numbers; without it nothing here could be trusted.
        rand::fill(&mut bytes).unwrap_or_else(|_| std::process::abort());
        Self(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The text, for the one who is to hold it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it. So many random bits need no slow hash.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(&self.0).to_vec()
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}
