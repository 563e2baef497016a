//! What a media child may do: compute, read the open source, write results. No files, no network, no programs.
//!
//! Each layer stands alone; where the kernel lacks one (an old kernel has no landlock), the others still hold.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::{Code, Error};

/// The bits of open(2) that say whether a file is read, written, or both.
const ACCESS_MODE: u64 = 3;

/// Most memory that a child may map, bytes.
const MEMORY: u64 = 6 << 30;
/// Most processor time, seconds: ends a decoder that spins for ever even if the parent is gone.
const PROCESSOR_SECONDS: u64 = 6 * 3600;

/// Puts this process into the sandbox, for good; `needs_pipes` when it has to open its own pipes by their paths.
pub fn enter(needs_pipes: bool) -> Result<(), Error> {
    limit(Resource::Core, 0)?;
    limit(Resource::As, MEMORY)?;
    limit(Resource::Cpu, PROCESSOR_SECONDS)?;
    limit(Resource::Fsize, 0)?;
    let may_write_to_pipes = no_files() && needs_pipes;
    let _ = PIPES.set(may_write_to_pipes);
    no_calls(may_write_to_pipes)
}

/// Whether pipes may be opened by their paths; unset outside a sandbox, where everything may be opened.
static PIPES: OnceLock<bool> = OnceLock::new();

/// Whether this process may open the writing end of its own pipes by their paths. Where it has to and landlock holds it may: that
/// keeps it from everything that has a place in a file system.
pub fn may_write_to_pipes() -> bool {
    PIPES.get().copied().unwrap_or(true)
}

fn limit(resource: Resource, most: u64) -> Result<(), Error> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|error| Error::new(Code::EncoderFailed, format!("limit the media process: {error}")))
}

/// Landlock: no path can be opened any more. Best effort, since kernels differ; whether it holds.
fn no_files() -> bool {
    let locked = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.restrict_self());
    // seccomp below refuses opening as well, but for what opens a pipe: this layer is a second lock on the same door.
    locked.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

/// Seccomp: calls that a decoder never needs answer "not permitted".
fn no_calls(may_write_to_pipes: bool) -> Result<(), Error> {
    let failed = |what: String| Error::new(Code::EncoderFailed, format!("lock the media process in: {what}"));
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    if may_write_to_pipes && let Some(rule) = rules.get_mut(&OPENAT) {
        // It is refused unless it is to write and nothing else.
        for mode in [0, 2, 3] {
            let refused = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(ACCESS_MODE), mode)
                .and_then(|condition| SeccompRule::new(vec![condition]));
            rule.push(refused.map_err(|error| failed(error.to_string()))?);
        }
    }
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs()),
        arch,
    )
    .map_err(|error| failed(error.to_string()))?;
    let program: BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| failed(error.to_string()))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(error.to_string()))
}

/// System calls by number: opening, network, programs, other processes, the kernel itself.
#[cfg(target_arch = "x86_64")]
const OPENAT: i64 = 257;
#[cfg(target_arch = "x86_64")]
const DENIED: &[i64] = &[
    2, 257, 437, 85, // open, openat, openat2, creat
    41, 42, 43, 288, 44, 46, 49, 50,
    53, // socket, connect, accept, accept4, sendto, sendmsg, bind, listen, socketpair
    57, 58, 59, 322, // fork, vfork, execve, execveat
    62, 200, 234, 101, 310, 311, // kill, tkill, tgkill, ptrace, process_vm_readv, process_vm_writev
    82, 264, 316, 87, 263, 84, 83, 86, 88, 265, 266, // rename*, unlink*, rmdir, mkdir, link*, symlink*
    90, 91, 92, 93, 94, 260, 132, 235, // chmod, fchmod, chown*, utime*
    155, 161, 165, 166, 169, 175, 176, 246, 313, 321, 298,
    425, // pivot_root, chroot, mount, umount, reboot, modules, kexec, bpf, perf, io_uring
];

/// System calls by number: opening, network, programs, other processes, the kernel itself.
#[cfg(target_arch = "aarch64")]
const OPENAT: i64 = 56;
#[cfg(target_arch = "aarch64")]
const DENIED: &[i64] = &[
    56, 437, // openat, openat2
    198, 203, 202, 242, 206, 211, 200, 201,
    199, // socket, connect, accept, accept4, sendto, sendmsg, bind, listen, socketpair
    221, 281, // execve, execveat
    129, 130, 131, 117, 270, 271, // kill, tkill, tgkill, ptrace, process_vm_readv, process_vm_writev
    38, 276, 35, 34, 37, 36, // renameat*, unlinkat, mkdirat, linkat, symlinkat
    52, 53, 54, 55, 88, // fchmod*, fchown*, utimensat
    41, 51, 40, 39, 142, 105, 106, 273, 104, 280, 241,
    425, // pivot_root, chroot, mount, umount, reboot, modules, kexec, bpf, perf, io_uring
];

/// Elsewhere the other layers must do.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OPENAT: i64 = -1;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const DENIED: &[i64] = &[];

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use super::*;

    const INSIDE: &str = "STREAMFORGE_TEST_INSIDE";
    const PIPED: &str = "STREAMFORGE_TEST_PIPED";

    /// Runs in a process of its own, which never gets out again.
    #[test]
    fn inside() {
        let Some(folder) = std::env::var_os(INSIDE) else { return };
        let folder = std::path::PathBuf::from(folder);
        let there = folder.join("there");
        std::fs::write(&there, "kept").unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let needs_pipes = std::env::var_os(PIPED).is_some();
        enter(needs_pipes).unwrap();
        assert!(File::open(&there).is_err() && File::open("/proc/self/mem").is_err(), "it reads");
        assert!(File::create(folder.join("new")).is_err() && File::create(&there).is_err(), "it writes");
        assert!(OpenOptions::new().append(true).open(&there).is_err(), "it appends");
        assert!(std::net::TcpStream::connect("127.0.0.1:9").is_err_and(|error| error.raw_os_error() == Some(1)));
        let pipe = File::create(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        assert_eq!(pipe.is_ok(), may_write_to_pipes(), "{pipe:?}");
        assert!(needs_pipes || pipe.is_err(), "it opens what it does not need");
        if let Ok(mut pipe) = pipe {
            pipe.write_all(b"told").unwrap();
            drop((pipe, writer));
            let mut told = String::new();
            File::from(reader).read_to_string(&mut told).unwrap();
            assert_eq!(told, "told");
        }
    }

    #[test]
    fn nothing_can_be_opened_but_pipes_to_write_to() {
        for piped in [None, Some((PIPED, "yes"))] {
            let folder = tempfile::tempdir().unwrap();
            let itself = std::env::current_exe().unwrap();
            let test = Command::new(itself)
                .args(["--exact", "media::sandbox::tests::inside", "--test-threads", "1"])
                .env(INSIDE, folder.path())
                .envs(piped)
                .output()
                .unwrap();
            assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
            assert_eq!(std::fs::read_to_string(folder.path().join("there")).unwrap(), "kept");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
