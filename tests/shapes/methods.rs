//! Every receiver, and what a body can name because it stands in an `impl`.

use crate::Answer;
use poet::{Priority, poet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone, Default)]
struct Store {
    count: u32,
    name: String,
}

trait Named {
    const NAME: &'static str;
    type Output;
}

impl Named for Store {
    const NAME: &'static str = "store";
    type Output = Answer<u32>;
}

impl Store {
    const LIMIT: u32 = 10;

    #[poet]
    async fn new() -> Self {
        Self::default()
    }

    #[poet]
    async fn shared(&self, add: u32) -> u32 {
        self.count + add
    }

    #[poet(idempotent)]
    async fn shared_again(&self, add: u32) -> Answer<u32> {
        Ok(self.count + add)
    }

    #[poet]
    async fn unique(&mut self, add: u32) -> Answer<u32> {
        self.count += add;
        Ok(self.count)
    }

    #[poet]
    async fn owned(self) -> String {
        self.name
    }

    #[poet]
    async fn owned_and_changed(mut self, name: &str) -> Self {
        self.name.push_str(name);
        self
    }

    #[poet]
    async fn boxed(self: Box<Self>) -> u32 {
        self.count
    }

    #[poet]
    async fn counted(self: Arc<Self>) -> u32 {
        self.count
    }

    #[poet]
    async fn counted_here(self: Rc<Self>) -> u32 {
        self.count
    }

    #[poet]
    async fn pinned(self: Pin<&Self>) -> u32 {
        self.count
    }

    #[poet]
    async fn pinned_and_changed(mut self: Pin<&mut Self>) -> u32 {
        self.as_mut().get_mut().count += 1;
        self.count
    }

    #[poet(idempotent)]
    #[expect(clippy::needless_arbitrary_self_type, reason = "another way to write it")]
    async fn typed(self: &Self) -> Answer<u32> {
        Ok(self.count)
    }

    #[poet]
    async fn names_of_the_impl(&self) -> <Self as Named>::Output {
        struct Inner(u32);
        let Self { count, .. } = self;
        Ok(Inner(*count + Self::LIMIT).0 + Self::NAME.len() as u32)
    }

    #[poet(priority = self.importance(add))]
    async fn with_priority_of_self(&self, add: u32) -> u32 {
        self.count + add
    }

    fn importance(&self, add: u32) -> Priority {
        if self.count > add { Priority::High } else { Priority::Low }
    }

    #[poet(fallback = Self::spare)]
    async fn with_fallback(&self, name: String) -> Answer<String> {
        Ok(format!("{}{name}", self.name))
    }

    async fn spare(&self, name: String) -> Answer<String> {
        Ok(name)
    }

    #[poet]
    async fn borrowed_from_self(&self) -> &str {
        &self.name
    }

    #[poet]
    async fn borrowed_uniquely_from_self(&mut self) -> &mut String {
        &mut self.name
    }

    #[poet]
    async fn in_a_macro(&self) -> u32 {
        macro_rules! count {
            () => {
                self.count
            };
        }
        count!()
    }
}

#[tokio::test]
async fn every_receiver_works() -> Answer<()> {
    crate::keep_nothing();
    let mut store = Store::new().await;
    assert_eq!(store.unique(5).await?, 5);
    assert_eq!(store.shared(1).await, 6);
    assert_eq!(store.shared_again(1).await?, 6);
    let store = store.owned_and_changed("crm").await;
    assert_eq!(store.clone().owned().await, "crm");
    assert_eq!(Box::new(store.clone()).boxed().await, 5);
    assert_eq!(Arc::new(store.clone()).counted().await, 5);
    assert_eq!(Rc::new(store.clone()).counted_here().await, 5);
    assert_eq!(Pin::new(&store).pinned().await, 5);
    let mut store = store;
    assert_eq!(Pin::new(&mut store).pinned_and_changed().await, 6);
    assert_eq!(store.typed().await?, 6);
    assert_eq!(store.names_of_the_impl().await?, 21);
    assert_eq!(store.with_priority_of_self(1).await, 7);
    assert_eq!(store.with_fallback("!".to_owned()).await?, "crm!");
    assert_eq!(store.spare("!".to_owned()).await?, "!");
    assert_eq!(store.borrowed_from_self().await, "crm");
    store.borrowed_uniquely_from_self().await.push('x');
    assert_eq!(store.name, "crmx");
    assert_eq!(store.in_a_macro().await, 6);
    Ok(())
}
