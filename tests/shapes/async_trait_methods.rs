//! Methods under `#[async_trait]`, which are functions that return a boxed future by the time we see them.

use crate::{Answer, assert_send};
use async_trait::async_trait;
use poet::{Priority, poet};
use std::rc::Rc;
use std::sync::Arc;

#[async_trait]
trait Service: Send + Sync {
    type Item: Send;
    const NAME: &'static str;

    async fn shared(&self, text: &str) -> Answer<usize>;
    async fn unique(&mut self, id: u32) -> Answer<u32>;
    async fn owned(self) -> Self::Item
    where
        Self: Sized;
    async fn counted(self: Arc<Self>) -> u32;
    async fn taken_apart(&self, pair: (u32, u32), list: Vec<u32>, unused: String) -> Answer<u32>;
    async fn again(&self, text: &str, id: u32) -> Answer<usize>;
    async fn generic<T: Send + ToString, const N: usize>(&self, all: [T; N]) -> String;
    async fn without_self(id: u32) -> u32
    where
        Self: Sized;
    async fn nothing(&self);
    async fn conditional(&self, id: u8) -> u8;
    async fn called(&self, call: impl FnMut(&str) -> usize + Send) -> usize
    where
        Self: Sized;

    #[poet]
    async fn provided(&self) -> Answer<&'static str> {
        tokio::task::yield_now().await;
        Ok(Self::NAME)
    }

    async fn spare(&self, _: &str, _: u32) -> Answer<usize> {
        Ok(0)
    }
}

#[derive(Clone, Default)]
struct Crm {
    count: u32,
}

#[async_trait]
impl Service for Crm {
    type Item = String;
    const NAME: &'static str = "crm";

    #[poet]
    async fn shared(&self, text: &str) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(text.len() + self.count as usize)
    }

    #[poet(deadline = "3s")]
    async fn unique(&mut self, id: u32) -> Answer<u32> {
        self.count += id;
        Ok(self.count)
    }

    #[poet]
    async fn owned(self) -> Self::Item {
        self.count.to_string()
    }

    #[poet]
    async fn counted(self: Arc<Self>) -> u32 {
        self.count
    }

    #[poet]
    async fn taken_apart(&self, (a, mut b): (u32, u32), mut list: Vec<u32>, _: String) -> Answer<u32> {
        b += 1;
        list.push(a + b);
        Ok(list.iter().sum())
    }

    #[poet(idempotent, retries = 2, fallback = Self::spare, timeout = "2s", priority = priority_of(text))]
    async fn again(&self, text: &str, mut id: u32) -> Answer<usize> {
        id += self.count;
        Ok(text.len() + id as usize)
    }

    #[poet]
    async fn generic<T: Send + ToString, const N: usize>(&self, all: [T; N]) -> String {
        all.iter().map(ToString::to_string).collect()
    }

    #[poet]
    async fn without_self(id: u32) -> u32 {
        id
    }

    #[poet]
    async fn nothing(&self) {}

    #[poet]
    async fn conditional(&self, #[cfg(not(test))] id: u16, #[cfg(test)] id: u8) -> u8 {
        id
    }

    #[poet]
    async fn called(&self, mut call: impl FnMut(&str) -> usize + Send) -> usize {
        call("abc")
    }
}

fn priority_of(text: &str) -> Priority {
    if text.is_empty() { Priority::Low } else { Priority::High }
}

/// The attribute of the method stands before others, and after them.
#[async_trait]
trait Ordered {
    async fn first(&self) -> u8;
    async fn last(&self) -> u8;
}

#[async_trait]
impl Ordered for Crm {
    #[poet]
    #[expect(clippy::let_and_return, reason = "the lint is decided outside our expansion")]
    async fn first(&self) -> u8 {
        let one = 1;
        one
    }

    #[expect(clippy::let_and_return, reason = "the lint is decided outside our expansion")]
    #[poet]
    async fn last(&self) -> u8 {
        let two = 2;
        two
    }
}

#[async_trait(?Send)]
trait Local {
    async fn here(&self, count: Rc<u8>) -> u8;
}

#[async_trait(?Send)]
impl Local for Crm {
    #[poet]
    async fn here(&self, count: Rc<u8>) -> u8 {
        tokio::task::yield_now().await;
        *count
    }
}

#[async_trait]
trait Lifetimes<'a> {
    async fn passed(text: &'a str) -> &'a str;
}

#[async_trait]
impl<'a> Lifetimes<'a> for &'a str {
    #[poet]
    async fn passed(text: &'a str) -> &'a str {
        text
    }
}

macro_rules! implement {
    ($ty:ty, $id:expr) => {
        #[async_trait]
        impl Ordered for $ty {
            #[poet]
            async fn first(&self) -> u8 {
                $id
            }

            #[poet]
            async fn last(&self) -> u8 {
                let _: &Self = self;
                $id + 1
            }
        }
    };
}

implement!((), 7);

#[tokio::test]
async fn methods_under_async_trait_work() -> Answer<()> {
    crate::keep_nothing();
    let mut crm = Crm::default();
    assert_eq!(assert_send(crm.unique(1)).await?, 1);
    assert_eq!(assert_send(crm.shared("ab")).await?, 3);
    assert_eq!(crm.taken_apart((1, 2), vec![1], String::new()).await?, 5);
    assert_eq!(assert_send(crm.again("abc", 1)).await?, 5);
    assert_eq!(crm.spare("abc", 1).await?, 0);
    assert_eq!(crm.generic([1, 2]).await, "12");
    assert_eq!(Crm::without_self(3).await, 3);
    crm.nothing().await;
    assert_eq!(crm.conditional(4).await, 4);
    assert_eq!(crm.called(|text| text.len()).await, 3);
    assert_eq!(crm.provided().await?, "crm");
    assert_eq!((crm.first().await, crm.last().await), (1, 2));
    assert_eq!(crm.here(Rc::new(5)).await, 5);
    assert_eq!(<&str>::passed("x").await, "x");
    assert_eq!((().first().await, ().last().await), (7, 8));
    assert_eq!(Arc::new(crm.clone()).counted().await, 1);
    assert_eq!(crm.owned().await, "1");
    Ok(())
}

#[tokio::test]
async fn a_trait_object_can_be_spawned() {
    crate::keep_nothing();
    let crm: Arc<dyn Ordered + Send + Sync> = Arc::new(Crm::default());
    assert_eq!(tokio::spawn(async move { crm.first().await }).await.unwrap(), 1);
}
