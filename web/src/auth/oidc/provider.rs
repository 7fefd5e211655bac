//! The provider, and what it says of somebody.

use std::fmt;

use anyhow::{Context, ensure};
use futures::future::BoxFuture;
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken,
    EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenFields,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse,
    StandardTokenResponse, TokenResponse,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
        CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use orchestrator::accounts::{Identity, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whatever else a provider says, roles among it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Claims(Map<String, Value>);

impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

/// The library's client, with our claims.
type OidcClient = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// An `OpenID` provider: `STREAMCOMMERCE_OIDC_*`.
#[derive(Clone)]
pub struct Provider {
    http: Http,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    roles: Roles,
}

impl fmt::Debug for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Provider({})", self.issuer.as_str())
    }
}

/// Which role somebody has by what the provider says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roles {
    /// The claim: a text, or a list of them.
    claim: String,
    /// What it may hold, and the role that stands for it; `*` is anybody.
    of: Vec<(String, Role)>,
}

/// What a browser is sent away with, and has to bring back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    /// Where the browser wanted to go.
    pub(super) next: String,
}

impl Provider {
    /// As the settings say; none if there is no issuer.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn from_env() -> anyhow::Result<Option<Self>> {
        let setting =
            |name: &str| std::env::var(format!("STREAMCOMMERCE_OIDC_{name}")).ok().filter(|text| !text.is_empty());
        let Some(issuer) = setting("ISSUER") else { return Ok(None) };
        let client_id = setting("CLIENT_ID")
            .context("STREAMCOMMERCE_OIDC_ISSUER is set: set STREAMCOMMERCE_OIDC_CLIENT_ID, too")?;
        let roles = Roles::parse(setting("ROLES_CLAIM"), &setting("ROLES").unwrap_or_default())?;
        Ok(Some(Self {
            // Wherever a redirection led, it would not be the provider.
            http: Http(reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(ANSWER).build()?),
            issuer: IssuerUrl::new(issuer).context("STREAMCOMMERCE_OIDC_ISSUER is no address")?,
            client_id: ClientId::new(client_id),
            client_secret: setting("CLIENT_SECRET").map(ClientSecret::new),
            roles,
        }))
    }

    /// Who it is, as people know it.
    pub(crate) fn name(&self) -> String {
        self.issuer.url().host_str().unwrap_or_default().to_owned()
    }

    /// Where a browser is sent to sign in, and what it has to bring back.
    pub(super) async fn begin(&self, redirect: RedirectUrl, next: String) -> anyhow::Result<(String, Begun)> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = self.client(redirect).await?;
        let asked =
            client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random);
        let asked =
            ["profile", "email"].into_iter().fold(asked, |asked, scope| asked.add_scope(Scope::new(scope.to_owned())));
        let (url, state, nonce) = asked.set_pkce_challenge(challenge).url();
        Ok((url.into(), Begun { state, nonce, verifier, next }))
    }

    /// Who the provider says it is.
    pub(super) async fn end(&self, redirect: RedirectUrl, code: String, begun: Begun) -> anyhow::Result<Identity> {
        let client = self.client(redirect).await?;
        let asked = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(begun.verifier);
        let answer = asked.request_async(&self.http).await.context("the provider does not take the code")?;
        let token = answer.id_token().context("the provider gave no ID token")?;
        let claims = token.claims(&client.id_token_verifier(), &begun.nonce).context("the ID token is not valid")?;
        let name = claims.preferred_username().map(|name| name.to_string());
        // Anybody can say that an address is theirs.
        let email = claims.email().filter(|_| claims.email_verified() == Some(true)).map(|email| email.to_string());
        Ok(Identity {
            // One provider's subject is not another's.
            id: format!("{} {}", self.issuer.as_str(), claims.subject().as_str()),
            names: name.into_iter().chain(email).chain([claims.subject().to_string()]).collect(),
            role: self.roles.of(&claims.additional_claims().0),
        })
    }

    /// Its keys and addresses are asked for each time: it may change them, and people rarely sign in.
    async fn client(&self, redirect: RedirectUrl) -> anyhow::Result<OidcClient> {
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let metadata = metadata.with_context(|| format!("cannot ask {} what it offers", self.issuer.as_str()))?;
        let client = OidcClient::from_provider_metadata(metadata, self.client_id.clone(), self.client_secret.clone());
        Ok(client.set_redirect_uri(redirect))
    }
}

const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// Why the provider could not be asked.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Http(#[from] axum::http::Error),
    #[error(transparent)]
    Sent(#[from] reqwest::Error),
}

/// Our HTTP client, as the library wants it.
#[derive(Clone)]
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = NoAnswer;
    type Future = BoxFuture<'c, Result<HttpResponse, NoAnswer>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.0.execute(request.try_into()?).await?;
            let mut response = axum::http::Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok(response.body(answer.bytes().await?.to_vec())?)
        })
    }
}

impl Roles {
    fn parse(claim: Option<String>, text: &str) -> anyhow::Result<Self> {
        let mut of = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (value, role) = pair.rsplit_once('=').with_context(|| {
                format!("STREAMCOMMERCE_OIDC_ROLES has {pair:?}: each is VALUE=ROLE, as in data-team=user")
            })?;
            ensure!(!value.is_empty(), "STREAMCOMMERCE_OIDC_ROLES has a role for nothing: {pair:?}");
            of.push((value.to_owned(), role.parse().context("STREAMCOMMERCE_OIDC_ROLES")?));
        }
        Ok(Self { claim: claim.unwrap_or_else(|| "groups".to_owned()), of })
    }

    /// The strongest that is said; none if the provider is not to say any.
    fn of(&self, claims: &Map<String, Value>) -> Option<Role> {
        if self.of.is_empty() {
            return None;
        }
        let said = match claims.get(&self.claim) {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let counts = |value: &str| value == "*" || said.contains(&value);
        let roles = self.of.iter().filter(|(value, _)| counts(value)).map(|(_, role)| *role);
        Some(roles.max().unwrap_or(Role::Public))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_strongest_role_that_the_provider_says_counts() {
        let roles = Roles::parse(None, "data-team=user, platform=admin,*=viewer").unwrap();
        let of = |claims: Value| roles.of(claims.as_object().unwrap()).unwrap();
        assert_eq!(of(json!({ "groups": ["data-team"] })), Role::User);
        assert_eq!(of(json!({ "groups": ["platform", "data-team"] })), Role::Admin);
        assert_eq!(of(json!({ "groups": "data-team" })), Role::User);
        assert_eq!((of(json!({})), of(json!({ "groups": 7, "roles": ["platform"] }))), (Role::Viewer, Role::Viewer));
        let strict = Roles::parse(Some("roles".to_owned()), "platform=admin").unwrap();
        assert_eq!(strict.of(json!({ "roles": ["x"] }).as_object().unwrap()), Some(Role::Public));
        assert_eq!(Roles::parse(None, "").unwrap().of(&Map::new()), None, "an admin says who may do what");
        for wrong in ["admin", "=admin", "x=king"] {
            assert!(Roles::parse(None, wrong).is_err(), "{wrong}");
        }
    }
}
