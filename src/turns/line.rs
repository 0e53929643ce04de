//! Who waits, and whose turn it is.
//!
//! Within a group, a client's network and an app, the earliest click comes first. Between groups it goes round, so that a
//! thousand of one lecture hall do not stand before the one person at home. Whoever has had a turn and could not take it is
//! before all groups. Knows neither time nor sockets.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::client_network::network_of;

/// Those who take turns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    network: IpAddr,
    app: Arc<str>,
}

impl Group {
    /// The group of a client at this address with a link of this app.
    pub fn new(address: IpAddr, app: &str) -> Self {
        Self { network: network_of(address), app: app.into() }
    }
}

/// A place in its group: by the time of the click, in milliseconds; of one millisecond who came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinePlace {
    clicked: i64,
    arrival: u64,
}

#[derive(Debug)]
struct GroupQueue {
    /// The round in which the first of the group has its turn.
    round: u64,
    places: BTreeSet<LinePlace>,
}

/// All who wait.
#[derive(Debug, Default)]
pub struct WaitingLine {
    /// Before all groups.
    first: BTreeSet<LinePlace>,
    groups: HashMap<Group, GroupQueue, RandomState>,
    /// The round of whoever was served last.
    round: u64,
    /// Those who had their turn in this round, and of whom nobody waited then.
    served: HashSet<Group, RandomState>,
    arrivals: u64,
    waiting: usize,
}

impl WaitingLine {
    /// Takes a place.
    pub fn join(&mut self, group: &Group, clicked: i64) -> LinePlace {
        let place = self.place(clicked);
        // A group of one after another, each of whom comes when the one before has been served, would otherwise have every turn.
        // Whoever has left without a turn, as to load a page anew, comes back to where they were.
        let round = self.round + u64::from(self.served.contains(group));
        let queue =
            self.groups.entry(group.clone()).or_insert_with(|| GroupQueue { round, places: BTreeSet::new() });
        queue.places.insert(place);
        place
    }

    /// Takes a place before all groups.
    pub fn join_first(&mut self, clicked: i64) -> LinePlace {
        let place = self.place(clicked);
        self.first.insert(place);
        place
    }

    fn place(&mut self, clicked: i64) -> LinePlace {
        self.arrivals += 1;
        self.waiting += 1;
        LinePlace { clicked, arrival: self.arrivals }
    }

    /// Gives a place back, that of a `group` or one before all; false: its turn has come already.
    pub fn leave(&mut self, group: &Group, place: LinePlace) -> bool {
        if self.first.remove(&place) {
            self.waiting -= 1;
            return true;
        }
        let Some(queue) = self.groups.get_mut(group) else { return false };
        if !queue.places.remove(&place) {
            return false;
        }
        if queue.places.is_empty() {
            self.groups.remove(group);
        }
        self.waiting -= 1;
        true
    }

    /// Who is before all groups, if anybody is.
    pub fn first(&self) -> Option<LinePlace> {
        self.first.first().copied()
    }

