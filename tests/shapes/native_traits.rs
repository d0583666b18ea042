//! Methods of traits that are `async` without help, and those that promise a `Send` future.

use crate::{Answer, assert_send};
use poet::poet;
use std::future::Future;

trait Service {
    type Item;
    fn promised(&self, text: &str) -> impl Future<Output = Answer<usize>> + Send;
    fn promised_again(&self, text: &str, all: &[u8]) -> impl Future<Output = Answer<usize>> + Send;
    async fn bare(&mut self, item: Self::Item) -> Option<Self::Item>;

    #[poet]
    async fn provided(&self) -> Answer<usize> {
        self.promised("provided").await
    }
}

#[derive(Default)]
struct Crm {
    last: Option<String>,
}

impl Service for Crm {
    type Item = String;

    #[poet]
    async fn promised(&self, text: &str) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(text.len())
    }

    #[poet(idempotent)]
    async fn promised_again(&self, text: &str, all: &[u8]) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(text.len() + all.len())
    }

    #[poet]
    async fn bare(&mut self, item: Self::Item) -> Option<Self::Item> {
        self.last.replace(item)
    }
}

async fn through_the_trait<S: Service<Item = String> + Sync>(service: &S) -> Answer<usize> {
    Ok(assert_send(service.promised("a")).await? + assert_send(service.promised_again("b", &[1])).await?)
}

#[tokio::test]
async fn native_trait_methods_work_and_keep_their_promise() -> Answer<()> {
    crate::keep_nothing();
    let mut crm = Crm::default();
    assert_eq!(crm.bare("a".to_owned()).await, None);
    assert_eq!(crm.bare("b".to_owned()).await.as_deref(), Some("a"));
    assert_eq!(crm.provided().await?, 8);
    assert_eq!(through_the_trait(&crm).await?, 3);
    let spawned = tokio::spawn(async move {
        let text = String::from("spawned");
        crm.promised_again(&text, &[]).await
    });
    assert_eq!(spawned.await.unwrap()?, 7);
    Ok(())
}
