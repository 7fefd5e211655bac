//! Passwords, and what is kept of them: argon2id with the crate's parameters (19 MiB, two passes), OWASP's first choice.

use std::{fmt, sync::LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use aws_lc_rs::rand;

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswordHash(String);

/// What is kept as a hash is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what is kept of the password is no hash: set it anew (users reset-password)")]
pub struct MalformedHash;

/// Whoever names a user that is not there must not learn so from the time that it takes.
static NOBODY: LazyLock<PasswordHash> = LazyLock::new(|| Password::random().hash());

impl Password {
    /// 16 random bytes, as text.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        // The system's source of random numbers; without it nothing here could be trusted.
        rand::fill(&mut bytes).unwrap_or_else(|_| std::process::abort());
        // Without signs: one that began with `-` could not be typed behind `--password`.
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// The text, for the one who is to be told.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What may be kept. Takes some 20 ms of a core.
    #[must_use]
    pub fn hash(&self) -> PasswordHash {
        let hash: Result<phc::PasswordHash, _> = Argon2::default().hash_password(self.0.as_bytes());
        // Fails only if there are no random numbers, or the password is longer than 4 GiB.
        PasswordHash(hash.map_or_else(|_| std::process::abort(), |hash| hash.to_string()))
    }

    /// Whether it is the one of which that is kept; of nobody, it never is. Takes as long either way.
    ///
    /// # Errors
    /// What is kept is no hash.
    pub fn is_of(&self, kept: Option<&PasswordHash>) -> Result<bool, MalformedHash> {
        let hash = phc::PasswordHash::new(&kept.unwrap_or(&NOBODY).0).map_err(|_| MalformedHash)?;
        Ok(Argon2::default().verify_password(self.0.as_bytes(), &hash).is_ok() && kept.is_some())
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("***")
    }
}

impl PasswordHash {
    /// As it is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for PasswordHash {
    fn from(text: String) -> Self {
        Self(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_is_the_right_one() {
        let password = Password::from("hunter2".to_owned());
        let kept = password.hash();
        assert!(kept.as_str().starts_with("$argon2id$"), "{kept:?}");
        assert_ne!(kept, password.hash(), "each has a salt of its own");
        assert_eq!(password.is_of(Some(&kept)), Ok(true));
        assert_eq!(Password::from("hunter3".to_owned()).is_of(Some(&kept)), Ok(false));
        assert_eq!(password.is_of(None), Ok(false));
        assert_eq!(password.is_of(Some(&PasswordHash("hunter2".to_owned()))), Err(MalformedHash));
        assert_eq!(format!("{password:?}"), "***");
        assert_ne!(Password::random(), Password::random());
    }
}
