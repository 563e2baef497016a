//! Limits processes to a part of a core: by a control group of Linux where one can be made, else by the program `cpulimit`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::server::Outcome;

/// Length of the periods in which a limited process gets its part; the kernel's own default.
const PERIOD_US: u64 = 100_000;

/// How processes are limited on this machine.
pub enum Limiter {
    /// `cpu.max` below this folder.
    Two(PathBuf),
    /// `cpu.cfs_quota_us` below this folder.
    One(PathBuf),
    /// Stops and continues processes from outside.
    Program,
}

/// The place of one limited process and of all that it starts.
pub enum Quota {
    /// Gone with this value, once nobody is in it.
    Group(PathBuf),
    /// Percent of a core, and the program that watches over it.
    Program(u64, Option<Child>),
}

impl Limiter {
    /// Finds what works here by trying it.
    pub fn find() -> Outcome<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let ours = fs::read_to_string("/proc/self/cgroup")?;
        // A line is `number:controllers:path`; version 2 has no controllers there.
        let path_of = |is_ours: &dyn Fn(&str) -> bool| {
            let mut lines =
                ours.lines().filter_map(|line| line.splitn(3, ':').skip(1).collect::<Vec<_>>().try_into().ok());
            lines.find_map(|[controllers, path]: [&str; 2]| is_ours(controllers).then(|| path.to_owned()))
        };
        let has_cpu = |words: &str| words.split(',').any(|word| word == "cpu");
        for mount in mounts.lines() {
            let fields: Vec<&str> = mount.split_whitespace().collect();
            let [_, root, kind, options, ..] = fields.as_slice() else { continue };
            let found = match *kind {
                "cgroup2" => path_of(&str::is_empty).map(|path| Self::Two(below(root, &path))),
                "cgroup" if has_cpu(options) => path_of(&has_cpu).map(|path| Self::One(below(root, &path))),
                _ => None,
            };
            if let Some(found) = found
                && found.prepare().is_ok()
                && found.limit("try", 0.5).is_ok()
            {
                return Ok(found);
            }
        }
        let there = Command::new("cpulimit").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.map_err(
            |_| "no control group can be made here and there is no `cpulimit`: install it, or run this as root",
        )?;
        Ok(Self::Program)
    }

    /// What is used, in words.
    pub fn name(&self) -> String {
        match self {
            Self::Two(folder) => format!("control groups, version 2: cpu.max below {}", folder.display()),
            Self::One(folder) => format!("control groups, version 1: cpu.cfs_quota_us below {}", folder.display()),
            Self::Program => "cpulimit with children included".to_owned(),
        }
    }

    fn prepare(&self) -> Outcome<()> {
        if let Self::Two(folder) = self {
            if !fs::read_to_string(folder.join("cgroup.controllers"))?.split_whitespace().any(|word| word == "cpu") {
                return Err("the cpu controller is elsewhere".into());
            }
            fs::write(folder.join("cgroup.subtree_control"), "+cpu")?;
        }
        Ok(())
    }

    /// A place for one process that gets `part` of a core.
    pub fn limit(&self, name: &str, part: f64) -> Outcome<Quota> {
        let quota_us = (PERIOD_US as f64 * part) as u64;
        let make = |folder: &Path| -> Outcome<PathBuf> {
            let group = folder.join(format!("streamforge-bench-{}-{name}", std::process::id()));
            fs::create_dir(&group)?;
            Ok(group)
        };
        match self {
            Self::Two(folder) => {
                let group = Quota::Group(make(folder)?);
                group.set("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
                Ok(group)
            }
            Self::One(folder) => {
                let group = Quota::Group(make(folder)?);
                group.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
                group.set("cpu.cfs_quota_us", &quota_us.to_string())?;
                Ok(group)
            }
            Self::Program => Ok(Quota::Program((part * 100.0) as u64, None)),
        }
    }
}

impl Quota {
    fn set(&self, file: &str, value: &str) -> Outcome<()> {
        match self {
            Self::Group(folder) => Ok(fs::write(folder.join(file), value)?),
            Self::Program(..) => Ok(()),
        }
    }

    /// A command that starts `program` inside, so that not even its start is free.
    pub fn command(&self, program: &Path) -> Command {
        match self {
            Self::Group(folder) => {
                let mut command = Command::new("sh");
                command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(folder.join("cgroup.procs")).arg(program);
                command
            }
            Self::Program(..) => Command::new(program),
        }
    }

    /// Watches over `pid` where that takes a program.
    pub fn attach(&mut self, pid: u32) -> Outcome<()> {
        if let Self::Program(percent, watcher) = self {
            let mut command = Command::new("cpulimit");
            command.args(["-z", "-i", "-l", &percent.to_string(), "-p", &pid.to_string()]);
            *watcher = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        }
        Ok(())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        match self {
            Self::Group(folder) => {
                // Killed children are in it until the kernel has cleaned up behind them.
                for _ in 0..50 {
                    if fs::remove_dir(&folder).is_ok() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Self::Program(_, Some(watcher)) => {
                let _ = watcher.kill();
                let _ = watcher.wait();
            }
            Self::Program(_, None) => {}
        }
    }
}

/// The folder of the group `path` in the hierarchy that is mounted at `root`.
fn below(root: &str, path: &str) -> PathBuf {
    Path::new(root).join(path.trim_start_matches('/'))
}
