//! Whether the machine's processors have enough to do that it is worth while to give them less.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::process::{Process, ProcessorTime};

/// How long a look at the machine is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// The machine's processors, looked at now and then.
#[derive(Debug)]
pub(crate) struct Processors {
    process: Arc<dyn Process>,
    looked: Option<(Instant, ProcessorTime)>,
    are_busy: bool,
}

impl Processors {
    pub(crate) fn new(process: Arc<dyn Process>) -> Self {
        Processors { process, looked: None, are_busy: false }
    }

    /// Whether they were busy for half of the last second or so in which anybody asked; not where
    /// nothing is known of them.
    pub(crate) fn are_busy(&mut self, now: Instant) -> bool {
        let is_fresh = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) < BELIEVED;
        if self.looked.as_ref().is_some_and(is_fresh) {
            return self.are_busy;
        }
        let Some(time) = self.process.processor_time() else { return false };
        if let Some((_, before)) = self.looked.replace((now, time)) {
            let busy = time.busy.saturating_sub(before.busy);
            let idle = time.idle.saturating_sub(before.idle);
            self.are_busy = busy > idle;
        }
        self.are_busy
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A machine whose processors' times are told one after the other.
    #[derive(Debug)]
    struct Machine(Mutex<Vec<Option<ProcessorTime>>>);

    impl Process for Machine {
        fn processor_time(&self) -> Option<ProcessorTime> {
            self.0.lock().unwrap().remove(0)
        }
    }

    fn processors(times: &[(u64, u64)]) -> Processors {
        let times = times.iter().map(|(busy, idle)| ProcessorTime { busy: *busy, idle: *idle });
        Processors::new(Arc::new(Machine(Mutex::new(times.map(Some).collect()))))
    }

    #[test]
    fn the_last_second_counts_and_the_machine_is_not_looked_at_before_it_is_over() {
        let mut processors = processors(&[(900, 100), (910, 200), (1000, 210)]);
        let start = Instant::now();
        assert!(!processors.are_busy(start), "nothing is known yet");
        assert!(!processors.are_busy(start + BELIEVED / 2));
        assert!(!processors.are_busy(start + BELIEVED), "10 of 110");
        assert!(processors.are_busy(start + 2 * BELIEVED), "90 of 100");
        assert!(processors.are_busy(start + 2 * BELIEVED + BELIEVED / 2));
    }

    #[test]
    fn of_an_unknown_machine_nothing_is_said() {
        let mut processors = Processors::new(Arc::new(crate::process::UnknownProcess));
        let start = Instant::now();
        assert!(!processors.are_busy(start));
        assert!(!processors.are_busy(start + BELIEVED));
    }
}
