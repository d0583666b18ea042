//! Asks an authorization server for a token when a request is refused for want of one.
//!
//! A refusal for want of a token, or of a wider one, was given before anything was executed, so the request is sent again
//! with the new token: a few times at most, because a server may refuse every token there is. Who is refused while
//! somebody else asks waits for that answer and asks nothing.
//!
//! The protocol is the SDK's; its requests are made by our own client, which follows no redirect.

use super::http::{self, Wire, WireError};
use crate::mcp::oauth::OAuth;
use ::http::header::WWW_AUTHENTICATE;
use ::http::{Response as HttpResponse, StatusCode};
use reqwest::{RequestBuilder, Response, Url};
use rmcp::transport::auth::{
    AuthError, AuthorizationManager, AuthorizationRequest, OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRequest,
    OAuthState, WWWAuthenticateParams,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The most times a request is sent again with another token.
const MOST_TOKENS: usize = 2;

/// The token of one target, and how to get another.
pub(in crate::mcp) struct Authorizer {
    oauth: OAuth,
    granted: Mutex<Option<AuthorizationManager>>,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.oauth.fmt(f)
    }
}

/// Why a server refused a token.
struct Refusal {
    header: String,
    params: WWWAuthenticateParams,
}

impl Refusal {
    /// Whether a response asks for another token.
    fn of(response: &Response) -> Option<Self> {
        let header = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let header = header.unwrap_or_default().to_owned();
        let params = WWWAuthenticateParams::parse(&header, response.url());
        match response.status() {
            StatusCode::UNAUTHORIZED => Some(Self { header, params }),
            StatusCode::FORBIDDEN if params.is_insufficient_scope() => Some(Self { header, params }),
            _ => None,
        }
    }
}

impl Authorizer {
    pub(in crate::mcp) fn new(oauth: OAuth) -> Self {
        Self { oauth, granted: Mutex::default() }
    }

    /// Sends a request with the token there is, and again with another one if it is refused for it.
    pub(super) async fn send(&self, wire: &Wire, url: &Url, request: RequestBuilder) -> Result<Response, WireError> {
        let mut token = self.current().await;
        for asked in 0.. {
            let attempt = request.try_clone().ok_or_else(|| WireError::Answer("a body that is a stream".to_owned()))?;
            let attempt = match &token {
                Some(token) => attempt.bearer_auth(token),
                None => attempt,
            };
            let response = wire.dispatch(attempt).await?;
            let Some(refusal) = Refusal::of(&response).filter(|_| asked < MOST_TOKENS) else { return Ok(response) };
            let status = response.status().as_u16();
            match self.another(url, token.as_deref(), &refusal).await {
                Ok(another) => token = Some(another),
                Err(error) => {
                    let text = format!("no token: {}", http::deepest(&error));
                    return Err(WireError::Status { status, retry_after: None, text });
                }
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// The token there is, renewed if it is old.
    async fn current(&self) -> Option<String> {
        let granted = self.granted.lock().await;
        granted.as_ref()?.get_access_token().await.ok()
    }

    /// A token that is not the refused one.
    async fn another(&self, url: &Url, refused: Option<&str>, refusal: &Refusal) -> Result<String, AuthError> {
        let mut granted = self.granted.lock().await;
        if let Some(manager) = &*granted
            && let Ok(token) = manager.get_access_token().await
            && Some(token.as_str()) != refused
        {
            // Somebody else has asked meanwhile.
            return Ok(token);
        }
        let manager = match (granted.take(), &refusal.params.scope) {
            (Some(manager), Some(scope)) if refusal.params.is_insufficient_scope() => {
                self.widen(manager, scope).await?
            }
            _ => self.ask(url, &refusal.header).await?,
        };
        let token = manager.get_access_token().await?;
        *granted = Some(manager);
        Ok(token)
    }

    async fn ask(&self, url: &Url, challenge: &str) -> Result<AuthorizationManager, AuthError> {
        let client = Client(http::any_client().map_err(|error| AuthError::InternalError(error.to_string()))?);
        let mut state = OAuthState::new_with_oauth_http_client(url.clone(), Arc::new(client)).await?;
        let mut request = AuthorizationRequest::new(&self.oauth.redirect).with_client_name("poet");
        if !challenge.is_empty() {
            request = request.with_challenge(challenge);
        }
        if let Some(address) = &self.oauth.described_at {
            request = request.with_client_metadata_url(address);
        }
        if let Some((client, secret)) = &self.oauth.registered {
            request = request.with_preregistered_client(client);
            request.client_secret.clone_from(secret);
        }
        state.start_authorization(request).await?;
        let page = state.get_authorization_url().await?;
        self.consented(state, &page).await
    }

    async fn widen(&self, manager: AuthorizationManager, scope: &str) -> Result<AuthorizationManager, AuthError> {
        let mut state = OAuthState::Authorized(manager);
        let page = state.request_scope_upgrade(scope, &self.oauth.redirect).await?;
        self.consented(state, &page).await
    }

    async fn consented(&self, mut state: OAuthState, page: &str) -> Result<AuthorizationManager, AuthError> {
        let nobody = || AuthError::AuthorizationFailed("there was no consent".to_owned());
        let sent_to = self.oauth.consent.ask(page).await.ok_or_else(nobody)?;
        state.handle_callback_url(&sent_to).await?;
        state.into_authorization_manager().ok_or_else(nobody)
    }
}

/// Makes the requests of the SDK.
struct Client(reqwest::Client);

impl OAuthHttpClient for Client {
    fn execute(&self, asked: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let mut request = reqwest::Request::try_from(asked.request)?;
            *request.timeout_mut() = asked.timeout;
            let response = self.0.execute(request).await.map_err(reqwest::Error::without_url)?;
            let mut answer = HttpResponse::new(Vec::new());
            *answer.status_mut() = response.status();
            answer.headers_mut().clone_from(response.headers());
            *answer.body_mut() = http::read_bytes(response).await?;
            Ok(answer)
        })
    }
}
