//! A future that goes on as a task of its own when it is dropped before it has finished.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use uuid::Uuid;

type Boxed<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;

/// See the module. Its output is none if the inner future panicked, which is logged.
pub(super) struct ToTheEnd<T: Send + 'static>(Option<Boxed<T>>);

impl<T: Send + 'static> ToTheEnd<T> {
    pub(super) fn new(execution_id: Uuid, future: impl Future<Output = T> + Send + 'static) -> Self {
        let caught = AssertUnwindSafe(future).catch_unwind().map(move |result| {
            result
                .inspect_err(|_| tracing::error!(%execution_id, "a call panicked; the message is above"))
                .ok()
        });
        Self(Some(Box::pin(caught)))
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let result = future.as_mut().poll(context);
        if result.is_ready() {
            self.0 = None;
        }
        result
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_dropped_future_still_finishes() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut future = ToTheEnd::new(Uuid::nil(), async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sender.send(7)
        });
        let started = (&mut future).now_or_never();
        assert!(started.is_none());
        drop(future);
        assert_eq!(receiver.await, Ok(7));
    }

    #[tokio::test]
    async fn a_panic_is_caught() {
        assert_eq!(ToTheEnd::new(Uuid::nil(), async { panic!("on purpose") }).await, None::<()>);
    }
}
