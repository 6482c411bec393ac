//! What the pool promises to whoever waits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::Budget;

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn waiters_are_served_in_turn_and_bytes_come_back() {
    let budget = Budget::new(100);
    let account = budget.account("lane");
    let first = account.try_take(80).expect("free");
    let mut large = pin!(account.take(90));
    let mut small = pin!(account.take(10));
    assert!(poll(large.as_mut()).is_pending());
    assert!(
        poll(small.as_mut()).is_pending(),
        "the small one does not pass the large one"
    );
    drop(first);
    let Poll::Ready(large) = poll(large.as_mut()) else {
        panic!("served first")
    };
    let Poll::Ready(small) = poll(small.as_mut()) else {
        panic!("served second")
    };
    assert_eq!((budget.used(), account.held()), (100, 100));
    drop((large, small));
    assert_eq!((budget.used(), budget.waiting()), (0, 0));
}

#[test]
fn a_cancelled_waiter_loses_nothing() {
    let budget = Budget::new(10);
    let account = budget.account("lane");
    let held = account.try_take(10).expect("free");
    {
        let mut given_up = Box::pin(account.take(5));
        assert!(poll(given_up.as_mut()).is_pending());
        drop(held);
        // It was granted, and is dropped without having been polled again.
    }
    assert_eq!(budget.used(), 0);
    assert!(account.try_take(10).is_some());
}

#[test]
fn one_that_gave_up_does_not_stand_in_the_way() {
    let budget = Budget::new(100);
    let account = budget.account("lane");
    let held = account.try_take(90).expect("free");
    let mut large = Box::pin(account.take(50));
    let mut small = pin!(account.take(10));
    assert!(poll(large.as_mut()).is_pending() && poll(small.as_mut()).is_pending());
    drop(large);
    assert!(poll(small.as_mut()).is_ready());
    assert_eq!(budget.waiting(), 0);
    drop(held);
}

#[test]
fn more_than_all_is_served_when_the_pool_is_empty() {
    let budget = Budget::new(10);
    let account = budget.account("lane");
    assert!(account.try_take(50).is_some());
    assert_eq!(budget.used(), 0);
}

#[test]
fn of_ranges_that_must_finish_one_at_a_time_overdraws() {
    let budget = Budget::new(100);
    let (one, two) = (budget.account("one"), budget.account("one"));
    let (held_one, held_two) = (one.take_now(50), two.take_now(50));
    one.set_must_finish(true);
    two.set_must_finish(true);
    let Poll::Ready(more) = poll(pin!(one.take(40))) else {
        panic!("the first may")
    };
    let mut second = pin!(two.take(40));
    assert!(
        poll(second.as_mut()).is_pending(),
        "the second waits for the first"
    );
    drop((held_one, more));
    assert!(poll(second.as_mut()).is_ready(), "what came back is enough");
    let mut again = Box::pin(two.take(60));
    assert!(poll(again.as_mut()).is_pending());
    one.set_must_finish(false);
    assert!(poll(again.as_mut()).is_ready(), "the right passes on");
    drop(held_two);
}

#[test]
fn pressure_asks_the_fullest_once() {
    let budget = Budget::new(100);
    let (thin, fat) = (budget.account("thin"), budget.account("fat"));
    let (held_thin, held_fat) = (thin.take_now(20), fat.take_now(80));
    thin.set_able(20, 0);
    fat.set_able(80, 0);
    let mut waiting = pin!(thin.take(30));
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(poll(pin!(fat.pressed())).is_ready(), "the fullest is asked");
    assert!(poll(pin!(thin.pressed())).is_pending(), "the other is not");
    fat.set_able(0, 0);
    drop(held_fat);
    assert!(poll(waiting.as_mut()).is_ready());
    drop(held_thin);
}

