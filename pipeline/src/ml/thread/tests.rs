use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use tokio::time::sleep;

use super::*;

/// What happened to models, from all threads.
#[derive(Default)]
struct Diary {
    loads: AtomicUsize,
    drops: AtomicUsize,
    batches: Mutex<Vec<Vec<u32>>>,
    threads: Mutex<Vec<ThreadId>>,
}

/// Doubles numbers; breaks over 13.
struct Doubler(Arc<Diary>);

impl Model for Doubler {
    type Request = u32;
    type Answer = u32;

    fn answer(&mut self, requests: Vec<u32>) -> Vec<Result<u32, Error>> {
        assert!(!requests.contains(&13), "this is meant to break");
        self.0.batches.lock().unwrap().push(requests.clone());
        self.0.threads.lock().unwrap().push(std::thread::current().id());
        requests.into_iter().map(|number| Ok(number * 2)).collect()
    }
}

impl Drop for Doubler {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, Ordering::SeqCst);
    }
}

const SETTINGS: Settings = Settings { most: 4, delay: Duration::from_millis(10), idle: Duration::from_secs(60) };

fn doubler(settings: Settings) -> (Handle<Doubler>, Arc<Diary>) {
    let diary = Arc::new(Diary::default());
    let of_model = Arc::clone(&diary);
    let load = move || {
        of_model.loads.fetch_add(1, Ordering::SeqCst);
        Ok(Doubler(Arc::clone(&of_model)))
    };
    (Handle::new(settings, load), diary)
}

/// Asks after `ms`.
async fn later(handle: &Handle<Doubler>, ms: u64, number: u32) -> u32 {
    sleep(Duration::from_millis(ms)).await;
    handle.ask(number).await.unwrap()
}

fn batches(diary: &Diary) -> Vec<Vec<u32>> {
    diary.batches.lock().unwrap().clone()
}

/// Lets simulated time pass until what another thread does at its own pace has happened.
async fn until(what: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not happen");
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_in_time_are_answered_together() {
    let (handle, diary) = doubler(SETTINGS);
    let all = tokio::join!(later(&handle, 0, 1), later(&handle, 5, 2), later(&handle, 9, 3), later(&handle, 25, 4));
    assert_eq!(all, (2, 4, 6, 8));
    assert_eq!(batches(&diary), [vec![1, 2, 3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait() {
    let (handle, diary) = doubler(SETTINGS);
    let begin = Instant::now();
    let asked = (1..=4).map(|number| handle.ask(number));
    futures::future::join_all(asked).await;
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(batches(&diary), [vec![1, 2, 3, 4]]);
}

#[tokio::test(start_paused = true)]
async fn no_batch_is_larger_than_allowed() {
    let (handle, diary) = doubler(SETTINGS);
    let asked = (0..11).map(|number| handle.ask(number));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().zip(0..).all(|(answer, number)| *answer.as_ref().unwrap() == number * 2));
    assert!(batches(&diary).iter().all(|batch| batch.len() <= 4), "{:?}", batches(&diary));
}

#[tokio::test(start_paused = true)]
async fn a_model_is_loaded_once_and_unloaded_when_nobody_asks() {
    let (handle, diary) = doubler(SETTINGS);
    assert_eq!(diary.loads.load(Ordering::SeqCst), 0, "nobody has asked yet");
    for _ in 0..3 {
        later(&handle, 50_000, 1).await;
    }
    assert_eq!((diary.loads.load(Ordering::SeqCst), diary.drops.load(Ordering::SeqCst)), (1, 0));
    until(|| diary.drops.load(Ordering::SeqCst) == 1).await;
    later(&handle, 0, 1).await;
    assert_eq!(diary.loads.load(Ordering::SeqCst), 2);
    drop(handle);
    until(|| diary.drops.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test(start_paused = true)]
async fn one_thread_answers_and_it_is_not_ours() {
    let (handle, diary) = doubler(SETTINGS);
    for number in 0..3 {
        later(&handle, 100, number).await;
    }
    let threads = diary.threads.lock().unwrap().clone();
    assert!(threads.iter().all(|thread| *thread == threads[0] && *thread != std::thread::current().id()));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_not_computed() {
    let (handle, diary) = doubler(SETTINGS);
    let given_up = timeout(Duration::from_millis(3), handle.ask(7));
    let (given_up, kept) = tokio::join!(given_up, later(&handle, 1, 8));
    assert!(given_up.is_err());
    assert_eq!((kept, batches(&diary)), (16, vec![vec![8]]));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_breaks_answers_so_and_the_next_request_gets_a_new_one() {
    let (handle, diary) = doubler(SETTINGS);
    let (one, other) = tokio::join!(handle.ask(13), handle.ask(1));
    assert!(matches!((one, other), (Err(Error::Gone(_)), Err(Error::Gone(_)))));
    assert_eq!(handle.ask(2).await.unwrap(), 4);
    assert_eq!(diary.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn everyone_hears_why_a_model_cannot_be_loaded_and_it_is_tried_again() {
    let diary = Arc::new(Diary::default());
    let of_model = Arc::clone(&diary);
    let handle = Handle::new(SETTINGS, move || {
        if of_model.loads.fetch_add(1, Ordering::SeqCst) == 0 {
            return Err(Error::Unfit("config.json is not there yet".to_owned()));
        }
        Ok(Doubler(Arc::clone(&of_model)))
    });
    let (one, other) = tokio::join!(handle.ask(1), handle.ask(2));
    for said in [one, other] {
        assert_eq!(said.unwrap_err().to_string(), "config.json is not there yet");
    }
    assert_eq!(handle.ask(3).await.unwrap(), 6);
}
