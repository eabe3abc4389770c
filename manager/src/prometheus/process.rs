//! The process itself, as the kernel sees it.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::gauge;

/// What the kernel says about this process, under the names that every exporter uses. None where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_files: Option<u64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open_files = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        Self { open_files, ..Self::parse(&stat, &status) }
    }

    fn parse(stat: &str, status: &str) -> Self {
        // Linux counts time for user space in hundredths of a second, on every architecture.
        const TICKS_PER_SECOND: f64 = 100.0;
        // The name of the program comes second and may contain anything, also spaces and brackets.
        let numbers: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |field: usize| numbers.get(field - 3).and_then(|text| text.parse::<u64>().ok());
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        #[allow(clippy::cast_precision_loss, reason = "exact for 2^53 hundredths of a second")]
        let cpu_seconds =
            number(14).zip(number(15)).map(|(user, system)| (user + system) as f64 / TICKS_PER_SECOND);
        Self {
            cpu_seconds,
            threads: number(20),
            resident_bytes: kibibytes("VmRSS:"),
            virtual_bytes: kibibytes("VmSize:"),
            open_files: None,
        }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        if let Some(cpu) = self.cpu_seconds {
            let seconds = Some(&Unit::Seconds);
            let help = "Processor time in user and system mode";
            let mut cpu_seconds =
                encoder.encode_descriptor("process_cpu", help, seconds, MetricType::Counter)?;
            cpu_seconds.encode_counter::<NoLabelSet, _, u64>(&cpu, None)?;
        }
        let bytes = Some(&Unit::Bytes);
        let gauges = [
            ("process_resident_memory", "Memory in use", bytes, self.resident_bytes),
            ("process_virtual_memory", "Address space in use", bytes, self.virtual_bytes),
            ("process_threads", "Threads", None, self.threads),
            ("process_open_fds", "Open files and sockets", None, self.open_files),
        ];
        for (name, help, unit, value) in gauges {
            if let Some(value) = value {
                gauge(encoder, name, help, unit, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_cannot_confuse() {
        let rest = (4..=52).map(|field| format!(" {}", field * 10)).collect::<String>();
        let process = Process::parse(&format!("1 (a) b) S{rest}"), "VmRSS:\t  12 kB\nVmSize: x kB\n");
        assert_eq!((process.cpu_seconds, process.threads), (Some(2.9), Some(200)));
        assert_eq!((process.resident_bytes, process.virtual_bytes), (Some(12 * 1024), None));
    }
}