#[test]
fn a_share_is_there_however_full_the_rest_is() {
    let budget = Budget::new(100);
    budget.set_share("mine", 30);
    let (mine, other) = (budget.account("mine"), budget.account("other"));
    let all = other.try_take(70).expect("all but the share");
    assert!(other.try_take(1).is_none(), "the share is not for others");
    let mut more = Box::pin(other.take(10));
    assert!(poll(more.as_mut()).is_pending());
    let own = mine.try_take(30).expect("nobody else's queue matters");
    let mut beyond = pin!(mine.take(5));
    assert!(poll(beyond.as_mut()).is_pending());
    assert!(
        mine.try_take(0).is_none(),
        "those of one name keep their order"
    );
    drop(own);
    assert!(poll(beyond.as_mut()).is_ready(), "within the share again");
    drop(all);
    assert!(poll(more.as_mut()).is_ready());
}

#[test]
fn what_is_beyond_the_shares_goes_in_turn() {
    let budget = Budget::new(100);
    budget.set_share("a", 20);
    budget.set_share("b", 20);
    let (one, two) = (budget.account("a"), budget.account("b"));
    let held = one.try_take(80).expect("its share and all the rest");
    let mut first = pin!(two.take(50));
    let mut behind = Box::pin(one.take(1));
    assert!(poll(first.as_mut()).is_pending() && poll(behind.as_mut()).is_pending());
    let shown: Vec<_> = budget
        .holders()
        .into_iter()
        .map(|one| (one.held, one.share, one.waiting))
        .collect();
    assert_eq!(shown, [(80, 20, 1), (0, 20, 1)]);
    drop(held);
    assert!(poll(first.as_mut()).is_ready() && poll(behind.as_mut()).is_ready());
    assert_eq!(budget.used(), 0);
}

#[test]
fn pressure_goes_to_those_beyond_their_share() {
    let budget = Budget::new(100);
    budget.set_share("modest", 60);
    let (modest, greedy) = (budget.account("modest"), budget.account("greedy"));
    let held = (modest.take_now(60), greedy.take_now(40));
    modest.set_able(60, 0);
    greedy.set_able(40, 0);
    let third = budget.account("third");
    let mut waiting = Box::pin(third.take(10));
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(
        poll(pin!(modest.pressed())).is_pending(),
        "its bytes would not help"
    );
    assert!(poll(pin!(greedy.pressed())).is_ready());
    drop(waiting);
    greedy.set_able(0, 0);
    let mut own = pin!(modest.take(10));
    assert!(poll(own.as_mut()).is_pending());
    assert!(
        poll(pin!(modest.pressed())).is_ready(),
        "its own bytes help itself"
    );
    drop(held);
}

#[test]
fn more_than_a_share_and_the_rest_is_served_alone() {
    let budget = Budget::new(100);
    budget.set_share("small", 10);
    budget.set_share("aside", 50);
    let aside = budget.account("aside").take_now(50);
    let small = budget.account("small");
    let large = small
        .try_take(80)
        .expect("nothing else is held beyond shares");
    assert!(small.try_take(1).is_none());
    drop((large, aside));
    assert_eq!(budget.used(), 0);
}

#[test]
fn who_delivers_nothing_drops_what_is_beyond_its_share_for_others_only() {
    let budget = Budget::new(100);
    budget.set_share("stuck", 40);
    let (stuck, other) = (budget.account("stuck"), budget.account("other"));
    let held = stuck.take_now(100);
    stuck.set_able(0, 90);
    let mut own = Box::pin(stuck.take(10));
    assert!(poll(own.as_mut()).is_pending());
    assert!(
        poll(pin!(stuck.asked_to_drop())).is_pending(),
        "not for itself"
    );
    drop(own);
    let mut waiting = pin!(other.take(50));
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(poll(pin!(stuck.asked_to_drop())).is_ready());
    drop(held);
    assert!(poll(waiting.as_mut()).is_ready());
}

#[test]
fn one_of_each_name_overdraws() {
    let budget = Budget::new(100);
    let (one, two) = (budget.account("one"), budget.account("two"));
    let held = (one.take_now(50), two.take_now(50));
    one.set_must_finish(true);
    two.set_must_finish(true);
    assert!(one.try_take(40).is_some() && two.try_take(40).is_some());
    drop(held);
}
