//! Parameters of a network by name, out of a safetensors file.
//!
//! A network takes its parameters one by one, each with the shape that it needs; what is missing, has another shape or is left
//! over is collected, so that one sentence names all of it. One tensor is read at a time: loading takes the memory of the weights
//! and of the largest of them once more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};
use tch::{Device, Kind, Tensor};

use super::Error;

/// Longest header that is believed, bytes.
const MAX_HEADER: u64 = 100 << 20;

/// Where a network takes its parameters from.
pub trait Parameters {
    /// Whether there is a parameter called `name`.
    fn has(&self, name: &str) -> bool;

    /// The parameter called `name`, of this shape.
    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, Error>;

    /// The parameter called `name` is known and not needed, whether it is there or not.
    fn pass_by(&mut self, name: &str);
}

/// What parameters become when they are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Where they will be.
    pub device: Device,
    /// Whatever they are in the file.
    pub kind: Kind,
    /// Whether names and shapes are all that is of interest: each number is taken for zero then, and no memory is used.
    pub is_glance: bool,
}

impl Reading {
    /// On a graphics card in half precision when there is one, else on the processor.
    pub fn best() -> Self {
        let device = Device::cuda_if_available();
        Self::on(device, if device.is_cuda() { Kind::Half } else { Kind::Float })
    }

    /// The same, but in bfloat16 on a processor that multiplies it: half the memory to read for each token, and several times the
    /// speed for a window. For networks that bear eight bits of precision.
    pub fn fastest() -> Self {
        match Self::best() {
            Self { device: Device::Cpu, .. } if multiplies_bfloat16() => Self::on(Device::Cpu, Kind::BFloat16),
            best => best,
        }
    }

    /// As `kind` on `device`.
    pub fn on(device: Device, kind: Kind) -> Self {
        Self { device, kind, is_glance: false }
    }

    /// To see whether a file fits.
    pub fn glance() -> Self {
        Self { is_glance: true, ..Self::on(Device::Cpu, Kind::Float) }
    }
}

/// Whether the processor has instructions for bfloat16, as Linux tells of x86.
fn multiplies_bfloat16() -> bool {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = told.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| matches!(flag, "amx_bf16" | "avx512_bf16"))
}

/// A safetensors file.
pub struct Weights {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor begins, bytes.
    start: u64,
    reading: Reading,
    unused: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
}

impl Weights {
    /// Opens the file at `path`.
    pub fn open(path: &Path, reading: Reading) -> Result<Self, Error> {
        let read = |error| Error::read(path, error);
        let unfit = |what: &str| Error::Unfit(format!("{} {what}", path.display()));
        let mut file = File::open(path).map_err(read)?;
        let size = file.metadata().map_err(read)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| unfit("is too short to be a safetensors file"))?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length + 8 > size {
            return Err(unfit("is no safetensors file, or it was cut short"));
        }
        let mut header = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact(&mut header).map_err(read)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| unfit(&format!("has a header that cannot be understood: {error}")))?;
        let start = length + 8;
        let wanted = start + metadata.data_len() as u64;
        if wanted != size {
            return Err(unfit(&format!(
                "has {size} bytes, but its header speaks of {wanted}: it was cut short or mixed up"
            )));
        }
        let unused = metadata.tensors().into_keys().collect();
        let path = path.to_path_buf();
        Ok(Self { path, file, metadata, start, reading, unused, missing: Vec::new(), misshapen: Vec::new() })
    }

    /// Fails unless everything in the file was taken and everything that was taken was there.
    pub fn finish(self) -> Result<(), Error> {
        let mut faults = Vec::new();
        let mut list = |what: &str, names: Vec<String>| {
            if !names.is_empty() {
                faults.push(format!("{what} {}", names.join(", ")));
            }
        };
        list("it lacks", self.missing);
        list("of another shape are", self.misshapen);
        list("no use is known for", self.unused.into_iter().collect());
        if faults.is_empty() {
            return Ok(());
        }
        Err(Error::Unfit(format!("{} does not fit its config.json: {}", self.path.display(), faults.join("; "))))
    }

    fn read(&mut self, begin: usize, end: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; end.saturating_sub(begin)];
        let at = SeekFrom::Start(self.start + begin as u64);
        let read = self.file.seek(at).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|error| Error::read(&self.path, error))?;
        Ok(bytes)
    }
}

impl Parameters for Weights {
    fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        let stand_in = || Ok(Tensor::f_zeros([1], (self.reading.kind, self.reading.device))?.f_expand(shape, false)?);
        let Some(info) = self.metadata.info(name).cloned() else {
            self.missing.push(name.to_owned());
            return stand_in();
        };
        self.unused.remove(name);
        let there: Vec<i64> = info.shape.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        if there != shape {
            self.misshapen.push(format!("{name} ({there:?} instead of {shape:?})"));
            return stand_in();
        }
        let kind = match info.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F64 => Kind::Double,
            other => {
                let file = self.path.display();
                return Err(Error::Unfit(format!(
                    "{file} has {name} as {other:?}, which is no floating point that is known"
                )));
            }
        };
        if self.reading.is_glance {
            return stand_in();
        }
        let bytes = self.read(info.data_offsets.0, info.data_offsets.1)?;
        let tensor = Tensor::f_from_data_size(&bytes, shape, kind)?;
        Ok(tensor.f_to_kind(self.reading.kind)?.f_to(self.reading.device)?)
    }

    fn pass_by(&mut self, name: &str) {
        self.unused.remove(name);
    }
}

#[cfg(test)]
mod tests;
