//! Secrets at rest: values are sealed with a key that the database never sees. Airflow's Fernet key.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hmac, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// The keys of this deployment: the first one seals, all of them open, so that a key can be replaced. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keys(std::sync::Arc<Vec<Key>>);

struct Key {
    id: [u8; ID_LENGTH],
    key: RandomizedNonceKey,
    signing: [u8; KEY_LENGTH],
}

/// What is sealed: it can be opened only as what it was sealed as, so that one secret cannot stand in for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed<'n> {
    /// The value of a variable.
    Variable(&'n str),
    /// The password of a connection.
    Password(&'n str),
    /// What else a connection needs.
    Extra(&'n str),
    /// What a browser brings back when somebody has signed in elsewhere.
    SignIn,
}

impl fmt::Display for Sealed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(out, "the variable {name}"),
            Self::Password(name) => write!(out, "the password of the connection {name}"),
            Self::Extra(name) => write!(out, "the extra of the connection {name}"),
            Self::SignIn => out.write_str("a sign-in that was begun"),
        }
    }
}

/// Why something cannot be sealed or opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no key.
    #[error(
        "{0} cannot be kept secret without a key: set {KEY_VARIABLE} for every process (openssl rand -base64 32 makes one)"
    )]
    NoKey(String),
    /// Sealed with a key that is not there, or changed since.
    #[error(
        "{0} was sealed with a key that {KEY_VARIABLE} does not have, or it was changed since: give the key back, or \
         delete it and make it again"
    )]
    CannotOpen(String),
    /// The setting holds something else than keys.
    #[error("{KEY_VARIABLE} must be keys of 32 bytes in base64, separated by commas: the one at place {0} is not")]
    BadKey(usize),
}

/// The setting with the keys.
pub const KEY_VARIABLE: &str = "STREAMCOMMERCE_SECRET_KEY";

const KEY_LENGTH: usize = 32;
const ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 12;

impl Keys {
    /// Reads keys as the setting has them.
    ///
    /// # Errors
    /// One of them is not 32 bytes in base64.
    pub fn parse(setting: &str) -> Result<Self, SecretError> {
        let texts = setting.split(',').map(str::trim).filter(|text| !text.is_empty());
        let keys = texts.enumerate().map(|(at, text)| key(text).ok_or(SecretError::BadKey(at + 1)));
        keys.collect::<Result<Vec<_>, _>>().map(|keys| Self(keys.into()))
    }

    /// The keys of this process; none if the setting is empty.
    ///
    /// # Errors
    /// The setting holds something else than keys.
    pub fn from_env() -> Result<Self, SecretError> {
        Self::parse(&std::env::var(KEY_VARIABLE).unwrap_or_default())
    }

    /// What signs tokens, derived from each key: the first one signs, all of them verify.
    #[must_use]
    pub fn signing(&self) -> Vec<[u8; KEY_LENGTH]> {
        self.0.iter().map(|key| key.signing).collect()
    }

    /// Seals a text.
    ///
    /// # Errors
    /// There is no key.
    pub fn seal(&self, what: Sealed<'_>, text: &str) -> Result<Vec<u8>, SecretError> {
        let none = || SecretError::NoKey(what.to_string());
        let key = self.0.first().ok_or_else(none)?;
        let mut secret = text.as_bytes().to_vec();
        let aad = Aad::from(what.to_string());
        let nonce = key.key.seal_in_place_append_tag(aad, &mut secret).map_err(|_| none())?;
        Ok([&key.id[..], nonce.as_ref(), &secret].concat())
    }

    /// Opens what was sealed.
    ///
    /// # Errors
    /// It was sealed with another key or as something else, or it was changed.
    pub fn open(&self, what: Sealed<'_>, sealed: &[u8]) -> Result<String, SecretError> {
        let cannot = || SecretError::CannotOpen(what.to_string());
        let (id, rest) = sealed.split_at_checked(ID_LENGTH).ok_or_else(cannot)?;
        let (nonce, secret) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or_else(cannot)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(cannot)?;
        let mut secret = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = key.key.open_in_place(nonce, Aad::from(what.to_string()), &mut secret).map_err(|_| cannot())?;
        String::from_utf8(text.to_vec()).map_err(|_| cannot())
    }
}

fn key(text: &str) -> Option<Key> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == KEY_LENGTH)?;
    let mut id = [0; ID_LENGTH];
    id.copy_from_slice(&Sha256::digest(&bytes)[..ID_LENGTH]);
    let mut signing = [0; KEY_LENGTH];
    // The one key is never used for two things.
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"streamcommerce: sign tokens");
    signing.copy_from_slice(tag.as_ref());
    Some(Key { id, key: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?, signing })
}

/// A new key, as the setting has it.
#[must_use]
pub fn new_key() -> String {
    let mut bytes = [0; KEY_LENGTH];
    // The system's source of random numbers; without it nothing here could be trusted.
    rand::fill(&mut bytes).unwrap_or_else(|_| std::process::abort());
    STANDARD.encode(bytes)
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} keys", self.0.len())
    }
}

/// Whether what stands under such a name is to be hidden: Airflow's list of sensitive fields.
#[must_use]
pub fn is_sensitive(name: &str) -> bool {
    const SENSITIVE: [&str; 14] = [
        "access_token",
        "api_key",
        "apikey",
        "authorization",
        "keyfile_dict",
        "passphrase",
        "passwd",
        "password",
        "private_key",
        "proxies",
        "proxy",
        "secret",
        "service_account",
        "token",
    ];
    let name = name.to_lowercase();
    SENSITIVE.iter().any(|word| name.contains(word))
}

/// What stands in the place of a secret.
pub const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_only_as_what_it_is_and_with_its_key() {
        let (old, new) = (new_key(), new_key());
        let before = Keys::parse(&old).unwrap();
        let sealed = before.seal(Sealed::Variable("a"), "hunter2 – ü").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(sealed, before.seal(Sealed::Variable("a"), "hunter2 – ü").unwrap(), "never the same twice");
        let after = Keys::parse(&format!("{new}, {old}")).unwrap();
        assert_eq!(after.open(Sealed::Variable("a"), &sealed).unwrap(), "hunter2 – ü");
        let cannot = |what: Sealed<'_>, keys: &Keys, sealed: &[u8]| {
            assert_eq!(keys.open(what, sealed), Err(SecretError::CannotOpen(what.to_string())));
        };
        cannot(Sealed::Variable("b"), &after, &sealed);
        cannot(Sealed::Password("a"), &after, &sealed);
        cannot(Sealed::Variable("a"), &Keys::parse(&new).unwrap(), &sealed);
        cannot(Sealed::Variable("a"), &after, &sealed[..10]);
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        cannot(Sealed::Variable("a"), &after, &changed);
        let again = after.seal(Sealed::Variable("a"), "x").unwrap();
        cannot(Sealed::Variable("a"), &before, &again);
    }

    #[test]
    fn without_a_key_nothing_is_sealed_and_a_bad_key_is_told_by_its_place() {
        let told = Keys::default().seal(Sealed::Password("db"), "x").unwrap_err().to_string();
        assert!(told.contains("the password of the connection db cannot be kept secret without a key"), "{told}");
        assert_eq!(Keys::parse(&format!("{},short", new_key())).unwrap_err(), SecretError::BadKey(2));
        assert!(!format!("{:?}", Keys::parse(&new_key()).unwrap()).contains('='));
    }
}
