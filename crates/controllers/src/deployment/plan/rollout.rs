//! Who has how many pods: the two strategies, and scaling in proportion while a rollout is under way.

use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS};
use super::{Draft, Set};

impl Draft<'_> {
    /// New pods first, as many as the surge allows; then old ones go as new ones become available.
    pub(super) fn rolling_update(&mut self) {
        self.sync_revision(true);
        let mut moved = false;
        // Old pods that go make room for new ones at once. Each round moves pods one way only, so this ends.
        while self.scale_new() | self.scale_old() {
            moved = true;
        }
        if !moved && self.is_complete(&self.compute_status()) {
            self.clean_up();
        }
        self.sync_rollout_status();
    }

    /// All old pods go, and only when none runs any more come the new ones.
    pub(super) fn recreate(&mut self) {
        self.sync_revision(false);
        let mut scaled = false;
        for old in self.old() {
            scaled |= self.scale(old, 0);
        }
        if !scaled && !self.old_pods_run() {
            self.sync_revision(true);
            if let Some(current) = self.current {
                self.scale(current, self.replicas());
            }
            if self.is_complete(&self.compute_status()) {
                self.clean_up();
            }
        }
        self.sync_rollout_status();
    }

    /// Sets a size, with the notes that go with it. Whether the size has changed.
    pub(super) fn scale(&mut self, index: usize, to: i32) -> bool {
        let (surge, _) = self.fenceposts();
        let desired = self.replicas();
        let set = &mut self.sets[index].wanted;
        let from = set.replicas();
        set.spec.replicas = Some(to);
        let notes = &mut set.metadata.annotations;
        notes.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
        notes.insert(MAX_REPLICAS.to_owned(), (desired + surge).to_string());
        from != to
    }

    /// How many pods the current ReplicaSet may have now.
    pub(super) fn size_of_new(&self) -> i32 {
        let desired = self.replicas();
        if self.is_recreate() {
            return desired;
        }
        let size = self.current.map_or(0, |current| self.sets[current].replicas());
        let (surge, _) = self.fenceposts();
        let room = (desired + surge - self.total()).max(0);
        size + room.min((desired - size).max(0))
    }

    fn scale_new(&mut self) -> bool {
        let Some(current) = self.current else { return false };
        let (size, desired) = (self.sets[current].replicas(), self.replicas());
        if size == desired {
            return false;
        }
        let to = if size > desired { desired } else { self.size_of_new() };
        to != size && self.scale(current, to)
    }

    /// Takes down old pods: those that are not available first, for they serve no one, then as many available ones
    /// as there are to spare.
    fn scale_old(&mut self) -> bool {
        let (_, max_unavailable) = self.fenceposts();
        let least = self.replicas() - max_unavailable;
        let new_unavailable = self.current.map_or(0, |current| {
            let set = &self.sets[current];
            set.replicas() - set.available()
        });
        let mut to_spare = self.total() - least - new_unavailable;
        let mut scaled = false;
        for old in self.old() {
            let set = &self.sets[old];
            let unhealthy = (set.replicas() - set.available()).max(0).min(to_spare);
            if unhealthy > 0 {
                let to = set.replicas() - unhealthy;
                to_spare -= unhealthy;
                scaled |= self.scale(old, to);
            }
        }
        let available: i32 = self.sets.iter().map(|set| set.available().min(set.replicas())).sum();
        let mut to_spare = (available - least).min(to_spare);
        for old in self.old() {
            let set = &self.sets[old];
            let down = set.replicas().min(to_spare);
            if down > 0 {
                let to = set.replicas() - down;
                to_spare -= down;
                scaled |= self.scale(old, to);
            }
        }
        scaled
    }

    fn old_pods_run(&self) -> bool {
        let old: Vec<_> = self.old().map(|old| self.sets[old].wanted.metadata.uid.as_str()).collect();
        self.pods.iter().any(|pod| {
            let owner = pod.metadata.controller().map(|owner| owner.uid.as_str());
            !pod.is_terminal() && owner.is_some_and(|owner| old.contains(&owner))
        })
    }

    /// Whether the Deployment has been scaled since its ReplicaSets were.
    pub(super) fn is_scaling_event(&self) -> bool {
        let desired = i64::from(self.replicas());
        self.sets
            .iter()
            .filter(|set| set.replicas() > 0)
            .any(|set| set.annotation(DESIRED_REPLICAS).is_some_and(|noted| noted != desired))
    }

    /// Follows a change of `replicas`. Where a rollout is under way all its ReplicaSets get their share.
    pub(super) fn scale_all(&mut self) {
        let desired = self.replicas();
        if let Some(only) = self.active_or_latest() {
            self.scale(only, desired);
            return;
        }
        let saturated = self.current.is_some_and(|current| {
            let set = &self.sets[current];
            set.annotation(DESIRED_REPLICAS) == Some(i64::from(desired))
                && set.replicas() == desired
                && set.available() == desired
        });
        if saturated {
            for old in self.old() {
                if self.sets[old].replicas() > 0 {
                    self.scale(old, 0);
                }
            }
        } else if !self.is_recreate() {
            self.scale_in_proportion();
        }
    }

    /// The only ReplicaSet with pods; where none has any, the current or the youngest.
    fn active_or_latest(&self) -> Option<usize> {
        let mut active = (0..self.sets.len()).filter(|index| self.sets[*index].replicas() > 0);
        match (active.next(), active.next()) {
            (None, _) => self.current.or_else(|| self.sets.len().checked_sub(1)),
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) => None,
        }
    }

    fn scale_in_proportion(&mut self) {
        let (surge, _) = self.fenceposts();
        let desired = self.replicas();
        let allowed = if desired > 0 { desired + surge } else { 0 };
        let to_add = allowed - self.total();
        let mut active: Vec<_> =
            (0..self.sets.len()).filter(|index| self.sets[*index].replicas() > 0).collect();
        // The largest bear most of the change; among equals the younger ones grow and the older ones shrink.
        active.sort_by_key(|index| {
            let age = i64::try_from(*index).unwrap_or(i64::MAX);
            (-self.sets[*index].replicas(), if to_add > 0 { -age } else { age })
        });
        let mut added = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for index in &active {
            let share = self.proportion(&self.sets[*index], allowed, to_add, added);
            sizes.push(self.sets[*index].replicas() + share);
            added += share;
        }
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (index, size) in active.into_iter().zip(sizes) {
            self.scale(index, size);
        }
    }

    fn proportion(&self, set: &Set, allowed: i32, to_add: i32, added: i32) -> i32 {
        if to_add == 0 || to_add == added {
            return 0;
        }
        let size = set.replicas();
        let base = set.annotation(MAX_REPLICAS).unwrap_or(i64::from(self.deployment.status.replicas)).max(1);
        let share = (f64::from(size) * f64::from(allowed) / base as f64).round() as i32 - size;
        let rest = to_add - added;
        if to_add > 0 { share.min(rest) } else { share.max(rest) }
    }
}
