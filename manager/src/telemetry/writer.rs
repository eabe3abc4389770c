//! The task that writes telemetry. It sleeps until there is something, so an idle server has no wake-ups from it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use picloud_host::ports::{Clock, ExecutionRecord};
use sqlx::Connection as _;
use tokio::sync::mpsc;

use super::open::{self, Opened};
use super::rollup::Rollups;
use super::{Flush, Pending, Settings, Telemetry, WriterState};
use crate::store::execution::write::{insert_all, stored_bytes};
use crate::store::{minute, retention};

/// Rows of one transaction.
const CHUNK_ROWS: usize = 512;

/// Minutes of one transaction.
const CHUNK_MINUTES: usize = 256;

/// Owns the writing side of the database.
pub(super) struct Writer {
    telemetry: Arc<Telemetry>,
    opened: Opened,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Storage failed last time: it is not logged again until it works.
    failing: bool,
}

/// Why the writer woke up.
enum Woken {
    Records,
    Minutes,
    Flush(Flush),
    Stop,
}

impl Writer {
    pub(super) fn new(
        telemetry: Arc<Telemetry>,
        opened: Opened,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { telemetry, opened, settings, clock, failing: false }
    }

    /// Write until told to stop, and then what is left.
    pub(super) async fn run(mut self, mut wishes: mpsc::Receiver<Flush>) {
        loop {
            let mut flushes = Vec::new();
            let mut stop = false;
            let mut minutes = false;
            match self.sleep(&mut wishes).await {
                Woken::Records => match self.gather(&mut wishes).await {
                    Some(Woken::Flush(flush)) => flushes.push(flush),
                    Some(Woken::Stop) => stop = true,
                    _ => {}
                },
                Woken::Minutes => minutes = true,
                Woken::Flush(flush) => flushes.push(flush),
                Woken::Stop => stop = true,
            }
            while let Ok(flush) = wishes.try_recv() {
                flushes.push(flush);
            }
            minutes |= flushes.iter().any(|flush| flush.pending == Pending::All);
            self.write(minutes || stop, stop).await;
            for flush in flushes {
                let _ = flush.done.send(());
            }
            if stop {
                return;
            }
        }
    }

