//! Schedules: events that the clock makes.

pub mod cron;
