use super::*;
use std::future::pending;
use std::sync::atomic::AtomicUsize;

const SECOND: Duration = Duration::from_secs(1);

/// What the fake connections have in common.
#[derive(Debug, Default)]
struct World {
    connected: AtomicUsize,
    closed: AtomicUsize,
    /// Connections up to this number answer nothing, not even a probe.
    wedged: AtomicUsize,
}

#[derive(Debug)]
struct Fake(Arc<World>);

impl Connector for Fake {
    fn connect<'a>(&'a self, _: Option<Era>, _: &'a Limits) -> Pending<'a, (Arc<dyn McpConnection>, Era)> {
        Box::pin(async {
            let number = self.0.connected.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(SECOND).await;
            Ok((Arc::new(Line { world: self.0.clone(), number }) as Arc<dyn McpConnection>, Era::Legacy))
        })
    }
}

#[derive(Debug)]
struct Line {
    world: Arc<World>,
    number: usize,
}

impl Line {
    async fn answer<T>(&self, until: Instant, answer: T) -> Result<T, McpError> {
        if self.number <= self.world.wedged.load(Ordering::SeqCst) {
            tokio::time::sleep_until(until.into()).await;
            return Err(McpError::new(Fault::Timeout { sent: true }, ""));
        }
        Ok(answer)
    }
}

impl McpConnection for Line {
    fn tools(&self) -> Arc<[ToolInfo]> {
        Arc::from([])
    }

    fn list_tools(&self, until: Instant) -> Pending<'_, Arc<[ToolInfo]>> {
        Box::pin(self.answer(until, self.tools()))
    }

    fn probe(&self, until: Instant) -> Pending<'_, ()> {
        Box::pin(self.answer(until, ()))
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Pending<'a, Called> {
        if call.name == "hang" {
            return Box::pin(pending());
        }
        let answer = ToolAnswer::new(&[&self.number.to_string()], Vec::new(), None, false);
        Box::pin(self.answer(call.until, answer.into()))
    }

    fn is_dead(&self) -> bool {
        false
    }

    fn close(&self) {
        self.world.closed.fetch_add(1, Ordering::SeqCst);
    }
}

fn session() -> (Arc<World>, Session) {
    let world = Arc::<World>::default();
    (world.clone(), Session::new(Fake(world), Limits::default()))
}

async fn call(session: &Session, tool: &str, within: Duration) -> Result<String, McpError> {
    let until = Clock::system().now() + within;
    session.call(tool, &Map::new(), until, None).await.map(|answer| answer.text)
}

#[tokio::test(start_paused = true)]
async fn a_replaced_connection_is_closed_when_its_last_call_has_ended() {
    let (world, session) = session();
    assert_eq!(call(&session, "a", 5 * SECOND).await.unwrap(), "1");
    let other = session.clone();
    let hanging = tokio::spawn(async move { call(&other, "hang", 3600 * SECOND).await });
    tokio::task::yield_now().await;
    world.wedged.store(1, Ordering::SeqCst);
    assert!(call(&session, "a", SECOND).await.is_err());
    assert_eq!(call(&session, "a", 5 * SECOND).await.unwrap(), "2");
    assert_eq!(world.closed.load(Ordering::SeqCst), 0, "somebody still waits on the first one");
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    assert_eq!(world.closed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_connection_is_probed_once_for_all_who_wait() {
    let (world, session) = session();
    call(&session, "a", 5 * SECOND).await.unwrap();
    world.wedged.store(1, Ordering::SeqCst);
    assert!(call(&session, "a", SECOND).await.is_err());
    let began = tokio::time::Instant::now();
    let calls = (0..50).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { call(&session, "a", 10 * SECOND).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), "2");
    }
    assert_eq!(world.connected.load(Ordering::SeqCst), 2);
    assert!(began.elapsed() < 3 * SECOND, "one probe of a second, one connection of a second");
}

#[tokio::test(start_paused = true)]
async fn a_probe_leaves_time_to_connect_anew() {
    let patient = Limits { health_probe: 60 * SECOND, ..Limits::default() };
    let world = Arc::<World>::default();
    let session = Session::new(Fake(world.clone()), patient);
    call(&session, "a", 5 * SECOND).await.unwrap();
    world.wedged.store(1, Ordering::SeqCst);
    assert!(call(&session, "a", SECOND).await.is_err());
    assert_eq!(call(&session, "a", 5 * SECOND).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_while_connecting_leaves_the_connection_to_the_next() {
    let (world, session) = session();
    let error = call(&session, "a", SECOND / 2).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Timeout { sent: false });
    assert_eq!(call(&session, "a", SECOND).await.unwrap(), "1");
    assert_eq!(world.connected.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_call_that_comes_too_late() {
    let (world, session) = session();
    let error = call(&session, "a", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Timeout { sent: false });
    assert_eq!(world.connected.load(Ordering::SeqCst), 0);
}
