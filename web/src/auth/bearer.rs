//! Short-lived tokens for the API, as Airflow's: JWTs that name a user. They are signed, not kept.

use chrono::{TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use orchestrator::{accounts::Token, secrets::Keys};
use serde::{Deserialize, Serialize};

/// How long a token is good: Airflow's `[api_auth] jwt_expiration_time`.
const LENGTH: TimeDelta = TimeDelta::days(1);

const ISSUER: &str = "streamcommerce";

/// Signs tokens with the first key; every key verifies, so that one can be replaced.
pub(crate) struct Signer {
    sign: EncodingKey,
    verify: Vec<DecodingKey>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} keys", self.verify.len())
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    iat: i64,
    exp: i64,
}

impl Signer {
    /// With the deployment's keys. Without any, tokens are good for as long as this process lives.
    pub(crate) fn new(keys: &Keys) -> Self {
        let mut signing: Vec<_> = keys.signing().iter().map(|key| key.to_vec()).collect();
        if signing.is_empty() {
            signing.push(Token::random().hash());
        }
        Self {
            sign: EncodingKey::from_secret(&signing[0]),
            verify: signing.iter().map(|key| DecodingKey::from_secret(key)).collect(),
        }
    }

    /// A token of that user.
    pub(crate) fn sign(&self, username: &str) -> anyhow::Result<String> {
        let now = Utc::now();
        let claims = Claims {
            sub: username.to_owned(),
            iss: ISSUER.to_owned(),
            iat: now.timestamp(),
            exp: (now + LENGTH).timestamp(),
        };
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)?)
    }

    /// The user that a token names and when it was signed, if we have signed it and it is not over.
    pub(crate) fn verify(&self, token: &str) -> Option<(String, i64)> {
        let mut wanted = Validation::new(Algorithm::HS256);
        wanted.set_issuer(&[ISSUER]);
        wanted.leeway = 0;
        let verified = |key| jsonwebtoken::decode::<Claims>(token, key, &wanted).ok();
        self.verify.iter().find_map(verified).map(|token| (token.claims.sub, token.claims.iat))
    }
}

#[cfg(test)]
mod tests {
    use orchestrator::secrets::new_key;

    use super::*;

    #[test]
    fn only_what_we_have_signed_lets_somebody_in() {
        let [old, new] = [new_key(), new_key()];
        let keys = |setting: &str| Signer::new(&Keys::parse(setting).unwrap());
        let token = keys(&old).sign("ada").unwrap();
        let name = |signer: &Signer| signer.verify(&token).map(|(name, _)| name);
        assert_eq!(name(&keys(&old)).as_deref(), Some("ada"));
        assert_eq!(name(&keys(&format!("{new},{old}"))).as_deref(), Some("ada"), "the key was replaced");
        assert_eq!(keys(&new).verify(&token), None);
        assert_eq!(keys("").verify(&token), None);
        let (head, tail) = token.split_at(token.len() / 2);
        assert_eq!(keys(&old).verify(&format!("{head}x{}", &tail[1..])), None, "tampered with");

        let signer = keys(&old);
        let expired = Claims { sub: "ada".to_owned(), iss: ISSUER.to_owned(), iat: 0, exp: Utc::now().timestamp() - 1 };
        let expired = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &expired, &signer.sign).unwrap();
        assert_eq!(signer.verify(&expired), None);
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJpc3MiOiJzdHJlYW1jb21tZXJjZSIsImV4cCI6OTk5OTk5OTk5OX0.";
        assert_eq!(signer.verify(unsigned), None);
    }
}
