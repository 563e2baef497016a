//! What a media child may do: compute, read the open source, write results. No files, no network, no programs.
//!
//! Each layer stands alone; where the kernel lacks one (an old kernel has no landlock), the others still hold.

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::{Code, Error};

/// Most memory that a child may map, bytes.
const MEMORY: u64 = 6 << 30;
/// Most processor time, seconds: ends a decoder that spins for ever even if the parent is gone.
const PROCESSOR_SECONDS: u64 = 6 * 3600;

/// Puts this process into the sandbox, for good.
pub fn enter() -> Result<(), Error> {
    limit(Resource::Core, 0)?;
    limit(Resource::As, MEMORY)?;
    limit(Resource::Cpu, PROCESSOR_SECONDS)?;
    limit(Resource::Fsize, 0)?;
    no_files();
    no_calls()
}

fn limit(resource: Resource, most: u64) -> Result<(), Error> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|error| Error::new(Code::EncoderFailed, format!("limit the media process: {error}")))
}

/// Landlock: no path can be opened any more. Best effort, since kernels differ.
fn no_files() {
    let locked = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.restrict_self());
    // seccomp below refuses opening as well; this layer is a second lock on the same door.
    drop(locked);
}

/// Seccomp: calls that a decoder never needs answer "not permitted".
fn no_calls() -> Result<(), Error> {
    let failed = |what: String| Error::new(Code::EncoderFailed, format!("lock the media process in: {what}"));
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let rules = DENIED.iter().map(|call| (*call, Vec::new())).collect();
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
const DENIED: &[i64] = &[];
