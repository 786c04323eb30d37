//! A set of numbers from which the next free one is handed out: the addresses of Services, and node ports.
//!
//! The low end of the range is left to those who ask for a number by name; the search goes round and does not
//! start over at a number just given back, so that what still talks to its last owner meets nobody.

/// The numbers `0..size`, each free or taken.
#[derive(Debug, Clone)]
pub(super) struct Allocator {
    words: Vec<u64>,
    size: u32,
    reserved: u32,
    next: u32,
    taken: u32,
}

impl Allocator {
    /// All free; `reserved` numbers at the low end are handed out last.
    pub(super) fn new(size: u32, reserved: u32) -> Self {
        let reserved = reserved.min(size);
        Self { words: vec![0; size.div_ceil(64) as usize], size, reserved, next: reserved, taken: 0 }
    }

    /// Whether the number is taken.
    pub(super) fn has(&self, number: u32) -> bool {
        number < self.size && self.words[(number / 64) as usize] & (1 << (number % 64)) != 0
    }

    /// Takes a number; false where it is taken already or outside.
    pub(super) fn take(&mut self, number: u32) -> bool {
        if number >= self.size || self.has(number) {
            return false;
        }
        self.words[(number / 64) as usize] |= 1 << (number % 64);
        self.taken += 1;
        true
    }

    /// Takes the next free number.
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.taken >= self.size {
            return None;
        }
        let upper = self.size - self.reserved;
        let round = (0..upper).map(|step| self.reserved + (self.next - self.reserved + step) % upper);
        let number = round.chain((0..self.reserved).rev()).find(|number| !self.has(*number))?;
        self.take(number);
        if number >= self.reserved {
            self.next = if number + 1 < self.size { number + 1 } else { self.reserved };
        }
        Some(number)
    }

    /// Gives a number back.
    pub(super) fn release(&mut self, number: u32) {
        if self.has(number) {
            self.words[(number / 64) as usize] &= !(1 << (number % 64));
            self.taken -= 1;
        }
    }

    /// Goes on after `number`, as after a restart.
    pub(super) fn start_after(&mut self, number: u32) {
        if number >= self.reserved && number + 1 < self.size {
            self.next = self.next.max(number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_low_end_is_handed_out_last_and_then_none_is_left() {
        let mut allocator = Allocator::new(6, 2);
        assert!(allocator.take(3));
        assert!(!allocator.take(3) && !allocator.take(6));
        let all: Vec<_> = std::iter::from_fn(|| allocator.next()).collect();
        assert_eq!(all, [2, 4, 5, 1, 0]);
        allocator.release(4);
        assert_eq!(allocator.next(), Some(4));
        assert_eq!(allocator.next(), None);
    }

    #[test]
    fn a_number_just_given_back_is_not_the_next() {
        let mut allocator = Allocator::new(10, 0);
        assert_eq!(allocator.next(), Some(0));
        allocator.release(0);
        assert_eq!(allocator.next(), Some(1));
    }

    proptest! {
        #[test]
        fn no_number_is_handed_out_twice(steps in proptest::collection::vec((0_u8..3, 0_u32..20), 0..200)) {
            let mut allocator = Allocator::new(16, 4);
            let mut model = BTreeSet::new();
            for (what, number) in steps {
                match what {
                    0 => prop_assert_eq!(allocator.take(number), number < 16 && model.insert(number)),
                    1 => match allocator.next() {
                        Some(next) => prop_assert!(model.insert(next) && next < 16),
                        None => prop_assert_eq!(model.len(), 16),
                    },
                    _ => { allocator.release(number); model.remove(&number); }
                }
            }
        }
    }
}
