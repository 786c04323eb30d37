//! How long to wait before the next try: exponentially longer, with jitter so that many do not try together.

use std::time::Duration;

use rand::Rng;

/// Delays that grow by a factor up to a maximum.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    failures: u32,
}

impl Backoff {
    /// Doubles from `initial` to `max`; each delay is cut by up to a fifth at random.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, factor: 2.0, jitter: 0.2, failures: 0 }
    }

    /// The same with another growth.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The same with another share (0 to 1) of each delay that chance may take away.
    #[must_use]
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Counts a failure and says how long to wait after it.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let grown = self.initial.as_secs_f64() * self.factor.powi(self.failures.min(1000) as i32);
        self.failures = self.failures.saturating_add(1);
        let delay = grown.min(self.max.as_secs_f64());
        Duration::from_secs_f64(delay * (1.0 - self.jitter * rng.random::<f64>()))
    }

    /// How many failures there were since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_start_over() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(30)).with_jitter(0.0);
        let delays: Vec<_> = (0..5).map(|_| backoff.next(&mut rng).as_millis()).collect();
        assert_eq!(delays, [5, 10, 20, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next(&mut rng).as_millis(), 5);
    }

    #[test]
    fn jitter_stays_within_its_share_however_many_failures() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..5000 {
            let delay = backoff.next(&mut rng);
            assert!(delay <= Duration::from_secs(60) && delay >= Duration::from_millis(800), "{delay:?}");
        }
    }
}