    /// Whose turn it is. They leave the line.
    pub fn next_turn(&mut self) -> Option<LinePlace> {
        if let Some(place) = self.first.pop_first() {
            self.waiting -= 1;
            return Some(place);
        }
        let (group, round, place) = self
            .groups
            .iter()
            .filter_map(|(group, queue)| Some((group, queue.round, *queue.places.first()?)))
            .min_by_key(|(_, round, place)| (*round, *place))
            .map(|(group, round, place)| (group.clone(), round, place))?;
        if round > self.round {
            self.round = round;
            self.served.clear();
        }
        if let Some(queue) = self.groups.get_mut(&group) {
            queue.round += 1;
        }
        self.leave(&group, place);
        if !self.groups.contains_key(&group) {
            self.served.insert(group);
        }
        Some(place)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many of `group` wait in its turn.
    pub fn waiting_of(&self, group: &Group) -> usize {
        self.groups.get(group).map_or(0, |queue| queue.places.len())
    }

    /// The number of each, counted from 1: in which order they would have their turn if nobody came.
    pub fn numbers(&self) -> HashMap<LinePlace, usize> {
        let mut turns: Vec<(u64, LinePlace)> = Vec::with_capacity(self.waiting);
        for queue in self.groups.values() {
            turns.extend(queue.places.iter().zip(queue.round..).map(|(place, round)| (round, *place)));
        }
        turns.sort_unstable();
        let first = self.first.iter().copied();
        first.chain(turns.into_iter().map(|(_, place)| place)).zip(1..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(last: u8, app: &str) -> Group {
        Group::new(IpAddr::from([192, 0, 2, last]), app)
    }

    /// The clicks of all who wait, in the order of their turns.
    fn order(line: &mut WaitingLine) -> Vec<i64> {
        std::iter::from_fn(|| line.next_turn()).map(|place| place.clicked).collect()
    }

    #[test]
    fn the_earliest_click_comes_first_whoever_came_back_late() {
        let mut line = WaitingLine::default();
        for clicked in [5, 1, 3, 2, 4] {
            line.join(&group(1, "portal"), clicked);
        }
        assert_eq!(order(&mut line), [1, 2, 3, 4, 5]);
        assert_eq!(line.waiting(), 0);
    }

    #[test]
    fn it_goes_round_between_networks_and_apps() {
        for other in [group(2, "portal"), group(1, "lms")] {
            let mut line = WaitingLine::default();
            for clicked in 1..=4 {
                line.join(&group(1, "portal"), clicked);
            }
            line.join(&other, 100);
            line.join(&other, 101);
            assert_eq!(order(&mut line), [1, 100, 2, 101, 3, 4]);
        }
    }

    #[test]
    fn whoever_comes_later_does_not_catch_up_on_rounds_that_are_over() {
        let mut line = WaitingLine::default();
        for clicked in 1..=6 {
            line.join(&group(1, "portal"), clicked);
        }
        for _ in 0..3 {
            line.next_turn();
        }
        for clicked in 10..=12 {
            line.join(&group(2, "portal"), clicked);
        }
        assert_eq!(order(&mut line), [10, 4, 11, 5, 12, 6]);
    }

    #[test]
    fn a_group_that_comes_back_each_time_is_not_before_the_others() {
        let mut line = WaitingLine::default();
        for clicked in 1..=6 {
            line.join(&group(1, "portal"), clicked);
        }
        let mut turns = Vec::new();
        for clicked in 101..=106 {
            line.join(&group(2, "portal"), clicked);
            turns.extend(line.next_turn().map(|place| place.clicked));
            turns.extend(line.next_turn().map(|place| place.clicked));
        }
        assert_eq!(turns.iter().filter(|clicked| **clicked < 100).count(), 6, "{turns:?}");
    }

    #[test]
    fn whoever_leaves_without_a_turn_and_comes_back_is_where_they_were() {
        let mut line = WaitingLine::default();
        for last in 1..=9 {
            line.join(&group(last, "portal"), i64::from(last));
        }
        for _ in 0..3 {
            line.next_turn();
        }
        for _ in 0..5 {
            let place = line.join(&group(20, "portal"), 4);
            assert_eq!(line.numbers()[&place], 2, "behind the one who clicked as early and is there");
            assert!(line.leave(&group(20, "portal"), place));
        }
        line.join(&group(20, "portal"), 4);
        assert_eq!(order(&mut line), [4, 4, 5, 6, 7, 8, 9]);
        assert!(line.served.len() <= 10 && line.groups.is_empty());
    }

    #[test]
    fn the_numbers_are_the_order_of_the_turns() {
        let mut line = WaitingLine::default();
        for (last, clicked) in [(1, 1), (1, 2), (1, 3), (2, 9), (3, 0)] {
            line.join(&group(last, "portal"), clicked);
        }
        let numbers = line.numbers();
        let turns: Vec<usize> =
            std::iter::from_fn(|| line.next_turn()).map(|place| numbers[&place]).collect();
        assert_eq!(turns, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn whoever_has_had_a_turn_already_is_before_all_groups() {
        let mut line = WaitingLine::default();
        line.join(&group(1, "portal"), 1);
        line.join(&group(2, "portal"), 2);
        let (late, gone) = (line.join_first(9), line.join_first(8));
        assert_eq!((line.waiting(), line.numbers()[&gone], line.numbers()[&late]), (4, 1, 2));
        assert!(line.leave(&group(3, "portal"), gone) && !line.leave(&group(3, "portal"), gone));
        assert_eq!(order(&mut line), [9, 1, 2]);
        assert_eq!(line.waiting(), 0);
    }

    #[test]
    fn a_place_is_given_back_once() {
        let mut line = WaitingLine::default();
        let (one, two) = (line.join(&group(1, "a"), 1), line.join(&group(1, "a"), 2));
        assert!(line.leave(&group(1, "a"), one));
        assert!(!line.leave(&group(1, "a"), one));
        assert_eq!(line.waiting(), 1);
        assert_eq!(line.next_turn(), Some(two));
        assert!(!line.leave(&group(1, "a"), two), "its turn has come");
        assert_eq!((line.next_turn(), line.waiting()), (None, 0));
    }

    #[test]
    fn five_thousand_groups_are_served_quickly() {
        let mut line = WaitingLine::default();
        for number in 0..5000_u32 {
            line.join(&Group::new(IpAddr::from(number.to_be_bytes()), "portal"), i64::from(number));
        }
        assert_eq!(line.numbers().len(), 5000);
        assert!(order(&mut line).is_sorted());
    }
}