    async fn sleep(&self, wishes: &mut mpsc::Receiver<Flush>) -> Woken {
        let since = self.telemetry.lock().rollups.since();
        let minutes_due = async {
            match since {
                Some(since) => tokio::time::sleep_until((since + self.settings.gather_minutes).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.telemetry.stop.cancelled() => Woken::Stop,
            Some(flush) = wishes.recv() => Woken::Flush(flush),
            () = self.telemetry.wake.notified() => Woken::Records,
            () = minutes_due => Woken::Minutes,
        }
    }

    /// Wait for more records: until it is time, somebody wants to see them, or there are many.
    async fn gather(&self, wishes: &mut mpsc::Receiver<Flush>) -> Option<Woken> {
        if self.telemetry.lock().writer == WriterState::Hurrying {
            return None;
        }
        tokio::select! {
            () = self.telemetry.stop.cancelled() => Some(Woken::Stop),
            Some(flush) = wishes.recv() => Some(Woken::Flush(flush)),
            () = self.telemetry.wake.notified() => None,
            () = tokio::time::sleep(self.settings.gather) => None,
        }
    }

    /// Write what is there. Nothing is written when there is nothing.
    async fn write(&mut self, minutes: bool, last: bool) {
        let (records, rollups) = {
            let mut state = self.telemetry.lock();
            state.writer = if last { WriterState::Gone } else { WriterState::Asleep };
            let due =
                state.rollups.since().is_some_and(|since| since.elapsed() >= self.settings.gather_minutes);
            let rollups =
                if minutes || due { std::mem::take(&mut state.rollups) } else { Rollups::default() };
            state.writing_rollups = rollups.since().is_some();
            (state.buffer.take(), rollups)
        };
        if !records.is_empty() {
            self.write_records(&records).await;
            self.telemetry.lock().buffer.release(&records);
            self.telemetry.written.send_modify(|batches| *batches += 1);
        }
        if rollups.since().is_some() {
            let left = self.write_rollups(rollups).await;
            let mut state = self.telemetry.lock();
            let lost = left.map_or(0, |left| state.rollups.put_back(left));
            state.counters.uncounted += lost;
            state.writing_rollups = false;
        }
    }

    async fn write_records(&mut self, records: &[ExecutionRecord]) {
        // So that making room for a chunk leaves most of the file as it is.
        let most_bytes = (self.settings.bounds.file_bytes / 8).min(4 << 20);
        let mut left = records;
        while let Some(first) = left.first() {
            if stored_bytes(first) > self.settings.bounds.file_bytes / 2 {
                // One record must not drive out all others.
                self.telemetry.lock().counters.over_capacity += 1;
                left = &left[1..];
                continue;
            }
            let mut bytes = 0;
            let fits = |record: &&ExecutionRecord| {
                bytes += stored_bytes(record);
                bytes <= most_bytes
            };
            let rows = left.iter().take(CHUNK_ROWS).take_while(fits).count().max(1);
            let (chunk, rest) = left.split_at(rows);
            left = rest;
            let result = self.write_chunk(chunk).await;
            let count = chunk.len() as u64;
            {
                let mut state = self.telemetry.lock();
                if result.is_ok() {
                    state.counters.kept += count;
                } else {
                    state.counters.storage += count;
                }
            }
            self.note(result);
        }
    }

    async fn write_chunk(&mut self, chunk: &[ExecutionRecord]) -> sqlx::Result<()> {
        let bytes = chunk.iter().map(stored_bytes).sum();
        let mut connection = self.opened.database.write.acquire().await?;
        let bounds = &self.settings.bounds;
        let minutes = retention::make_room(&mut connection, bounds, bytes, self.clock.now_ms()).await?;
        self.opened.minutes = self.opened.minutes.saturating_sub(minutes);
        let mut transaction = connection.begin().await?;
        insert_all(&mut transaction, chunk).await?;
        transaction.commit().await
    }

    /// Returns what could not be written.
    async fn write_rollups(&mut self, mut rollups: Rollups) -> Option<Rollups> {
        loop {
            let chunk: Vec<_> = rollups
                .iter()
                .take(CHUNK_MINUTES)
                .map(|(key, samples)| (key.clone(), samples.clone()))
                .collect();
            if chunk.is_empty() {
                return None;
            }
            let result = self.write_minutes(&chunk).await;
            let failed = result.is_err();
            self.note(result);
            if failed {
                return Some(rollups);
            }
            chunk.iter().for_each(|(key, _)| rollups.remove(key));
        }
    }

    async fn write_minutes(
        &mut self,
        chunk: &[(minute::MinuteKey, minute::MinuteSamples)],
    ) -> sqlx::Result<()> {
        let mut connection = self.opened.database.write.acquire().await?;
        let mut transaction = connection.begin().await?;
        let mut new = 0;
        for (key, samples) in chunk {
            new += u64::from(minute::merge(&mut transaction, key, samples).await?);
        }
        transaction.commit().await?;
        if self.telemetry.recount.swap(false, Ordering::Relaxed) {
            // Those that are new are among them.
            self.opened.minutes = retention::count_minutes(&mut connection).await? - new;
        }
        let bounds = &self.settings.bounds;
        let stored = self.opened.minutes + new;
        // The minutes are stored: whatever goes wrong from here on must not store them again.
        let deleted = retention::trim_minutes(&mut connection, bounds, stored, self.clock.now_ms()).await;
        self.opened.minutes = stored.saturating_sub(deleted.unwrap_or(0));
        Ok(())
    }

    /// Log a failure when it begins and when it is over.
    fn note(&mut self, result: sqlx::Result<()>) {
        match result {
            Ok(()) if self.failing => tracing::info!("telemetry is written again"),
            Err(error) if !self.failing => {
                tracing::warn!(%error, "telemetry cannot be written and is lost until it can");
                if open::is_damage(&error) {
                    open::mark_damaged(&self.opened.path);
                }
                self.failing = true;
                return;
            }
            Err(_) => return,
            Ok(()) => {}
        }
        self.failing = false;
    }
}
