//! The side of those who compute: the life of `streamforge-ml`.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::mobilenet::{MobileNet, Picture};
use super::question::{self, Answered, Asked, Question};
use super::thread::{Handle, Model, Settings};
use super::whisper::{Span, Whisper};
use super::{Error, runs_on};

/// Whoever waits for a video goes first: the lowest priority that there is.
const NICENESS: i32 = 19;

/// Runs with the arguments `about`, `check NETWORK FOLDER` or `serve NETWORK FOLDER`. Answers the exit code.
///
/// Standard input of `serve` is a socket, on which questions come and answers go, both as [`question`] says.
pub fn main(arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["about"] => {
            println!("{}", runs_on());
            Ok(())
        }
        ["check", Span::NETWORK, folder] => Whisper::check(Path::new(folder)),
        ["check", Picture::NETWORK, folder] => MobileNet::check(Path::new(folder)),
        ["serve", Span::NETWORK, folder] => {
            let folder = PathBuf::from(folder);
            serve::<Span, _>(move || Whisper::load(&folder))
        }
        ["serve", Picture::NETWORK, folder] => {
            let folder = PathBuf::from(folder);
            serve::<Picture, _>(move || MobileNet::load(&folder))
        }
        _ => {
            eprintln!("streamforge-ml is started by streamforge and is no command for people");
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", question::Refusal::from(error).message);
            1
        }
    }
}

/// Answers questions until nobody can ask any more.
fn serve<Q, M>(load: impl Fn() -> Result<M, Error> + Send + Sync + 'static) -> Result<(), Error>
where
    Q: Question,
    M: Model<Request = Q, Answer = Q::Answer>,
{
    // It is a courtesy that may be refused.
    let _ = rustix::process::nice(NICENESS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Compute(format!("start threads: {error}")))?;
    runtime.block_on(async { answer_all(Handle::new(Settings::default(), load)).await })
}

/// Each question is a task of its own, so that those which come together are computed together.
async fn answer_all<Q, M>(model: Handle<M>) -> Result<(), Error>
where
    Q: Question,
    M: Model<Request = Q, Answer = Q::Answer>,
{
    let broken = |error| Error::Compute(format!("read questions: {error}"));
    let (from, to) = socket().map_err(broken)?.into_split();
    let (mut from, to) = (BufReader::new(from), Arc::new(Mutex::new(BufWriter::new(to))));
    while let Some((asked, bulk)) = question::read::<Asked<Q>>(&mut from).await.map_err(broken)? {
        let (model, to) = (model.clone(), Arc::clone(&to));
        tokio::spawn(async move {
            let answer = model.ask(asked.question.with_bulk(&bulk)).await.map_err(question::Refusal::from);
            let answered = Answered { id: asked.id, answer };
            // Nobody is left to tell when this fails, and reading ends next.
            let _ = question::write(&mut *to.lock().await, &answered, &[]).await;
        });
    }
    Ok(())
}

fn socket() -> io::Result<UnixStream> {
    let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
